"""Whether a signed result is what its run's job spec asked for. Nothing is stored here.

What a decision demands beyond one result (raw data that fits, a chain without a gap) is ``decide``'s to
check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgeproof.contract.canonical import decode_canonical, sha256_hex
from edgeproof.contract.envelope import PublicKey, peek_payload
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Policy
from edgeproof.contract.run_metrics import HardwareMetrics, ModelMetrics
from edgeproof.contract.statements import (
    BuildStatement,
    ForgeConfig,
    JobSpecStatement,
    MeasuredArtifact,
    open_statement,
)
from edgeproof.lab.chain import check_measurement, check_opened_build
from edgeproof.lab.metric_rows import rows_of_build, rows_of_measurement

RAW_ROLES: Final = frozenset({"samples", "quality"})
MAX_RAW_BYTES: Final = 64 << 20
"""Judging reads raw data whole; at this size it takes some 400 MiB for some seconds."""

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class Result:
    """A verified result: its role among the job's artifacts, those that it names, by their role, the key
    that signed it (base64), and its numbers as rows."""

    role: str
    outputs: dict[str, str]
    runner_key: str
    models: tuple[ModelMetrics, ...]
    hardware: tuple[HardwareMetrics, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked to do: its job spec's digest and envelope, and of a measurement the policy that
    it will be judged by."""

    spec_digest: str
    spec: bytes
    policy: bytes | None


def check_result(envelope: bytes, asked: Asked, server: PublicKey) -> Result:
    """``server`` is the key that signs our job specs. Raises ``Refused``: ``result_invalid``,
    ``not_canonical``, ``envelope_invalid``, ``key_unknown``, ``signature_invalid``, ``statement_invalid``."""
    spec = open_statement(asked.spec, server, JobSpecStatement, what="job spec")
    try:
        result = _verified(envelope, asked.spec_digest, spec, asked.policy)
    except Refused as error:
        if error.code == "chain_broken":
            raise Refused("result_invalid", error.detail) from error
        raise
    # As for any other body (``http.json_bodies``): jsonb cannot hold it, so the job could never be decided.
    if holds_nul(peek_payload(envelope)[1]):
        raise Refused("result_invalid", "a NUL character is not taken in text")
    return result


def check_outputs(result: Result, sizes: Mapping[str, int]) -> None:
    """``sizes``, in bytes, of those artifacts that the runner may name. Raises ``Refused``
    (``artifact_missing``, ``result_invalid``)."""
    if missing := set(result.outputs.values()) - sizes.keys():
        raise Refused("artifact_missing", f"upload sha256:{min(missing)} first")
    for role, digest in result.outputs.items():
        if role in RAW_ROLES and sizes[digest] > MAX_RAW_BYTES:
            raise Refused("result_invalid", f"{sizes[digest]} bytes of {role}; {MAX_RAW_BYTES} are taken")


def holds_nul(document: bytes) -> bool:
    """Whether JSON text spells a NUL in a string: jsonb cannot hold what is told of it."""
    return rb"\u0000" in document and _NUL.search(document) is not None


def _verified(envelope: bytes, spec_digest: str, spec: JobSpecStatement, policy: bytes | None) -> Result:
    told = spec.predicate
    config = told.config
    if isinstance(config, ForgeConfig):
        runner = PublicKey.from_base64(told.runner_key)
        build = open_statement(envelope, runner, BuildStatement, what="build")
        if len(build.subject) != 1:
            raise Refused("result_invalid", "a build has one subject: the artifact it made")
        manifest = build.predicate.buildDefinition.internalParameters.manifest
        made = MeasuredArtifact(
            artifact=build.subject[0].digest.sha256,
            build=sha256_hex(envelope),
            source=config.source,
            precision=manifest.artifact.precision,
            model_name=config.source_name,
        )
        check_opened_build(build, spec_digest, spec, made)
        models = rows_of_build(told.run_id, build.predicate, made.artifact)
        return Result("build", {"output": made.artifact}, told.runner_key, models)
    if policy is None:
        raise ValueError("a measurement is checked against its policy")
    parsed = decode_canonical(policy, Policy, what="policy")
    measured = check_measurement(envelope, spec_digest, spec, parsed).predicate
    models, hardware = rows_of_measurement(told.run_id, measured)
    raw = {"samples": measured.raw_samples, "quality": measured.raw_quality}
    return Result("measurement", raw, told.runner_key, models, hardware)
