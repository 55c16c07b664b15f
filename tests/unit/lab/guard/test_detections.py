"""The rules over detections and frames: single output, quality, baseline factors, temporal."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.contract.errors import Refused
from edgeproof.contract.guard import Detection, DetectionOutput, FrameSequence
from edgeproof.contract.unsigned import read_unsigned
from edgeproof.lab.guard import baseline, output_quality, single_output, temporal
from edgeproof.lab.guard.baseline import BaselineCase
from edgeproof.lab.guard.output_quality import QualitySummary, summarise_outputs
from edgeproof.lab.guard.single_output import OutputCase
from edgeproof.lab.guard.verdict import conclude

BOX = (10.0, 10.0, 20.0, 20.0)
FLAT = (10.0, 10.0, 0.0, 20.0)


def det(score: float = 0.5, box: tuple[float | None, ...] = BOX, class_id: int = 0) -> Detection:
    x, y, width, height = box
    return Detection(class_id=class_id, confidence=score, bbox=(x, y, width, height))


def output(*found: Detection) -> DetectionOutput:
    return DetectionOutput(model="m", precision="int8", image_id="i", detections=found)


def told(items: Iterator[GuardEvidence]) -> list[tuple[str, str]]:
    """Status and severity of each item, which are of the family asked."""
    return [(one.status, one.severity) for one in items]


FAMILIES: list[Sequence[Callable[[Any], Iterator[GuardEvidence]]]] = [
    single_output.RULES,
    output_quality.RULES,
    baseline.RULES,
    temporal.RULES,
]


@pytest.mark.parametrize("rules", FAMILIES)
def test_every_item_bears_the_id_of_its_rule(
    rules: Sequence[Callable[[Any], Iterator[GuardEvidence]]],
) -> None:
    cases: dict[str, Any] = {
        "single_output": OutputCase(output()),
        "output_quality": summarise_outputs([]),
        "baseline": BaselineCase(summarise_outputs([]), summarise_outputs([])),
        "temporal": FrameSequence(model="m", frames=()),
    }
    case = cases[rules[0].__module__.rsplit(".", 1)[1]]
    for rule in rules:
        items = list(rule(case))
        assert items
        assert {one.type for one in items} == {getattr(rule, "__name__", "")}
        assert conclude(items).status == "ok"  # nothing was seen: nothing is objected to


@pytest.mark.parametrize(
    ("flat", "of", "expected"),
    [
        (0, 20, ("passed", "low")),
        (1, 20, ("warning", "low")),
        (2, 20, ("failed", "medium")),
        (10, 20, ("failed", "high")),
    ],
)
def test_bbox_collapse(flat: int, of: int, expected: tuple[str, str]) -> None:
    found = [det(box=FLAT)] * flat + [det()] * (of - flat)
    assert told(single_output.bbox_collapse(OutputCase(output(*found)))) == [expected]


@pytest.mark.parametrize(
    ("extreme", "expected"), [(15, ("passed", "low")), (16, ("failed", "medium")), (19, ("failed", "high"))]
)
@pytest.mark.parametrize("score", [0.01, 0.99])
def test_confidence_saturation(extreme: int, score: float, expected: tuple[str, str]) -> None:
    found = [det(score)] * extreme + [det()] * (20 - extreme)
    assert told(single_output.confidence_saturation(OutputCase(output(*found)))) == [expected]


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (6, 10, ("passed", "low")),
        (5, 10, ("failed", "medium")),
        (15, 10, ("failed", "medium")),
        (2, 10, ("failed", "high")),
        (1, 0, ("failed", "high")),
        (0, 0, ("passed", "low")),
    ],
)
def test_detection_count_mismatch(now: int, before: int, expected: tuple[str, str]) -> None:
    case = OutputCase(output(*[det()] * now), output(*[det()] * before))
    assert told(single_output.detection_count_mismatch(case)) == [expected]


def summary(*groups: tuple[int, Detection]) -> QualitySummary:
    return summarise_outputs([output(*[one for count, each in groups for one in [each] * count])])


@pytest.mark.parametrize(
    ("rule", "bad", "steps"),
    [
        (output_quality.invalid_bbox_rate, det(box=(0.0, 0.0, -1.0, 1.0)), (5, 6, 20, 21)),
        (output_quality.invalid_bbox_rate, det(box=(None, 0.0, 1.0, 1.0)), (5, 6, 20, 21)),
        (output_quality.bbox_collapse_ratio, det(box=FLAT), (5, 6, 10, 11)),
        (output_quality.saturation_ratio, det(1.0), (70, 71, 85, 86)),
    ],
)
def test_quality_rates_warn_and_fail_above_their_limits(
    rule: output_quality.Rule, bad: Detection, steps: tuple[int, ...]
) -> None:
    statuses = [told(rule(summary((count, bad), (100 - count, det()))))[0][0] for count in steps]
    assert statuses == ["passed", "warning", "warning", "failed"]


@pytest.mark.parametrize("score", [1.0001, -0.1])
def test_a_score_out_of_range_is_critical(score: float) -> None:
    assert told(output_quality.score_out_of_range(summary((99, det()), (1, det(score))))) == [
        ("failed", "critical")
    ]
    assert told(output_quality.score_out_of_range(summary((1, det(0.0)), (1, det(1.0))))) == [
        ("passed", "low")
    ]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (10, 50, ("passed", "low")),  # 5 times
        (10, 51, ("failed", "medium")),
        (10, 101, ("failed", "high")),
        (4, 41, ("passed", "low")),  # more than 10 times, but below the review floor
        (0, 51, ("failed", "medium")),
        (0, 101, ("failed", "high")),
    ],
)
def test_factors_count_only_above_the_review_floor(before: int, now: int, expected: tuple[str, str]) -> None:
    case = BaselineCase(
        summary((before, det(box=FLAT)), (1000 - before, det())),
        summary((now, det(box=FLAT)), (1000 - now, det())),
    )
    assert told(baseline.bbox_collapse_factor(case)) == [expected]


@pytest.mark.parametrize(
    ("now", "expected"),
    [(50, ("passed", "low")), (49, ("failed", "medium")), (19, ("failed", "high")), (0, ("failed", "high"))],
)
def test_detection_count_drop(now: int, expected: tuple[str, str]) -> None:
    assert told(
        baseline.detection_count_drop(BaselineCase(summary((100, det())), summary((now, det()))))
    ) == [expected]


def test_class_count_drop_is_graded_and_a_rare_class_is_a_note() -> None:
    before = summary((10, det()), (10, det(class_id=1)), (10, det(class_id=2)), (1, det(class_id=3)))
    now = summary((6, det()), (5, det(class_id=1)))
    assert told(baseline.class_count_drop(BaselineCase(before, now))) == [
        ("passed", "low"),
        ("failed", "medium"),
        ("failed", "high"),
        ("warning", "low"),
    ]


@pytest.mark.parametrize(
    ("rule", "before", "fine", "moved"),
    [
        (
            baseline.score_histogram_shift,
            [(10, det(0.5))],
            [(8, det(0.5)), (2, det(0.9))],
            [(7, det(0.5)), (3, det(0.9))],
        ),
        (baseline.score_mean_shift, [(4, det(0.5))], [(4, det(0.65))], [(4, det(0.75))]),
        (
            baseline.score_spread_shift,
            [(5, det(0.4)), (5, det(0.6))],
            [(5, det(0.3)), (5, det(0.7))],
            [(9, det(0.5))],
        ),
        (
            baseline.score_spread_shift,
            [(5, det(0.5)), (5, det(0.5))],
            [(9, det(0.5))],
            [(5, det(0.1)), (5, det(0.9))],
        ),
        (
            baseline.score_saturation_shift,
            [(10, det())],
            [(8, det()), (2, det(1.0))],
            [(7, det()), (3, det(1.0))],
        ),
    ],
)
def test_calibration_shifts_fail_medium(
    rule: baseline.Rule,
    before: list[tuple[int, Detection]],
    fine: list[tuple[int, Detection]],
    moved: list[tuple[int, Detection]],
) -> None:
    assert told(rule(BaselineCase(summary(*before), summary(*fine)))) == [("passed", "low")]
    assert told(rule(BaselineCase(summary(*before), summary(*moved)))) == [("failed", "medium")]


@pytest.mark.parametrize(
    ("delta", "now", "status"), [(-20.0, 10, "warning"), (-20.0, 90, "passed"), (5.0, 10, "passed")]
)
def test_faster_but_risky(delta: float, now: int, status: str) -> None:
    case = BaselineCase(summary((100, det())), summary((now, det())), delta)
    assert [one[0] for one in told(baseline.latency_quality_tradeoff(case))] == [status]


def sequence(
    *frames: tuple[Detection, ...], size: tuple[float, float] | None = (300.0, 400.0)
) -> FrameSequence:
    width, height = size or (None, None)
    return FrameSequence(model="m", frames=frames, width=width, height=height)


def at(x: float) -> tuple[Detection, ...]:
    return (det(box=(x, 0.0, 10.0, 10.0)),)


@pytest.mark.parametrize(("jump", "status"), [(250.0, "passed"), (251.0, "warning")])
def test_a_centre_jump_is_a_share_of_the_diagonal(jump: float, status: str) -> None:
    assert told(temporal.centre_jump(sequence(at(0), at(jump))))[0][0] == status


def test_without_a_size_a_jump_has_no_scale_and_is_not_taken_in_pixels() -> None:
    assert told(temporal.centre_jump(sequence(at(0), at(5), size=None))) == [("skipped", "low")]


@pytest.mark.parametrize(("flips", "status"), [(3, "passed"), (4, "warning")])
def test_class_flips(flips: int, status: str) -> None:
    classes = [index % 2 for index in range(flips + 1)] + [flips % 2] * (10 - flips)
    frames = [(det(class_id=one),) for one in classes]
    assert told(temporal.class_flip(sequence(*frames)))[0][0] == status


@pytest.mark.parametrize(("empty", "status"), [(3, "passed"), (4, "failed")])
def test_zero_frames(empty: int, status: str) -> None:
    assert told(temporal.zero_frames(sequence(*[()] * empty, *[at(0)] * (10 - empty))))[0][0] == status


@pytest.mark.parametrize(("streak", "status"), [(1, "passed"), (2, "warning"), (3, "failed")])
def test_zero_streak(streak: int, status: str) -> None:
    assert told(temporal.zero_streak(sequence(at(0), *[()] * streak, at(0), (), at(0))))[0][0] == status


@pytest.mark.parametrize(("few", "status"), [(1, "passed"), (9, "warning")])
def test_count_variation(few: int, status: str) -> None:
    assert told(temporal.detection_count_variation(sequence(*[()] * few, (det(),) * 10)))[0][0] == status


def test_over_frames_any_failure_blocks_and_any_warning_is_for_review() -> None:
    def verdict(frames: FrameSequence) -> str:
        return conclude([one for rule in temporal.RULES for one in rule(frames)], temporal=True).guard_verdict

    assert verdict(sequence(*[at(0)] * 10)) == "pass"
    assert verdict(sequence(*[at(0)] * 10, (), (), at(0))) == "review_required"
    assert verdict(sequence(*[at(0)] * 10, (), (), (), at(0))) == "blocked"


@pytest.mark.parametrize("bbox", [[1, 2, 3], ["a", 1, 1, 1], [float("nan"), 1, 1, 1]])
def test_boxes_are_four_numbers(bbox: list[Any]) -> None:
    value = {"class_id": 0, "confidence": 0.5, "bbox": bbox}
    with pytest.raises(Refused, match="bbox"):
        read_unsigned(value, Detection, what="detection")
