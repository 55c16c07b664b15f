"""The bundle by which a developer completes a job by hand (seed 000's mock completion): checked, and marked.

It can say anything, so it proves nothing: whatever it claims of itself, its basis is ``unsigned``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec

from edgeproof.contract.bundle import ResponseBundle
from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.guard import read_guard_analysis
from edgeproof.contract.point_policy import UnsignedDecision
from edgeproof.contract.unsigned import read_unsigned

SOURCE: Final = "complete_dev"
OBJECTS: Final = (
    "summary",
    "comparison",
    "deployment_decision",
    "provenance",
    "metadata",
    "timestamps",
    "execution_info",
)
_CLAIMS: Final = ("evidence", "decision_digest")
"""Keys by which a bundle says that something signed lies behind it."""


def dev_bundle(told: Mapping[str, Any], policy_version: str, policy_digest: str) -> dict[str, Any]:
    """``told`` as the result of a completed job: every key of the bundle, empty where nothing was told.

    The policy is the job's; it decided nothing here. Raises ``Refused`` (``invalid_request``) unless the
    seven objects are there and well formed, and summary and decision agree.
    """
    for name in OBJECTS:
        if not isinstance(told.get(name), dict):
            raise _refused(f"$.{name}", "an object is expected")
    said, summed = told["deployment_decision"].get("decision"), told["summary"].get("deployment_decision")
    if said != summed:
        raise _refused("$.summary.deployment_decision", f"the decision says {said!r}, the summary {summed!r}")
    bundle = {name: one for name, one in told.items() if name not in _CLAIMS}
    if bundle.get("guard_analysis") is None:
        bundle.pop("guard_analysis", None)
    else:
        read_guard_analysis(bundle["guard_analysis"])
    bundle["basis"] = "unsigned"
    bundle["provenance"] = {**bundle["provenance"], "source_bundle": SOURCE}
    bundle["deployment_decision"] = {
        "reason": "A developer completed this job by hand; nothing was measured.",
        "lab_overall": None,
        "guard_status": None,
        "guard_verdict": None,
        "recommended_action": "Analyse the model on a runner.",
        "triggered_rules": [],
        "reasons": [],
        **bundle["deployment_decision"],
        "policy_version": policy_version,
        "policy_digest": policy_digest,
        "basis": "unsigned",
    }
    bundle = _filled(ResponseBundle, bundle)
    read_unsigned(bundle, ResponseBundle, what="result")
    read_unsigned(bundle["deployment_decision"], UnsignedDecision, what="result.deployment_decision")
    return bundle


def _filled(type_: type[msgspec.Struct], value: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(value)
    for field in msgspec.structs.fields(type_):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            inside = filled.get(field.name, {})
            filled[field.name] = _filled(field.type, inside) if isinstance(inside, dict) else inside
        elif field.required and field.name not in filled:
            filled[field.name] = _empty(field.type)
    return filled


def _empty(annotation: Any) -> Any:
    if type(None) in get_args(annotation):
        return None
    return "" if annotation is str else {}


def _refused(path: str, message: str) -> Refused:
    return Refused(
        "invalid_request", f"result: {path}: {message}", errors=(FieldError(path=path, message=message),)
    )
