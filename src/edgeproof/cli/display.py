"""How jobs, progress and decisions look in a terminal. Nothing is computed here but the layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from edgeproof.cli.printing import on_one_line
from edgeproof.cli.terminal import Terminal
from edgeproof.contract.jobs import JobEvent, JobView, RunView
from edgeproof.lab.withdrawn import words

COLOURS: Final = {
    "deployable": "green",
    "deployable_with_note": "green",
    "review_required": "yellow",
    "unknown": "yellow",
    "blocked": "red",
}

_RUN_STATES: Final = {
    "PENDING": "waits again",
    "CLAIMED": "started",
    "COMPLETE": "done",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
}


class LiveJob:
    """One job's progress, fed with its events: a moving line on a terminal, a line a step elsewhere."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name
        self._task = progress.add_task(_words(name), total=None, detail="queued")

    def on_event(self, event: JobEvent) -> None:
        data = event.data
        if event.type == "progress":
            step = f"{data['stage']} {data['role']}"
            self._progress.update(
                self._task,
                completed=data["completed"],
                total=data.get("total"),
                detail=_words(f"{step}: {data.get('message') or ''} ({data['unit']})"),
            )
        elif event.type == "metadata" and "state" in data:
            self._say(f"{data['stage']} {data['role']} {_RUN_STATES[data['state']]}")
        elif event.type == "status":
            self._say(str(data["status"]))

    def _say(self, detail: str) -> None:
        self._progress.update(self._task, detail=_words(detail), completed=0, total=None)
        if not self._progress.console.is_terminal:
            self._progress.console.print(f"{self._name}: {detail}", markup=False, soft_wrap=True)

    def end(self, job: JobView) -> None:
        self._progress.update(self._task, completed=1, total=1, detail=job.status)


@contextmanager
def live(console: Terminal) -> Iterator[Progress]:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        # Elsewhere than on a terminal it would leave an empty line and nothing else.
        disable=not console.is_terminal,
    )
    with progress:
        yield progress


def decision_of(job: JobView) -> dict[str, Any]:
    decision: dict[str, Any] = (job.result or {}).get("deployment_decision", {})
    return decision


def comparison_of(job: JobView) -> dict[str, Any]:
    """The comparison as signed: latency gates, accuracy, agreement."""
    result: dict[str, Any] = (job.result or {}).get("comparison", {}).get("result", {})
    return result


def print_job(console: Terminal, job: JobView) -> None:
    """A job's decision with its reasons, or its error."""
    console.print(f"job      {escape(job.job_id)}")
    if job.error is not None:
        error = job.error
        told = f"{error.stage}: {error.message} [{error.code}]"
        console.print(f"[red]{job.status}[/] in {escape(told)}")
        if error.fault is not None:
            again = "trying again may help" if error.retryable else "trying again will not help"
            console.print(f"fault    {error.fault}; {again}")
        return
    decision = decision_of(job)
    if not decision:
        console.print(f"status   {job.status}")
        return
    console.print(f"decision {_coloured(decision['decision'])} ({decision['basis']} evidence)")
    if job.withdrawn is not None:
        told = job.withdrawn.signed_decision or "nothing"
        console.print(f"  [yellow]{escape(words(job.withdrawn))}; signed was {escape(told)}[/]")
    for reason in decision.get("reasons", ()):
        console.print(f"  • {escape(reason['rule'])}: {escape(reason['effect'])}")
        for detail in reason.get("details", ()):
            console.print(f"      {escape(detail)}")
    console.print(f"action   {escape(decision['recommended_action'])}")
    console.print(f"policy   {escape(decision['policy_version'])} sha256:{decision['policy_digest']}")


def run_line(run: RunView) -> str:
    """How a run stands, and what its runner says that it does; of one that no runner at work can do, what the
    nearest lacks and has instead."""
    told = f"{run.stage}/{run.role} {run.state} attempt {run.attempt}"
    if run.queue_position is not None:
        told += f", place {run.queue_position} in the queue"
    if run.status_text:
        told += f", {run.status_text}"
    return f"{told}, waiting for {'; '.join(run.waiting_for)}" if run.waiting_for else told


def print_candidates(console: Terminal, rows: Sequence[tuple[str, JobView]]) -> None:
    """One line a candidate, then why each was decided so."""
    table = Table(title="Candidates against the baseline, on this device", box=SIMPLE_HEAD)
    for heading in ("candidate", "decision", "p50 ms", "ratio [interval]", "top-1 %"):
        table.add_column(heading, no_wrap=heading in ("decision", "p50 ms"))
    for name, job in rows:
        decision = decision_of(job).get("decision", job.status)
        comparison = comparison_of(job)
        table.add_row(escape(name), _coloured(decision), *_latency(comparison), _accuracy(comparison))
    console.print(table)
    for name, job in rows:
        console.print(f"{escape(name)}: {escape(_why(job))}")
    console.print()


def _words(text: str) -> str:
    """For a progress' column, which no console looks through."""
    return escape(on_one_line(text))


def _coloured(decision: str) -> str:
    colour = COLOURS.get(decision, "red")
    return f"[bold {colour}]{escape(decision)}[/]"


def _latency(comparison: dict[str, Any]) -> tuple[str, str]:
    for gate in comparison.get("latency", ()):
        if gate["metric"] == "p50":
            low, high = gate["ratio_low"], gate["ratio_high"]
            interval = f"[{low:.3g}, {high:.3g}]" if low is not None and high is not None else "[unbounded]"
            return (
                f"{gate['baseline_ms']:.3g} → {gate['candidate_ms']:.3g}",
                escape(f"{gate['ratio']:.3g} {interval}"),
            )
    return "–", "–"


def _accuracy(comparison: dict[str, Any]) -> str:
    accuracy = comparison.get("accuracy")
    if not accuracy:
        return "–"
    return f"{accuracy['baseline'] * 100:.2f} → {accuracy['candidate'] * 100:.2f}"


def _why(job: JobView) -> str:
    if job.error is not None:
        return f"{job.error.code}: {job.error.message}"
    reasons = decision_of(job).get("reasons", ())
    return str(reasons[0]["effect"]) if reasons else ""
