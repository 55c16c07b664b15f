"""How often the gates are wrong, by simulation with fixed seeds.

Pairs as DESIGN 15 measured them: spread 0.4 % between process pairs, an outlier of 4 % once in 84.
Bounds are binomial: a true rate at the nominal error passes with a probability above 0.999.
"""

import math
import random
from collections import Counter
from itertools import product

import pytest

from edgeproof.contract.samples import Block, PairSamples, SideSamples
from edgeproof.lab.gates import compare_latency, estimate_latency, latency_verdict, split_confidence
from edgeproof.lab.proportions import effective_counts, score_limits
from edgeproof.lab.statistics import signed_rank_interval

LOOKS = (8, 12, 16)
TRIALS = 400


def verdict(draw: random.Random, ratio: float, margin: float, *, outliers: bool) -> str:
    """One measurement under the default plan: both gates at each look, until the verdict is decided."""
    each = split_confidence(0.95, len(LOOKS), 2)

    def pair() -> float:
        wild = draw.choice((-0.04, 0.04)) if outliers and draw.random() < 1 / 84 else 0.0
        return math.log(ratio) + draw.gauss(0, 0.004) + wild

    values: list[tuple[float, float]] = []
    told = ["inconclusive"]
    for look in LOOKS:
        values += [(pair(), pair()) for _ in range(look - len(values))]
        told = []
        for gate, gate_margin in enumerate((margin, margin + 2)):
            estimate = signed_rank_interval([value[gate] for value in values], each)
            assert estimate.low is not None and estimate.high is not None
            told.append(latency_verdict(math.exp(estimate.low), math.exp(estimate.high), gate_margin))
        if "regression" in told or "inconclusive" not in told:
            break
    if "regression" in told:
        return "regression"
    return "inconclusive" if "inconclusive" in told else "no_regression"


def rates(ratio: float, margin: float, *, outliers: bool) -> dict[str, int]:
    draw = random.Random(f"{ratio} {margin} {outliers}")
    told = [verdict(draw, ratio, margin, outliers=outliers) for _ in range(TRIALS)]
    return {name: told.count(name) for name in ("no_regression", "regression", "inconclusive")}


@pytest.mark.parametrize("outliers", [False, True])
def test_on_the_margin_a_pass_is_rarer_than_nominal(outliers: bool) -> None:
    assert rates(1.03, 3.0, outliers=outliers)["no_regression"] <= 0.05 * TRIALS


@pytest.mark.parametrize("outliers", [False, True])
def test_identical_models_pass_and_never_regress(outliers: bool) -> None:
    told = rates(1.0, 3.0, outliers=outliers)
    assert told["regression"] == 0
    assert told["no_regression"] >= 0.99 * TRIALS


def test_a_real_slowdown_is_found() -> None:
    told = rates(1.05, 3.0, outliers=True)
    assert told["no_regression"] == 0
    assert told["regression"] >= 0.95 * TRIALS


@pytest.mark.parametrize("outliers", [False, True])
def test_all_looks_and_gates_cover_together(outliers: bool) -> None:
    """Whoever looks at every planned look of both gates is misled in 5 % of the measurements at most."""
    draw = random.Random(f"together {outliers}")
    each = split_confidence(0.95, len(LOOKS), 2)
    trials, missed = 1000, 0
    for _ in range(trials):
        gates = [
            [
                draw.gauss(0, 0.004)
                + (draw.choice((-0.04, 0.04)) if outliers and draw.random() < 1 / 84 else 0.0)
                for _ in range(LOOKS[-1])
            ]
            for _ in range(2)
        ]
        intervals = [signed_rank_interval(values[:look], each) for values in gates for look in LOOKS]
        assert all(one.low is not None and one.high is not None for one in intervals)
        missed += not all((one.low or 0.0) <= 0 <= (one.high or 0.0) for one in intervals)
    assert missed <= 0.05 * trials
    assert missed > 0  # the intervals are not vacuous


