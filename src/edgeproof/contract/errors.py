"""Stable error codes and the two kinds of error.

::

    EdgeproofError
    ├── Refused        the peer's fault: bad input, no right, wrong state. Repeating it will not help.
    │   └── StageFailed    a stage could not do its work; ends up as a job's ``error``
    └── Unavailable    ours, or the weather's: repeating it later may help

``CODES`` is the documented registry: a code that is not in it cannot be raised. HTTP renders an error
as RFC 9457 ``application/problem+json``.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from edgeproof.contract.base import Wire
from edgeproof.contract.faults import Fault, blame


class Code(NamedTuple):
    """What a stable code means: HTTP status and a short title."""

    status: int
    title: str


CODES: Final[dict[str, Code]] = {
    # the request itself
    "invalid_request": Code(400, "The request does not have the required form"),
    "invalid_json": Code(400, "The body is not JSON"),
    "not_canonical": Code(400, "The bytes are not canonical"),
    "body_too_large": Code(413, "The body is larger than this route allows"),
    "body_too_deep": Code(400, "The body is nested too deeply"),
    "body_too_slow": Code(408, "The body arrives too slowly"),
    "not_found": Code(404, "There is no such thing, or you may not see it"),
    "method_not_allowed": Code(405, "This route does not take that method"),
    "conflict": Code(409, "The present state does not allow this"),
    "job_exists": Code(409, "A job with this id exists"),
    "job_terminal": Code(409, "The job has ended"),
    "decision_not_yours": Code(403, "The decision is the Lab's alone"),
    "artifact_lost": Code(410, "The artifact was here, and its bytes are gone"),
    "range_not_satisfiable": Code(416, "The range lies outside the artifact"),
    "internal_error": Code(500, "Edgeproof failed"),
    "unavailable": Code(503, "Not available just now"),
    "disk_full": Code(507, "No space is left"),
    # who may
    "unauthenticated": Code(401, "No valid token was presented"),
    "challenge_required": Code(401, "Prove that you hold the key"),
    "challenge_invalid": Code(401, "The proof does not hold"),
    "forbidden": Code(403, "This principal may not do that"),
    "key_not_allowed": Code(403, "This runner key is not on the allowlist"),
    "quota_exceeded": Code(413, "Your uploads that no job names take too much room"),
    "stale_lease": Code(409, "The lease is no longer yours"),
    "different_outcome": Code(409, "This run already has another outcome"),
    # analyze requests
    "path_not_allowed": Code(400, "No operator allowed this path"),
    "artifact_missing": Code(400, "The named artifact is not here"),
    "artifact_digest_mismatch": Code(400, "The bytes do not match their name"),
    "unknown_backend": Code(400, "No such backend"),
    "unknown_target": Code(400, "No such target"),
    "unknown_precision": Code(400, "No such precision"),
    "unknown_preset": Code(400, "No such preset"),
    "unknown_policy": Code(400, "No such policy"),
    "policy_invalid": Code(400, "The policy does not have the required form"),
    "policy_needs_samples": Code(400, "The policy judges measured pairs, and a result has no samples"),
    "unknown_result": Code(400, "No such result"),
    "policy_not_allowed": Code(403, "A request may only tighten the operator's policy"),
    "unknown_runner": Code(400, "No such runner"),
    "unknown_worker": Code(400, "No such external worker"),
    "calibration_required": Code(400, "Static int8 needs calibration data"),
    # what a stage can find
    "model_not_onnx": Code(422, "The file is not an ONNX model"),
    "model_truncated": Code(422, "The model file is cut short"),
    "model_invalid": Code(422, "The model does not pass the ONNX checker"),
    "external_data_escapes": Code(422, "External data must stay in the model's folder"),
    "external_data_missing": Code(422, "The model's external data is not part of the upload"),
    "unsupported_opset": Code(422, "The backend does not know this opset"),
    "unsupported_operator": Code(422, "The backend does not know an operator"),
    "dynamic_dimension": Code(422, "A dynamic dimension was not given"),
    "shape_mismatch": Code(422, "A shape contradicts the model"),
    "build_failed": Code(422, "The toolchain could not build the artifact"),
    "dataset_invalid": Code(422, "The data set does not fit the model"),
    "dataset_unsafe": Code(422, "The data set would run code or unpack without bound"),
    "model_output_not_finite": Code(422, "The model returns NaN or infinity"),
    "incomparable_outputs": Code(422, "Baseline and candidate do not have the same inputs and outputs"),
    "memory_limit": Code(422, "The stage exceeded its memory limit"),
    "disk_limit": Code(422, "The stage exceeded its disk limit"),
    "time_limit": Code(422, "The stage exceeded its time limit"),
    "stage_crashed": Code(500, "The stage ended unexpectedly"),
    "backend_missing": Code(500, "This runner lacks the backend"),
    "job_spec_refused": Code(403, "The runner refused the job spec"),
    "isolation_unavailable": Code(500, "This runner cannot isolate as the policy demands"),
    "result_invalid": Code(422, "The result breaks its schema"),
    "lease_expired": Code(500, "The lease expired until no attempts were left"),
    "handed_back": Code(500, "The runner handed the run back"),
    "cancelled": Code(409, "Cancelled on request"),
    # evidence
    "envelope_invalid": Code(400, "The envelope does not have the required form"),
    "signature_invalid": Code(403, "The signature does not hold"),
    "key_unknown": Code(403, "Signed by a key that is not trusted here"),
    "statement_invalid": Code(400, "The statement is not of the closed list"),
    "keyless_not_supported": Code(400, "Only bundles that are signed with a key are taken"),
    "evidence_missing": Code(400, "The decision names evidence that is not there"),
    "evidence_unlisted": Code(400, "A file is not listed by any decision"),
    "evidence_misnamed": Code(400, "A file's name is not its digest"),
    "chain_broken": Code(400, "Two pieces of evidence do not fit together"),
    "decision_differs": Code(400, "Recomputing from the evidence gives another decision"),
    # this machine
    "already_running": Code(409, "Another process holds this directory"),
    "home_unusable": Code(409, "The runner's folder cannot be used"),
    "runner_key_damaged": Code(409, "The runner's key is damaged"),
    "port_in_use": Code(409, "Another process holds this port"),
    "insecure_bind": Code(400, "Off loopback, TLS is required"),
    "insecure_url": Code(400, "Off loopback, the control plane is dialled with https only"),
    "network_settings": Code(400, "A proxy or a file of certificates cannot be used"),
    "server_unreachable": Code(503, "The control plane cannot be reached"),
    "fingerprint_required": Code(400, "Name the control plane together with its key"),
    "not_joined": Code(409, "This runner has joined no control plane"),
    "server_key_mismatch": Code(403, "The control plane has another key than the pinned one"),
}


class FieldError(Wire, frozen=True, kw_only=True):
    """One violation: where (a JSON path) and what."""

    path: str
    message: str


class Problem(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457 problem details with our ``code``, ``errors`` and, for challenges, ``nonce``."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[FieldError, ...] = ()
    nonce: str | None = None


class EdgeproofError(Exception):
    """Base of all errors that carry a stable code."""

    def __init__(
        self, code: str, detail: str = "", *, errors: tuple[FieldError, ...] = (), nonce: str | None = None
    ) -> None:
        self.code = code
        self.status, self.title = CODES[code]
        self.detail = detail or self.title
        self.errors = errors
        self.nonce = nonce
        self.retry_after: float | None = None
        """Seconds that the peer asked to be left alone for; never part of the problem document."""
        super().__init__(f"{code}: {self.detail}")

    def problem(self) -> Problem:
        return Problem(
            type=f"urn:edgeproof:error:{self.code}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            errors=self.errors,
            nonce=self.nonce,
        )


class Refused(EdgeproofError):
    """The peer's fault."""


class Unavailable(EdgeproofError):
    """Ours; may be repeated."""


class StageFailed(Refused):
    """A stage ended without a result: whose ``fault`` it is, and ``retryable``, whether another attempt may
    help. Where the raiser does not know better, ``contract.faults`` says both."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        fault: Fault | None = None,
        retryable: bool | None = None,
        evidence: tuple[dict[str, Any], ...] = (),
    ) -> None:
        super().__init__(code, detail)
        usual = blame(code, self.status)
        self.fault: Fault = usual.fault if fault is None else fault
        self.retryable = usual.retryable if retryable is None else retryable
        self.evidence = evidence


def from_problem(problem: Problem) -> EdgeproofError:
    """The error that a peer rendered; unknown codes become ``internal_error`` or ``invalid_request``."""
    code = (
        problem.code
        if problem.code in CODES
        else ("internal_error" if problem.status >= 500 else "invalid_request")
    )
    # What came too slowly may come in time the next time: that is the network's doing.
    passing = CODES[code].status >= 500 or code == "body_too_slow"
    kind = Unavailable if passing else Refused
    return kind(code, problem.detail, errors=problem.errors, nonce=problem.nonce)
