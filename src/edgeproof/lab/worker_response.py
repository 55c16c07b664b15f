"""Seed 000's worker response: what a terminal answer makes of its job. Pure: it opens and stores nothing.

The mapping table is the seed's. Whether the sender may answer, and whether the job still takes an answer,
is the server's to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import msgspec

from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.jobs import JobError
from edgeproof.contract.worker import WorkerFailed, WorkerResponse
from edgeproof.lab.worker_bundle import Sender, worker_bundle
from edgeproof.lab.worker_result import result_violations, unfit_numbers, wrong_digests

STAGE: Final = "lab_validation"
#: Only the Lab makes these; a worker that sends one is refused.
NOT_YOURS: Final = ("result", "deployment_decision")


@dataclass(frozen=True)
class Completed:
    """The job is completed: its shown ``updated_at`` and its result."""

    updated_at: str
    result: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The job has failed: its shown ``updated_at`` and its error."""

    updated_at: str
    error: JobError


def read_response(value: Any, job_id: str) -> WorkerResponse:
    """An answer for the job ``job_id``, as JSON decodes, with its form checked.

    Raises:
        Refused: ``decision_not_yours`` when it brings a ``result`` or a ``deployment_decision``;
            ``invalid_request`` when a required field is missing or wrong, when a failed one brings a
            ``runtime_result`` (also ``{}``), and when it is of another job.
    """
    _demand_no_decision(value)
    try:
        response: WorkerResponse = msgspec.convert(value, WorkerResponse, strict=True)
    except msgspec.ValidationError as error:
        what, at, path = str(error).rpartition(" - at `")
        raise _refused(path.rstrip("`") if at else "$", what if at else str(error)) from error
    if response.job_id != job_id:
        raise _refused("$.job_id", f"this is job {job_id}")
    if found := next(_around_the_result(response), None):
        raise _refused(found.path, found.message)
    shown_time(response.failed_at if isinstance(response, WorkerFailed) else response.completed_at)
    return response


def applied(response: WorkerResponse, sender: Sender) -> Completed | Failed:
    """What the job becomes.

    A ``runtime_result`` that breaks its schema fails the job in ``lab_validation``, with the violations as
    evidence; a guard that failed never does.
    """
    if isinstance(response, WorkerFailed):
        return Failed(shown_time(response.failed_at), _told(response))
    at = shown_time(response.completed_at)
    if violations := result_violations(response.runtime_result):
        return Failed(
            at,
            JobError(
                code="result_invalid",
                message=f"the runtime_result breaks its schema in {len(violations)} place(s)",
                stage=STAGE,
                evidence=tuple({"path": one.path, "message": one.message} for one in violations),
            ),
        )
    return Completed(at, worker_bundle(response, at, sender))


def shown_time(at: datetime) -> str:
    """As a job shows it: UTC with ``Z``. Raises ``Refused`` for a time that UTC cannot express."""
    try:
        return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    except OverflowError as error:
        raise Refused("invalid_request", f"{at.isoformat()} is no time in UTC") from error


def _told(response: WorkerFailed) -> JobError:
    error = response.error
    evidence = (error.evidence,) if isinstance(error.evidence, dict) else error.evidence or ()
    return JobError(code=error.code, message=error.message, stage=error.stage, evidence=evidence)


def _demand_no_decision(value: Any) -> None:
    if not isinstance(value, dict):
        return
    result = value.get("runtime_result")
    within = result.get("deployment_decision") if isinstance(result, dict) else None
    for name in NOT_YOURS:
        if value.get(name) is not None or (name == "deployment_decision" and within is not None):
            raise Refused("decision_not_yours", f"{name}: the Lab alone decides; send the evidence")


def _around_the_result(response: WorkerResponse) -> Iterator[FieldError]:
    """What is wrong beside the result, whose violations are for ``applied``."""
    if isinstance(response, WorkerFailed):
        yield from unfit_numbers(response.error.evidence, "$.error.evidence")
        return
    if not response.forge_metadata:
        yield FieldError(path="$.forge_metadata", message="it says nothing")
    yield from chain(
        unfit_numbers(response.forge_metadata, "$.forge_metadata"),
        wrong_digests(response.forge_metadata, "$.forge_metadata"),
    )


def _refused(path: str, message: str) -> Refused:
    return Refused("invalid_request", f"{path}: {message}", errors=(FieldError(path=path, message=message),))
