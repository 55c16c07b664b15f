"""JSON Schemas of the contract's messages, for those who speak it without our code.

``python -m edgeproof.contract.schemas`` prints them as one document; ``schemas/contract.json`` is that,
committed. A schema tells a message's form only: canonical bytes, signatures and links are more.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from edgeproof.contract.audit import AuditList, AuditPage
from edgeproof.contract.base import Signed
from edgeproof.contract.bundle import ResponseBundle
from edgeproof.contract.envelope import Envelope
from edgeproof.contract.errors import Problem
from edgeproof.contract.fleet import (
    AddKeyRequest,
    RemovedKey,
    RemoveKeyRequest,
    RotatedKey,
    RotateKeyRequest,
    RunnerDetail,
    RunnerKeyList,
)
from edgeproof.contract.guard import DetectionOutput, Diagnosis, FrameSequence, LegacyGuardAnalysis
from edgeproof.contract.jobs import ArtifactInfo, EvidenceList, Health, JobEvent, JobPage, JobView
from edgeproof.contract.plain_results import PlainResult
from edgeproof.contract.point_policy import PointComparison, PointPolicy, UnsignedDecision
from edgeproof.contract.policy import Policy
from edgeproof.contract.queue import DeadLetterPage, QueueStats
from edgeproof.contract.receipts import Receipt
from edgeproof.contract.requests import AnalyzeOptions, AnalyzeRequest
from edgeproof.contract.results import ForgeManifest, ForgeMetadata, RuntimeResult, WorkerRuntimeSummary
from edgeproof.contract.run_metrics import JobMetrics
from edgeproof.contract.runners import (
    ClaimedRun,
    ClaimedRuns,
    ClaimRequest,
    EnrolmentTokenList,
    EnrolmentTokenRequest,
    EnrolmentTokenResponse,
    FailRequest,
    FailResponse,
    HeartbeatAnswers,
    HeartbeatBatch,
    HeartbeatRequest,
    HeartbeatResponse,
    RegisterRequest,
    RegisterResponse,
    RunnerList,
    StandingRequest,
    StandingView,
    SubmitAnswers,
    SubmitBatch,
    SubmitResponse,
)
from edgeproof.contract.samples import RawQuality, RawSamples
from edgeproof.contract.statements import (
    BuildStatement,
    DecisionEnvelopeStatement,
    JobSpecStatement,
    MeasurementStatement,
)
from edgeproof.contract.stored_results import (
    AddResultRequest,
    CompareRequest,
    HistoryReport,
    ResultDocument,
    ResultPage,
)
from edgeproof.contract.worker import (
    ForgeHandover,
    WorkerCompleted,
    WorkerFailed,
    WorkerList,
    WorkerReceipt,
    WorkerRequest,
    WorkerRuntimeResult,
    WorkerToken,
    WorkerTokenRequest,
)

MESSAGES: Final[tuple[type[msgspec.Struct], ...]] = (
    # signed, and what is named by digest
    Envelope, JobSpecStatement, BuildStatement, MeasurementStatement, DecisionEnvelopeStatement,
    RawSamples, RawQuality, Receipt, Policy,
    # what stages hand over
    ForgeMetadata, ForgeManifest, WorkerRuntimeSummary, RuntimeResult,
    # unsigned, from other tools
    PlainResult, PointComparison, PointPolicy, UnsignedDecision, ResponseBundle,
    LegacyGuardAnalysis, Diagnosis, DetectionOutput, FrameSequence,
    CompareRequest, AddResultRequest, ResultDocument, ResultPage, HistoryReport,
    # the worker boundary
    ForgeHandover, WorkerRequest, WorkerCompleted, WorkerFailed, WorkerRuntimeResult, WorkerReceipt,
    WorkerTokenRequest, WorkerToken, WorkerList,
    # users
    AnalyzeRequest, AnalyzeOptions, JobView, JobPage, JobEvent, JobMetrics, EvidenceList, ArtifactInfo,
    Health, Problem,
    # runners
    RegisterRequest, RegisterResponse, ClaimRequest, ClaimedRun, HeartbeatRequest, HeartbeatResponse,
    SubmitResponse, FailRequest, FailResponse, RunnerList, EnrolmentTokenRequest, EnrolmentTokenResponse,
    EnrolmentTokenList, ClaimedRuns, HeartbeatBatch, HeartbeatAnswers, SubmitBatch, SubmitAnswers,
    # operators
    StandingRequest, StandingView, QueueStats, DeadLetterPage,
    RunnerDetail, RunnerKeyList, AddKeyRequest, RemoveKeyRequest, RemovedKey, RotateKeyRequest, RotatedKey,
    AuditList, AuditPage,
)  # fmt: skip


def schemas() -> dict[str, Any]:
    """One JSON Schema document (2020-12) with every message and its parts under ``$defs``."""
    _, definitions = msgspec.json.schema_components(MESSAGES, ref_template="#/$defs/{name}")
    partial = set(_without_defaults(Signed))
    for name, definition in definitions.items():
        # closed: its canonical form has every field
        if definition.get("additionalProperties") is False and name not in partial:
            definition["required"] = list(definition["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Edgeproof contract",
        "$defs": dict(sorted(_with_clean_words(definitions).items())),
    }


def _without_defaults(base: type[Signed]) -> Iterator[str]:
    """Names of the signed messages whose canonical form leaves out fields that have their default."""
    for message in base.__subclasses__():
        if message.__struct_config__.omit_defaults:
            yield message.__name__
        yield from _without_defaults(message)


def _with_clean_words(value: Any) -> Any:
    """Descriptions are docstrings: without their indentation, alike under every Python version."""
    if isinstance(value, dict):
        return {
            key: inspect.cleandoc(inside)
            if key == "description" and isinstance(inside, str)
            else _with_clean_words(inside)
            for key, inside in value.items()
        }
    return [_with_clean_words(inside) for inside in value] if isinstance(value, list) else value


def document() -> str:
    """The committed text."""
    return msgspec.json.format(msgspec.json.encode(schemas()), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
