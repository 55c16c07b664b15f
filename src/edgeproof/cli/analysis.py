"""One analysis as the command line does it: upload, submit, follow, keep the evidence.

``analyze`` and ``demo`` both go this road, which is the HTTP API's and nobody's shortcut.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.errors import Unavailable
from edgeproof.contract.jobs import JobEvent, JobView
from edgeproof.contract.requests import AnalyzeRequest

_MAX_EVIDENCE_BYTES = 256 << 20
_AWAY_SECONDS = 120.0
_ATTEMPTS_SECONDS = 30.0
_EVIDENCE_NAME = re.compile(r"[a-z-]+-[0-9a-f]{64}\.json")


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Local files and options. ``options`` go into the request as they are."""

    model: Path
    baseline: Path | None = None
    baseline_preset: str | None = None
    calibration: Path | None = None
    dataset: Path | None = None
    job_id: str | None = None
    notes: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


async def submit(client: ControlPlaneClient, analysis: Analysis) -> JobView:
    """Uploads what the analysis names and queues the job."""
    options = {key: value for key, value in analysis.options.items() if value is not None}
    options["provenance"] = {"model_name": analysis.model.stem, **options.get("provenance", {})}
    if analysis.calibration is not None:
        options["calibration"] = await _publish(client, analysis.calibration)
    if analysis.dataset is not None:
        options["dataset"] = await _publish(client, analysis.dataset)
    if analysis.baseline is not None or analysis.baseline_preset is not None:
        options["baseline"] = {
            "model_path": await _publish(client, analysis.baseline or analysis.model),
            "preset": analysis.baseline_preset or "source",
        }
    request = AnalyzeRequest(
        job_id=analysis.job_id,
        model_path=await _publish(client, analysis.model),
        notes=analysis.notes,
        options=options,
    )
    return await client.analyze(request)


async def follow(client: ControlPlaneClient, job_id: str, on_event: Callable[[JobEvent], None]) -> JobView:
    """Every event until the job has ended, then the job.

    Outlives a control plane that is away; raises ``Unavailable`` once it was for ``_AWAY_SECONDS``.
    """
    clock = asyncio.get_running_loop()
    seen, away_since = 0, clock.time()
    while True:
        asked_at = clock.time()
        try:
            async for event in client.events(job_id, after=seen):
                seen, away_since = event.seq, clock.time()
                on_event(event)
            return await client.job(job_id)
        except Unavailable:
            # No pause here: the client has paused between its own attempts. Longer than those take, and it
            # was connected meanwhile.
            if clock.time() - asked_at > _ATTEMPTS_SECONDS:
                away_since = clock.time()
            if clock.time() - away_since > _AWAY_SECONDS:
                raise


async def save_evidence(client: ControlPlaneClient, job_id: str, folder: Path) -> int:
    """Writes the job's evidence as ``<kind>-<digest>.json`` and returns how many files there are now."""
    folder.mkdir(parents=True, exist_ok=True)
    items = (await client.evidence(job_id)).items
    for item in items:
        path = folder / f"{item.kind}-{item.digest}.json"
        if not path.exists():
            data = await client.fetch(item.digest, max_bytes=_MAX_EVIDENCE_BYTES)
            write_whole(path, data)
    return len(items)


def clear_evidence(folder: Path) -> None:
    """Removes evidence of earlier analyses, which may hang on another key; leaves everything else."""
    for path in folder.glob("*.json"):
        if _EVIDENCE_NAME.fullmatch(path.name):
            path.unlink()


def write_whole(path: Path, data: bytes) -> None:
    """The file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


async def _publish(client: ControlPlaneClient, path: Path) -> str:
    return f"sha256:{(await client.publish(path)).digest}"
