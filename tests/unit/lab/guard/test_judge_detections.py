"""Which rules judge one image, a set of images beside a baseline or not, and a film."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgeproof.contract.comparison import GuardAnalysis
from edgeproof.contract.errors import Refused
from edgeproof.contract.guard import read_detections, read_guard_analysis
from edgeproof.lab.guard import baseline, output_quality, single_output, temporal
from edgeproof.lab.guard.detections import MOST_ITEMS, judge_detections
from edgeproof.lab.guard.normalise import normalised, to_diagnosis


def box(class_id: int = 0, confidence: float = 0.6, width: float | None = 20.0) -> dict[str, Any]:
    return {"class_id": class_id, "confidence": confidence, "bbox": [1.0, 2.0, width, 20.0]}


def image(name: str, *found: dict[str, Any]) -> dict[str, Any]:
    return {"model": "m", "precision": "int8", "image_id": name, "detections": list(found)}


def film(*frames: list[dict[str, Any]]) -> dict[str, Any]:
    return {"model": "m", "width": 640, "height": 480, "frames": list(frames)}


def judged(found: Any, before: Any = None, delta: float | None = None) -> GuardAnalysis:
    base = None if before is None else read_detections(before, what="before")
    return judge_detections(read_detections(found, what="found"), base, latency_delta_pct=delta)


def rules(told: GuardAnalysis) -> set[str]:
    return {one.type for one in told.evidence}


def ids(*families: Any) -> set[str]:
    return {rule.__name__ for family in families for rule in family.RULES}


def objections(told: GuardAnalysis) -> set[str]:
    return {one.type for one in told.evidence if one.status in ("warning", "failed")}


def test_one_image_is_judged_by_the_rules_of_a_single_output() -> None:
    told = judged(image("a", *[box()] * 9, box(width=0.0)))
    assert rules(told) == ids(single_output) | {"invalid_bbox_rate", "score_out_of_range"}
    assert (told.guard_verdict, objections(told)) == ("review_required", {"bbox_collapse"})
    beside = judged(image("a", box()), image("a", *[box()] * 10))
    assert (beside.status, objections(beside)) == ("error", {"detection_count_mismatch"})
    assert judged(image("a", box(confidence=1.5))).severity == "critical"


def test_one_odd_image_of_many_is_no_objection() -> None:
    many = [image(str(at), box(), box()) for at in range(50)]
    assert rules(told := judged(many)) == ids(output_quality)
    assert told.status == "ok"
    odd = [*many[:-1], image("49", box(width=0.0))]
    assert judged(odd, many).status == "ok"


def test_a_set_beside_its_baseline_is_judged_by_both_families() -> None:
    before = [image(str(at), box(0), box(1)) for at in range(20)]
    now = [image(str(at), box(0, confidence=0.95)) for at in range(20)]
    told = judged(now, before, delta=-40.0)
    assert rules(told) == ids(output_quality, baseline)
    assert {"class_count_drop", "score_mean_shift", "latency_quality_tradeoff"} <= objections(told)
    assert told.guard_verdict == "blocked"


def test_a_film_is_judged_by_the_temporal_rules_and_their_conclusion() -> None:
    told = judged(film(*[[box(at % 2)] for at in range(10)]))
    assert rules(told) == ids(temporal)
    assert (told.guard_verdict, objections(told)) == ("review_required", {"class_flip"})
    assert judged(film([box()], [], [], [], [box()])).guard_verdict == "blocked"


@pytest.mark.parametrize("found", [film(), image("a"), [image("a"), image("b")]])
def test_what_no_rule_could_judge_is_not_found_good(found: Any) -> None:
    assert judged(found).status == "skipped"


def test_a_detector_that_fell_silent_is_seen_beside_its_baseline_and_in_a_film() -> None:
    before = [image(str(at), box()) for at in range(9)]
    assert judged([image(str(at)) for at in range(9)], before).guard_verdict == "blocked"
    assert judged(film([], [], [])).guard_verdict == "blocked"


def test_a_diagnosis_of_it_is_read_back_however_many_classes_there_are() -> None:
    before = [image("a", *[box(at) for at in range(2000)]), image("b")]
    now = [image("a", *[box(at) for at in range(1999)]), image("b")]
    told = judged(now, before)
    assert len(told.evidence) == MOST_ITEMS
    assert objections(told) == {"class_count_drop"}
    diagnosis = to_diagnosis(told, source="a test", created_at="2026-01-01T00:00:00Z")
    assert normalised(read_guard_analysis(msgspec.to_builtins(diagnosis))) == told


@pytest.mark.parametrize(
    ("found", "before", "delta", "says"),
    [
        (film([box()]), [image("a")], None, "by themselves"),
        (image("a"), film([box()]), None, "by themselves"),
        (image("a"), image("b"), None, "other images: 2"),
        ([image("a"), image("b")], image("a"), None, "other images: 1 are on one side only, 'b'"),
        (image("a"), None, -10.0, "beside a baseline's images"),
        (image("a"), image("a"), -10.0, "beside a baseline's images"),
        (film([box()]), None, -10.0, "beside a baseline's images"),
        ([], None, None, "no image"),
        ([image("a"), image("a")], None, None, "'a' comes twice"),
        ([image("a"), {**image("b"), "model": "n"}], None, None, "several models"),
        ([image("a", {**box(), "confidence": "0.5"})], None, None, r"\$\[0\]\.detections\[0\]\.confidence"),
        ({"model": "m", "frames": [[{"class_id": -1}]]}, None, None, "class_id"),
        ("a", None, None, "array"),
    ],
)
def test_what_cannot_be_judged_is_refused(found: Any, before: Any, delta: float | None, says: str) -> None:
    with pytest.raises(Refused, match=says) as refused:
        judged(found, before, delta)
    assert refused.value.code == "invalid_request"
