"""``edgeproof guard``: the guard's rules over an object detector's outputs, offline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from edgeproof.cli import exits
from edgeproof.cli.json_files import read_json
from edgeproof.cli.options import json_option
from edgeproof.cli.printing import echo_json
from edgeproof.contract.comparison import GuardAnalysis, GuardStatus
from edgeproof.contract.guard import Detections, read_detections

MOST_BYTES: Final = 256 << 20
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_EXITS: Final[dict[GuardStatus, int]] = {
    "ok": exits.NO_OBJECTION,
    "warning": exits.REVIEW,
    "error": exits.BLOCKED,
    "skipped": exits.REVIEW,
}
_COLOURS: Final = {"passed": "green", "skipped": "dim", "warning": "yellow", "failed": "red"}


@click.command()
@click.argument("candidate", type=_FILE)
@click.option("--baseline", type=_FILE, help="What the baseline found in the same images.")
@click.option(
    "--latency-delta-pct",
    type=float,
    help="Candidate against baseline, negative is faster.",
)
@json_option
def guard(candidate: Path, baseline: Path | None, latency_delta_pct: float | None, as_json: bool) -> int:
    """Judge what an object detector found: one image, a list of images, or the frames of a film.

    \b
    CANDIDATE and --baseline are JSON: of an image
      {"model": "m", "precision": "int8", "image_id": "1.jpg", "detections": [
        {"class_id": 0, "confidence": 0.9, "bbox": [x, y, width, height]}]}
    a list of such objects, or of a film
      {"model": "m", "width": 640, "height": 480, "frames": [[detection, ...], ...]}
    null in a bbox stands for NaN or infinity.

    --json prints a diagnosis that `compare --guard` and a worker's response take. It is signed by nobody
    and makes nothing deployable. Exit 0 when no rule objects, 2 when it blocks, 3 when a person must look or
    there is nothing that a rule could judge.
    """
    from edgeproof.lab.guard.detections import judge_detections
    from edgeproof.lab.guard.normalise import to_diagnosis

    told = judge_detections(
        _read(candidate), None if baseline is None else _read(baseline), latency_delta_pct=latency_delta_pct
    )
    if as_json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        echo_json(to_diagnosis(told, source="edgeproof guard", created_at=now))
    else:
        _print(told)
    return _EXITS[told.status]


def _read(path: Path) -> Detections:
    return read_detections(read_json(path, most_bytes=MOST_BYTES), what=path.name)


def _print(told: GuardAnalysis) -> None:
    from rich.markup import escape
    from rich.table import Table

    from edgeproof.cli.terminal import Terminal

    console = Terminal(soft_wrap=True)
    console.print(f"guard    {told.status} ({told.guard_verdict}): {escape(told.primary_reason)}")
    table = Table("rule", "status", "severity", "", box=None)
    for one in told.evidence:
        colour = _COLOURS[one.status]
        table.add_row(one.type, f"[{colour}]{one.status}[/]", one.severity, escape(one.explanation))
    console.print(table)
    for line in told.recommendations:
        console.print(f"action   {escape(line)}")
