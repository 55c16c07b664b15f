"""Pair values, verdicts and looks from hand-made samples."""

import math

import msgspec
import pytest
from msgspec.structs import replace

from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyMetric
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import DuetPlan
from edgeproof.lab.gates import (
    compare_latency,
    estimate_latency,
    latency_verdict,
    pair_values,
    split_confidence,
)
from edgeproof.lab.looks import decided

from .hand_made import pair, pairs, side

PLAN = DuetPlan(
    looks=(8, 12, 16),
    confidence=0.95,
    gates={"p50": 3.0, "p90": 5.0},
    blocks=2,
    calls_per_block=3,
    repeats=2,
    load_difference=0.05,
    settle_calls=0,
    warmup_calls=0,
    warmup_windows=12,
    warmup_tolerance_pct=5.0,
)
EACH = split_confidence(0.95, 3, 2)


def test_a_value_is_the_median_over_rounds_of_unflagged_blocks() -> None:
    one = PairSamples(
        index=0,
        first="baseline",
        baseline=side((10, 20, 30), (40, 50, 60), (9000,), (), flags=((), (), ("load",), ())),
        candidate=side((5, 5, 5), (7, 7, 7)),
        processors=(),
    )
    assert pair_values([one], "p50") == [(35, 6, (math.log(5 / 20) + math.log(7 / 50)) / 2)]
    (value,) = pair_values([one], "p90")
    assert (value.baseline, value.candidate) == ((28 + 58) / 2, 6)


def test_what_slows_the_device_for_some_rounds_is_in_no_ratio() -> None:
    """Half of the rounds at half the speed: medians of sides may fall on either, rounds never differ."""
    device = (1.0, 2.0, 2.0, 1.0, 2.0)
    baseline = side(*[(int(1000 * slow),) * 3 for slow in device])
    candidate = side(*[(int(1100 * slow),) * 3 for slow in (1.0, 2.0, 1.0, 1.0, 2.0)])
    one = PairSamples(index=0, first="baseline", baseline=baseline, candidate=candidate, processors=())
    (value,) = pair_values([one], "p50")
    assert math.exp(value.log_ratio) == pytest.approx(1.1)
    assert value.candidate / value.baseline == pytest.approx(0.55)


def with_bursts(slow: float, share: int, of: int) -> list[PairSamples]:
    """The candidate takes ``slow`` times as long in ``share`` of every ``of`` blocks."""
    usual, burst = (1000,) * 5, (int(1000 * slow),) * 5
    blocks = [burst if at % of < share else usual for at in range(10)]
    return [
        PairSamples(
            index=index,
            first="baseline",
            baseline=side(*[usual] * 10),
            candidate=side(*blocks),
            processors=(),
        )
        for index in range(8)
    ]


@pytest.mark.parametrize(("metric", "ratio"), [("p90", 2.0), ("mean", 1.4)])
def test_what_befalls_some_blocks_of_a_side_is_seen_over_all_calls(
    metric: LatencyMetric, ratio: float
) -> None:
    slow = with_bursts(2.0, 4, 10)
    assert compare_latency(slow, "p50", 3.0, EACH).verdict == "no_regression"
    told = compare_latency(slow, metric, 5.0, EACH)
    assert (told.verdict, told.ratio, told.candidate_ms) == ("regression", ratio, ratio / 1000)
    assert estimate_latency(slow, metric, EACH).ratio == 1.0


