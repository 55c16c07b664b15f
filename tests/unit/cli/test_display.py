"""What a job's events look like where there is no terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from edgeproof.cli.display import LiveJob, live, print_candidates, print_job, run_line
from edgeproof.cli.terminal import Terminal
from edgeproof.contract.jobs import EventType, JobError, JobEvent, JobView, RunView

FORGED = "gone\x1b[2K\r\n\x9b1Adecision deployable\u202e [green]:smile:"
SHOWN = "gone?[2K???1Adecision deployable? [green]:smile:"
RUN = {"run_id": "r", "stage": "forge", "role": "candidate"}


def shown(*events: tuple[EventType, dict[str, Any]]) -> list[str]:
    stream = io.StringIO()
    with live(Terminal(file=stream)) as progress:
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


def failed() -> JobView:
    run = RunView(
        run_id="r", stage="forge", role="candidate", state="FAILED", attempt=1, status_text=FORGED,
        waiting_for=(FORGED,),
    )  # fmt: skip
    return JobView(
        job_id="j",
        status="failed",
        created_at="2026-01-01T00:00:00Z",
        updated_at="2026-01-01T00:00:00Z",
        input_summary={},
        result=None,
        error=JobError(code="stage_crashed", message=FORGED, stage="forge"),
        links={},
        next_actions=(),
        runs=(run,),
    )


def test_what_others_say_of_a_job_is_one_line_and_steers_no_terminal() -> None:
    stream = io.StringIO()
    console = Terminal(file=stream, soft_wrap=True)
    job = failed()
    print_job(console, job)
    console.print(run_line(job.runs[0]), markup=False)
    assert stream.getvalue().splitlines()[1:] == [
        f"failed in forge: {SHOWN} [stage_crashed]",
        f"forge/candidate FAILED attempt 1, {SHOWN}, waiting for {SHOWN}",
    ]


def test_nor_does_it_beside_other_candidates() -> None:
    stream = io.StringIO()
    print_candidates(Terminal(file=stream, width=200), [("a\x1bb", failed())])
    lines = stream.getvalue().splitlines()
    assert f"a?b: stage_crashed: {SHOWN}" in lines
    assert [line.split()[0] for line in lines if "failed" in line] == ["a?b"]


def test_nor_while_it_moves() -> None:
    stream = io.StringIO()
    with live(Terminal(file=stream, force_terminal=True, color_system=None, width=200)) as progress:
        line = LiveJob(progress, "model\x1b]0;title\x07")
        data = {**RUN, "completed": 1, "unit": "step", "message": FORGED}
        line.on_event(JobEvent(seq=0, type="progress", at="2026-01-01T00:00:00Z", data=data))
        progress.refresh()
    shown = stream.getvalue()
    assert "model?]0;title?" in shown
    assert "gone?[2K???1Adecision deployable?" in shown
