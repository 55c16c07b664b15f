"""The history as people read it."""

from __future__ import annotations

import pytest

from edgeproof.contract.stored_results import ResultView
from edgeproof.lab import history
from edgeproof.lab.history import history_report

RUN = ResultView(
    result_id="result_1",
    digest="ab" * 32,
    basis="unsigned",
    source="posted",
    job_id=None,
    role=None,
    created_at="2026-05-02T10:00:00Z",
    measured_at="2026-05-01T10:00:00Z",
    model="gate",
    engine="tensorrt",
    device="jetson",
    precision="fp16",
    batch=1,
    height=None,
    width=None,
    mean_ms=10.0,
    p50_ms=9.8,
    p95_ms=11.0,
    p99_ms=12.0,
    accuracy={"map50": 0.8},
    compare_key="gate__b1",
    backend_key="tensorrt__jetson",
    dry_run=False,
)


def test_the_p99_of_kept_results_is_told_to_be_not_certified() -> None:
    told = history_report([RUN]).rendered
    assert "| p99 (not certified) |" in told.markdown
    assert "<th>p99 (not certified)</th>" in told.html
    assert "12.00 ms" in told.markdown and "12.00 ms" in told.html


@pytest.mark.parametrize("part", ["_facts", "_looked_at"])
def test_a_guard_that_crashes_leaves_the_history_told(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(history, part, crash)
    told = history_report([RUN])
    assert (told.count, told.series[0].runs) == (1, (RUN,))
    guard = told.series[0].guard_analysis
    assert (guard.status, guard.primary_reason) == (
        "skipped",
        "The guard could not be evaluated: ZeroDivisionError.",
    )
