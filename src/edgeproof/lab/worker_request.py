"""Seed 000's worker request: a pure function of a queued analyze job, and the reading of its options.

The mapping table is the seed's, field by field. Nothing here opens a path or knows a database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.requests import OPTION_ALIASES, AnalyzeOptions, AnalyzeRequest

WORKFLOW = "analyze"
_PATHS = ("model_path", "artifact_path", "metadata_path", "manifest_path")
# msgspec's words; a key that is wrong is "`key` in" its mapping.
_PLACE = re.compile(r"(.*) - at (?:`key` in )?`\$(.*)`", re.DOTALL)


def without_aliases(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` under the names that are kept; a kept name that is given wins over its aliases."""
    named = {key: value for key, value in options.items() if key not in OPTION_ALIASES}
    for alias, name in OPTION_ALIASES.items():
        if alias in options:
            named.setdefault(name, options[alias])
    return named


def options_of(options: Mapping[str, Any]) -> AnalyzeOptions:
    """The options, checked. Unknown ones are ignored. Raises ``Refused`` (``invalid_request``)."""
    try:
        return msgspec.convert(without_aliases(options), AnalyzeOptions)
    except msgspec.ValidationError as error:
        told = _PLACE.fullmatch(str(error))
        what, where = told.groups() if told is not None else (str(error), "")
        path = "options" + where
        raise Refused(
            "invalid_request", f"{path}: {what}", errors=(FieldError(path=path, message=what),)
        ) from error


def input_summary(request: AnalyzeRequest) -> dict[str, Any]:
    """What a job keeps of its request. Raises ``Refused`` (``invalid_request``) without any model."""
    if request.model_path is None and request.artifact_path is None:
        raise Refused("invalid_request", "one of model_path and artifact_path is required")
    summary: dict[str, Any] = {"workflow": WORKFLOW}
    for path in _PATHS:
        summary[path] = getattr(request, path)
    summary["options"] = without_aliases(request.options)
    if request.notes is not None:
        summary["notes"] = request.notes
    return summary


def worker_request(job: Mapping[str, Any], caller_options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The worker request of a job (``job_id, status, created_at, updated_at, input_summary``).

    Only a queued analyze job has one. Raises ``Refused`` (``conflict``, ``invalid_request``).
    """
    summary = job["input_summary"]
    if summary.get("workflow") != WORKFLOW:
        raise Refused("invalid_request", f"not an analyze job: {summary.get('workflow')!r}")
    if job["status"] != "queued":
        raise Refused("conflict", f"a {job['status']} job is not handed to workers")
    if not (summary.get("model_path") or summary.get("artifact_path")):
        raise Refused("invalid_request", "one of model_path and artifact_path is required")
    options = without_aliases({**summary.get("options", {}), **(caller_options or {})})
    if summary.get("notes") is not None:
        options.setdefault("notes", summary["notes"])
    return {
        "job_id": job["job_id"],
        "input_summary": summary,
        "requested_at": job.get("updated_at") or job["created_at"],
        **{path: summary.get(path) for path in _PATHS},
        "options": _plain_ones_first(options),
    }


def _plain_ones_first(options: Mapping[str, Any]) -> dict[str, Any]:
    # For readers that take a key where the text has it first: `precision` before `baseline.precision`.
    return dict(sorted(options.items(), key=lambda one: isinstance(one[1], dict | list)))