def test_a_wide_interval_over_all_calls_takes_nothing_back() -> None:
    """Bursts of varying size: surely a regression, but it is hardly known by how much."""
    bursts = [
        PairSamples(
            index=index,
            first="baseline",
            baseline=side(*[(1000,) * 5] * 10),
            candidate=side(*[(1000,) * 5] * 6, *[(1500 + 300 * index,) * 5] * 4),
            processors=(),
        )
        for index in range(8)
    ]
    told = compare_latency(bursts, "p90", 5.0, EACH)
    assert told.verdict == "regression"
    assert told.ratio_low is not None and told.ratio_high is not None
    assert told.ratio_high - told.ratio_low > 0.05
    # What a mean may decide is narrower than its margin; round by round nothing is seen.
    assert compare_latency(bursts, "mean", 5.0, EACH).verdict == "no_regression"
    slower = [
        msgspec.structs.replace(
            one,
            candidate=side(*[(1080,) * 5] * 9, *[(2000 + 500 * one.index,) * 5]),
        )
        for one in bursts
    ]
    round_by_round = compare_latency(slower, "mean", 5.0, EACH)
    assert (round_by_round.verdict, round_by_round.ratio) == ("regression", 1.08)


def test_over_all_calls_nothing_is_passed_that_is_not_round_by_round() -> None:
    """What both sides' blocks bear by turns is unrest of the device: it makes no regression and no doubt."""
    device = [2000, 1000] * 5
    unrest = [
        PairSamples(
            index=index,
            first="baseline",
            baseline=side(*[(call,) * 5 for call in device]),
            candidate=side(*[(call + index,) * 5 for call in device]),
            processors=(),
        )
        for index in range(8)
    ]
    assert compare_latency(unrest, "p90", 5.0, EACH).verdict == "no_regression"
    better = with_bursts(0.5, 4, 10)
    assert compare_latency(better, "mean", 5.0, EACH).ratio == 1.0


def test_a_pair_without_a_usable_block_is_left_out() -> None:
    flagged, clean = side((1,), flags=(("load",),)), side((1,))
    bad = PairSamples(index=8, first="baseline", baseline=flagged, candidate=clean, processors=())
    assert len(pair_values([*pairs(8, 1.0), bad], "p50")) == 8
    with pytest.raises(Refused, match="no process pair") as caught:
        compare_latency([bad], "p50", 3.0, EACH)
    assert caught.value.code == "result_invalid"


def test_a_time_that_is_not_positive_is_refused() -> None:
    with pytest.raises(Refused, match="not a positive time"):
        compare_latency([*pairs(7, 1.0), pair(7, 1.0, base=0)], "p50", 3.0, EACH)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.9, 1.03, "no_regression"),
        (1.03, 1.03, "no_regression"),
        (0.9, 1.03001, "inconclusive"),
        (1.03, 1.1, "inconclusive"),
        (1.03001, 1.1, "regression"),
        (None, None, "inconclusive"),
    ],
)
def test_the_margin_belongs_to_the_inside(low: float | None, high: float | None, verdict: str) -> None:
    assert latency_verdict(low, high, 3.0) == verdict


def test_faster_equal_slower() -> None:
    faster, equal, slower = (compare_latency(pairs(8, ratio), "p50", 3.0, EACH) for ratio in (0.5, 1.0, 1.1))
    assert (faster.verdict, faster.improved) == ("no_regression", True)
    assert (equal.verdict, equal.improved) == ("no_regression", False)
    assert (slower.verdict, slower.improved) == ("regression", False)
    assert (faster.baseline_ms, faster.candidate_ms) == (1.0, pytest.approx(0.5, rel=1e-3))
    assert equal.confidence == 0.991667


def test_too_few_pairs_are_inconclusive_with_no_limits() -> None:
    few = compare_latency(pairs(7, 0.5), "p50", 3.0, EACH)
    assert (few.ratio_low, few.ratio_high, few.verdict, few.improved) == (None, None, "inconclusive", False)


def test_decided_only_at_a_planned_look_and_with_every_gate() -> None:
    assert decided(pairs(8, 0.5), PLAN) and decided(pairs(12, 1.2), PLAN)
    assert not decided(pairs(9, 0.5), PLAN)
    assert not decided(pairs(8, 1.03, spread=0.01), PLAN)


