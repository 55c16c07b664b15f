"""Both generations to ours and back: pass = ok, suspicious and review_required = warning, blocked = error."""

from typing import Any

import msgspec
import pytest

from edgeproof.contract.comparison import GuardStatus
from edgeproof.contract.guard import DIAGNOSIS_V1, Verdict, read_guard_analysis
from edgeproof.lab.guard.item import item
from edgeproof.lab.guard.normalise import normalised, to_diagnosis, to_legacy
from edgeproof.lab.guard.verdict import conclude

PAIRS: list[tuple[Verdict, GuardStatus]] = [
    ("pass", "ok"),
    ("suspicious", "warning"),
    ("review_required", "warning"),
    ("blocked", "error"),
    ("skipped", "skipped"),
]
DIAGNOSIS: dict[str, Any] = {
    "schema_version": DIAGNOSIS_V1,
    "source": "aiguard",
    "guard_verdict": "pass",
    "severity": "medium",
    "confidence": 0.9,
    "primary_reason": "a reason",
    "evidence": [],
    "suspected_causes": [],
    "recommendations": [],
    "thresholds": {},
    "baseline_summary": None,
    "candidate_summary": None,
    "created_at": "2026-01-02T03:04:05Z",
}


@pytest.mark.parametrize(("verdict", "status"), PAIRS)
def test_a_verdict_has_its_status(verdict: str, status: str) -> None:
    told = normalised(read_guard_analysis({**DIAGNOSIS, "guard_verdict": verdict}))
    assert (told.guard_verdict, told.status) == (verdict, status)


@pytest.mark.parametrize(
    ("status", "severity", "verdict"),
    [
        ("ok", None, "pass"),
        ("warning", "low", "suspicious"),
        ("warning", "medium", "review_required"),
        ("error", "high", "blocked"),
        ("skipped", None, "skipped"),
    ],
)
def test_a_legacy_status_has_its_verdict(status: str, severity: str | None, verdict: str) -> None:
    anomalies = [{"type": "t", "severity": severity, "message": "m"}] if severity else []
    told = normalised(read_guard_analysis({"status": status, "anomalies": anomalies}))
    assert (told.status, told.guard_verdict) == (status, verdict)


@pytest.mark.parametrize(
    "value", [{**DIAGNOSIS, "status": "error"}, {"status": "error", "guard_verdict": "pass"}]
)
def test_the_status_wins_over_the_verdict(value: dict[str, Any]) -> None:
    told = normalised(read_guard_analysis(value))
    assert (told.status, told.guard_verdict) == ("error", "blocked")


def test_ours_as_a_diagnosis_and_back_is_the_same() -> None:
    told = conclude(
        [
            item(
                "bbox_collapse",
                "collapsed_boxes",
                status="failed",
                severity="medium",
                explanation="words",
                why="why",
                observed=0.3,
                baseline=0.1,
                threshold=0.1,
                cause="cause",
                recommendation="do",
                context={"where": "here"},
            ),
            item("missing_system", "system", status="warning", severity="low", explanation="note", why=""),
        ]
    )
    wire = msgspec.to_builtins(to_diagnosis(told, source="edgeproof", created_at="2026-01-02T03:04:05Z"))
    assert normalised(read_guard_analysis(wire)) == told


@pytest.mark.parametrize(
    ("status", "severity", "expected"),
    [
        ("warning", "low", "ok"),
        ("warning", "medium", "warning"),
        ("failed", "medium", "warning"),
        ("failed", "high", "error"),
    ],
)
def test_ours_as_legacy_keeps_the_status_and_counts_no_note(
    status: Any, severity: Any, expected: str
) -> None:
    told = conclude([item("t", "m", status=status, severity=severity, explanation="e", why="")])
    legacy = to_legacy(told)
    assert (legacy.status, len(legacy.anomalies)) == (expected, 0 if expected == "ok" else 1)
    assert normalised(read_guard_analysis(msgspec.to_builtins(legacy))).status == expected
