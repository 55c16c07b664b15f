"""Whose fault a failure is, and whether doing the same again may help, by its code.

``user``: what was asked for; ``backend``: the engine or toolchain; ``device``: the runner's machine lacks
something or is broken; ``infrastructure``: what lies between it and the control plane. The last two are the
runner's own trouble: they count against it (``server/fleet/standing.py``), for the next run may end likewise.

A stage that knows better says so; what is not in the table is judged by its HTTP status alone.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Fault = Literal["user", "backend", "device", "infrastructure"]
RUNNERS_TROUBLE: Final[frozenset[Fault]] = frozenset({"device", "infrastructure"})


class Blame(NamedTuple):
    """``retryable``: another attempt, by this or another runner, may end differently."""

    fault: Fault
    retryable: bool


_USER: Final = Blame("user", False)
_BACKEND: Final = Blame("backend", False)
_DEVICE: Final = Blame("device", True)
_PASSING: Final = Blame("infrastructure", True)

BLAMES: Final[dict[str, Blame]] = {
    # what was asked for cannot be done, on any device of that kind
    **dict.fromkeys(
        (
            "model_not_onnx", "model_truncated", "model_invalid", "external_data_escapes",
            "external_data_missing", "unsupported_opset", "unsupported_operator", "dynamic_dimension",
            "shape_mismatch", "build_failed", "dataset_invalid", "dataset_unsafe",
            "model_output_not_finite", "incomparable_outputs", "memory_limit", "time_limit",
            "calibration_required", "cancelled",
        ),
        _USER,
    ),
    "stage_crashed": _BACKEND,
    "result_invalid": _BACKEND,
    # this device lacks it; another may have it
    "backend_missing": _DEVICE,
    "isolation_unavailable": _DEVICE,
    "disk_full": _DEVICE,
    # between control plane and runner
    "lease_expired": _PASSING,
    "handed_back": _PASSING,
    "key_not_allowed": _PASSING,
    "unavailable": _PASSING,
    "server_unreachable": _PASSING,
    # what earlier attempts of this runner left behind, not the run: another runner has room of its own
    "quota_exceeded": _PASSING,
    "job_spec_refused": Blame("infrastructure", False),
    # no runner's doing, and no other attempt finds it
    "artifact_lost": Blame("infrastructure", False),
}  # fmt: skip


def blame(code: str, status: int) -> Blame:
    """``status`` is the code's HTTP status: what is ours is infrastructure's fault, the rest the user's."""
    return BLAMES.get(code) or (Blame("infrastructure", False) if status >= 500 else _USER)
