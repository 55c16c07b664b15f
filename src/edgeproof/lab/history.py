"""The history of kept results: sorted into series, each looked at by the guard's history rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeproof.contract.bundle import BundleRendered
from edgeproof.contract.comparison import GuardAnalysis
from edgeproof.contract.stored_results import HistoryReport, HistorySeries, ResultView
from edgeproof.lab.guard import history
from edgeproof.lab.guard.result import ResultFacts
from edgeproof.lab.guard.verdict import conclude, guarded
from edgeproof.lab.rendered import template


def history_report(results: Iterable[ResultView], next_cursor: str | None = None) -> HistoryReport:
    """Series in the order of their keys; within one, oldest first by ``measured_at``."""
    found: dict[tuple[str, str], list[ResultView]] = {}
    for one in results:
        found.setdefault((one.compare_key, one.backend_key), []).append(one)
    series = tuple(
        _series(compare_key, backend_key, sorted(runs, key=lambda one: (one.measured_at, one.created_at)))
        for (compare_key, backend_key), runs in sorted(found.items())
    )
    return HistoryReport(
        count=sum(len(one.runs) for one in series),
        series=series,
        rendered=BundleRendered(
            markdown=template("history.md.j2").render(series=series),
            html=template("history.html.j2").render(series=series),
        ),
        next_cursor=next_cursor,
    )


def _series(compare_key: str, backend_key: str, runs: Sequence[ResultView]) -> HistorySeries:
    return HistorySeries(
        compare_key=compare_key, backend_key=backend_key, runs=tuple(runs), guard_analysis=_guard(runs)
    )


def _guard(runs: Sequence[ResultView]) -> GuardAnalysis:
    return guarded(lambda: _looked_at([_facts(one) for one in runs]))


def _looked_at(facts: Sequence[ResultFacts]) -> GuardAnalysis:
    return conclude([found for rule in history.RULES for found in rule(facts)])


def _facts(one: ResultView) -> ResultFacts:
    """As far as the history rules look: what a single result lacks is for another rule."""
    return ResultFacts(
        side="candidate",
        model=one.model,
        backend=one.engine.lower(),
        device=one.device.lower(),
        precision=one.precision,
        mean_ms=one.mean_ms,
        p99_ms=one.p99_ms,
        shape=(one.batch, one.height, one.width),
        artifact_path=None,
        input_shapes_known=True,
        run_config_known=True,
        system_known=True,
        quality_known=bool(one.accuracy),
    )
