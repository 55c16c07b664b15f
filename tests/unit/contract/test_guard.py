"""Both generations of guard answers as they come in: valid ones are read, others refused by place."""

from typing import Any

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.guard import DIAGNOSIS_V1, Diagnosis, LegacyGuardAnalysis, read_guard_analysis

LEGACY: dict[str, Any] = {
    "status": "warning",
    "mode": "compare",
    "anomalies": [{"type": "bbox_collapse", "severity": "medium", "message": "boxes", "evidence": {"n": 3}}],
    "explanations": ["boxes collapse"],
    "suspected_causes": ["quantisation"],
    "recommendations": ["look"],
    "confidence": 0.7,
    "new_in_some_version": 1,
}
ITEM: dict[str, Any] = {
    "type": "saturation_ratio",
    "metric_name": "saturation_ratio",
    "observed_value": 0.9,
    "baseline_value": None,
    "threshold": "0.85",
    "delta": None,
    "delta_pct": None,
    "increase_factor": None,
    "severity": "high",
    "status": "failed",
    "explanation": "saturated",
    "why_it_matters": "it ranks nothing",
    "suspected_causes": [],
    "recommendation": "calibrate",
    "raw_context": {"bins": [1, 2]},
}
DIAGNOSIS: dict[str, Any] = {
    "schema_version": DIAGNOSIS_V1,
    "source": "aiguard",
    "guard_verdict": "blocked",
    "severity": "high",
    "confidence": 0.9,
    "primary_reason": "saturated",
    "evidence": [ITEM],
    "suspected_causes": ["calibration"],
    "recommendations": ["calibrate"],
    "thresholds": {},
    "baseline_summary": None,
    "candidate_summary": {},
    "created_at": "2026-01-02T03:04:05Z",
}


def test_the_schema_version_tells_the_generations_apart() -> None:
    assert isinstance(read_guard_analysis(LEGACY), LegacyGuardAnalysis)
    assert isinstance(read_guard_analysis(DIAGNOSIS), Diagnosis)
    with pytest.raises(Refused, match="schema_version 'other'"):
        read_guard_analysis({**LEGACY, "schema_version": "other"})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([], "$"),
        ({**LEGACY, "status": "fine"}, "$.status"),
        ({"mode": "compare"}, "$"),
        ({**LEGACY, "confidence": 1.5}, "$.confidence"),
        ({**LEGACY, "confidence": float("nan")}, "$.confidence"),
        ({**LEGACY, "confidence": True}, "$.confidence"),
        (
            {**LEGACY, "anomalies": [{"type": "x", "severity": "odd", "message": ""}]},
            "$.anomalies[0].severity",
        ),
        ({**DIAGNOSIS, "guard_verdict": "ok"}, "$.guard_verdict"),
        ({**DIAGNOSIS, "evidence": [{**ITEM, "delta": "much"}]}, "$.evidence[0].delta"),
        ({**DIAGNOSIS, "evidence": [{**ITEM, "delta": float("inf")}]}, "$.evidence[0].delta"),
    ],
)
def test_what_breaks_the_form_is_refused_by_place(value: Any, path: str) -> None:
    with pytest.raises(Refused) as refused:
        read_guard_analysis(value)
    assert refused.value.code == "invalid_request"
    assert refused.value.errors[0].path == path


@pytest.mark.parametrize("name", sorted(ITEM))
def test_every_field_of_an_evidence_item_is_required(name: str) -> None:
    item = {key: value for key, value in ITEM.items() if key != name}
    with pytest.raises(Refused, match=name):
        read_guard_analysis({**DIAGNOSIS, "evidence": [item]})
