"""What a job's events look like where there is no terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from edgeproof.cli.display import LiveJob, live
from edgeproof.contract.jobs import EventType, JobEvent

RUN = {"run_id": "r", "stage": "forge", "role": "candidate"}


def shown(*events: tuple[EventType, dict[str, Any]]) -> list[str]:
    stream = io.StringIO()
    with live(Console(file=stream)) as progress:
        line = LiveJob(progress, "model.onnx")
        for seq, (kind, data) in enumerate(events):
            line.on_event(JobEvent(seq=seq, type=kind, at="2026-01-01T00:00:00Z", data=data))
    return stream.getvalue().splitlines()


def test_a_line_for_each_step_and_none_for_mere_progress() -> None:
    assert shown(
        ("status", {"status": "running"}),
        ("metadata", {**RUN, "state": "CLAIMED", "attempt": 1, "runner_id": "d"}),
        ("progress", {**RUN, "completed": 1, "unit": "step"}),
        ("progress", {**RUN, "completed": 2, "unit": "step", "total": 4, "message": "calibrating"}),
        ("artifact", {"role": "build", "digest": "0" * 64}),
        ("metadata", {**RUN, "state": "COMPLETE", "attempt": 1, "runner_id": "d"}),
    ) == ["model.onnx: running", "model.onnx: forge candidate started", "model.onnx: forge candidate done"]


@pytest.mark.parametrize("kind", ["status", "progress", "log", "artifact", "metadata"])
def test_every_type_of_event_can_be_met(kind: EventType) -> None:
    data = {"status": "queued", **RUN, "completed": 0, "unit": "[bold]", "text": "x"}
    assert len(shown((kind, data))) == (kind == "status")
