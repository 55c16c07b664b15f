"""Seed 000's mapping from a Forge's ``worker_runtime_summary`` to the input summary of an analyze job. Pure.

A Forge that is not ours hands over this way: it posts its summary instead of an analyze request.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.unsigned import read_unsigned
from edgeproof.contract.worker import AnalyzeBody, ForgeHandover
from edgeproof.lab.worker_request import WORKFLOW, without_aliases

PATHS: Final = {
    "source_model_path": "model_path",
    "artifact_path": "artifact_path",
    "metadata_path": "metadata_path",
    "manifest_path": "manifest_path",
}
OPTIONS: Final = ("backend", "target", "precision", "batch", "height", "width")
PROVENANCE: Final = ("source_model_sha256", "artifact_sha256", "artifact_type", "preset_name", "build_id")


def asked_by(body: AnalyzeBody) -> AnalyzeRequest | ForgeHandover:
    """Which of the two a body is. Raises ``Refused`` (``invalid_request``) for half of each, and for a
    summary that lacks a field."""
    given = {name: value for name, value in msgspec.to_builtins(body).items() if value is not None}
    if body.source_model_path is None:
        return msgspec.convert(given, AnalyzeRequest)
    if body.model_path is not None:
        raise Refused(
            "invalid_request", "either a request (model_path) or a Forge's summary (source_model_path)"
        )
    # An axis may be null and must be there: absent and null are alike only where a field is optional.
    axes: dict[str, Any] = {axis: getattr(body, axis) for axis in ("batch", "height", "width")}
    return read_unsigned({**axes, **given}, ForgeHandover, what="worker_runtime_summary")


def handover_summary(handover: ForgeHandover) -> dict[str, Any]:
    """The input summary, by the seed's table; the caller's ``options`` lie over those of the summary.

    The five provenance fields land in ``provenance`` and in ``options.provenance``.
    """
    summary: dict[str, Any] = {"workflow": WORKFLOW}
    for theirs, ours in PATHS.items():
        summary[ours] = getattr(handover, theirs)
    provenance = {name: getattr(handover, name) for name in PROVENANCE}
    options = {name: getattr(handover, name) for name in OPTIONS} | without_aliases(handover.options)
    told = options.get("provenance")
    if told is None or isinstance(told, dict):
        options["provenance"] = {**(told or {}), **provenance}
    summary["options"] = options
    summary["provenance"] = provenance
    if handover.notes is not None:
        summary["notes"] = handover.notes
    return summary