def restless_pairs(draw: random.Random, ratio: float) -> list[PairSamples]:
    """Both sides alike but for ``ratio``: processes and blocks spread, one block in ten is slower by far."""

    def block(typical: float) -> Block:
        typical *= math.exp(draw.gauss(0, 0.01)) * (1.3 if draw.random() < 0.1 else 1.0)
        calls = tuple(int(typical * math.exp(draw.gauss(0, 0.02))) for _ in range(5))
        return Block(at_ns=0, settle_ns=(), samples_ns=calls, load=0.0, wait=0.0, flags=())

    def side(typical: float) -> SideSamples:
        typical *= math.exp(draw.gauss(0, 0.004))
        blocks = tuple(block(typical) for _ in range(8))
        return SideSamples(load_ns=1, first_ns=1, warmup_ns=(), settled=True, blocks=blocks, peak_rss_bytes=1)

    return [
        PairSamples(index=index, first="baseline", baseline=side(1e6), candidate=side(ratio * 1e6),
                    processors=())
        for index in range(LOOKS[0])
    ]  # fmt: skip


def test_the_second_reading_of_a_p90_costs_no_pass_and_at_most_doubles_wrong_regressions() -> None:
    """All quantiles truly on the margin, one gate at one look at 90 %: each side of an interval has 5 %."""
    draw = random.Random("two readings")
    trials, each, margin = 1500, 0.9, 3.0
    told: Counter[tuple[str, str]] = Counter()
    by_rounds: Counter[str] = Counter()
    for _ in range(trials):
        pairs = restless_pairs(draw, 1 + margin / 100)
        told["p50", compare_latency(pairs, "p50", margin, each).verdict] += 1
        told["p90", compare_latency(pairs, "p90", margin, each).verdict] += 1
        first = estimate_latency(pairs, "p90", each)
        by_rounds[latency_verdict(first.ratio_low, first.ratio_high, margin)] += 1

    def at_most(share: float) -> float:
        return trials * share + 3.1 * math.sqrt(trials * share * (1 - share))

    side = (1 - each) / 2
    assert told["p50", "regression"] <= at_most(side)
    assert told["p90", "regression"] <= at_most(2 * side)
    assert told["p90", "regression"] > by_rounds["regression"]  # the second reading is not vacuous
    for metric in ("p50", "p90"):
        assert told[metric, "no_regression"] <= at_most(side)
    assert told["p90", "no_regression"] <= by_rounds["no_regression"]


@pytest.mark.parametrize(("n", "confidence"), [(8, 0.95), (12, 0.95), (16, 1 - 0.05 / 6)])
def test_the_interval_covers_also_with_heavy_tails(n: int, confidence: float) -> None:
    draw = random.Random(n)
    trials = 1500

    def misses(value: float, low: float | None, high: float | None) -> bool:
        return low is not None and high is not None and not low <= value <= high

    missed = sum(
        misses(
            1.0,
            *signed_rank_interval([1 + draw.gauss(0, 1) / draw.random() for _ in range(n)], confidence)[1:],
        )
        for _ in range(trials)
    )
    allowed = 1 - confidence
    assert missed <= trials * allowed + 3.1 * math.sqrt(trials * allowed * confidence)


@pytest.mark.parametrize(("clusters", "size"), [(400, 1), (200, 5), (300, 10)])
def test_the_accuracy_limit_rarely_passes_on_the_margin(clusters: int, size: int) -> None:
    """True loss 2 points, margin 2: most of a group's copies share its fate. Nominal 5 %."""
    draw = random.Random(f"{clusters} {size}")
    passed, trials = 0, 400
    groups = [number for number, _ in product(range(clusters), range(size))]
    for _ in range(trials):
        differences = []
        for _ in range(clusters):
            fate = draw.choices((-1, 1, 0), (0.04, 0.02, 0.94))[0]
            differences += [
                fate if draw.random() < 0.7 else draw.choices((-1, 1, 0), (0.04, 0.02, 0.94))[0]
                for _ in range(size)
            ]
        passed += score_limits(effective_counts(differences, groups), 0.95).low >= -0.02
    assert passed <= 0.05 * trials + 3.1 * math.sqrt(trials * 0.05 * 0.95)
    assert passed > 0  # the limit is not vacuous