def test_a_regression_of_one_gate_decides_though_another_is_open() -> None:
    open_gate = replace(PLAN, gates={"p90": 10.0})
    slower = pairs(8, 1.1, spread=0.01)
    assert not decided(slower, open_gate)
    assert decided(slower, replace(PLAN, gates={"p50": 3.0, "p90": 10.0}))


def test_an_unknown_gate_is_refused() -> None:
    with pytest.raises(Refused, match="p98"):
        decided(pairs(8, 1.0), replace(PLAN, looks=(8,), gates={"p98": 5.0}))


def calls_of_a_tail(count: int, blocks: int, ratio: float = 1.0, spread: float = 0.0) -> list[PairSamples]:
    """``count`` pairs of ``blocks`` blocks a side; ``spread`` is that of the candidate between pairs."""
    baseline = side(*[(990_000, 1_000_000, 1_010_000)] * blocks)
    return [
        PairSamples(
            index=index,
            first="baseline",
            baseline=baseline,
            processors=(),
            candidate=side(
                *[
                    tuple(int(call * ratio * (1 + spread * (index - count / 2))) for call in block.samples_ns)
                    for block in baseline.blocks
                ]
            ),
        )
        for index in range(count)
    ]


def test_a_tail_gates_only_when_certified() -> None:
    few = compare_latency(calls_of_a_tail(8, 16, ratio=1.2), "p95", 3.0, EACH)
    assert (few.verdict, few.improved, few.ratio) == ("not_decidable", False, pytest.approx(1.2, rel=1e-4))
    many = compare_latency(calls_of_a_tail(8, 17, ratio=1.2), "p95", 3.0, EACH)
    assert many.verdict == "regression"
    assert compare_latency(calls_of_a_tail(8, 17), "p95", 3.0, EACH).verdict == "no_regression"


def test_a_p90_that_is_not_certified_is_never_inside_its_margin() -> None:
    few, enough = (compare_latency(pairs(8, 0.5, blocks=blocks), "p90", 5.0, EACH) for blocks in (7, 8))
    assert (few.verdict, few.improved) == ("inconclusive", False)
    assert few.ratio_high == enough.ratio_high and few.ratio_high is not None and few.ratio_high < 0.51
    assert (enough.verdict, enough.improved) == ("no_regression", True)
    assert compare_latency(pairs(8, 2.0, blocks=7), "p90", 5.0, EACH).verdict == "inconclusive"
    assert not decided(pairs(8, 0.5, blocks=7), PLAN) and decided(pairs(12, 0.5, blocks=7), PLAN)


def test_a_tail_gates_only_when_its_interval_is_narrower_than_the_margin() -> None:
    wide = compare_latency(calls_of_a_tail(8, 17, ratio=1.2, spread=0.02), "p95", 3.0, EACH)
    assert wide.verdict == "not_decidable"
    assert wide.ratio_low is not None and wide.ratio_low > 1.03
    assert compare_latency(calls_of_a_tail(8, 17, ratio=1.2, spread=0.02), "p50", 3.0, EACH).verdict == (
        "regression"
    )
    assert compare_latency(calls_of_a_tail(7, 20), "p95", 3.0, EACH).verdict == "not_decidable"


def test_the_mean_needs_no_floor_but_a_narrow_interval() -> None:
    assert compare_latency(calls_of_a_tail(8, 1, ratio=1.2), "mean", 3.0, EACH).verdict == "regression"
    wide = compare_latency(calls_of_a_tail(8, 1, spread=0.02), "mean", 3.0, EACH)
    assert wide.verdict == "not_decidable"


def test_a_tail_within_reach_is_waited_for_and_one_out_of_reach_is_not() -> None:
    tail = replace(PLAN, gates={"p50": 3.0, "p95": 3.0})
    assert decided(calls_of_a_tail(8, 8), replace(tail, blocks=8))
    assert not decided(calls_of_a_tail(8, 9), replace(tail, blocks=9))
    assert decided(calls_of_a_tail(16, 9), replace(tail, blocks=9))
