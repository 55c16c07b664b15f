"""The early-stopping floors, against the binomial rule and as MLPerf states them; what counts is blocks."""

import pytest
from scipy.stats import binom

from edgeproof.contract.samples import PairSamples, SideSamples
from edgeproof.lab.percentiles import bare_words, certify, needed

from .hand_made import side


@pytest.mark.parametrize(("tail", "floor"), [(0.1, 64), (0.05, 130), (0.01, 662), (0.001, 6636)])
def test_the_floors_are_mlperfs(tail: float, floor: int) -> None:
    assert needed(tail) == floor


@pytest.mark.parametrize("tail", [0.5, 0.1, 0.05, 0.01])
@pytest.mark.parametrize("confidence", [0.9, 0.99, 0.999])
def test_the_floor_is_the_first_at_which_one_beyond_is_a_surprise(tail: float, confidence: float) -> None:
    n = needed(tail, confidence)
    assert binom.cdf(1, n, tail) <= 1 - confidence < binom.cdf(1, n - 1, tail)


def pairs(count: int, blocks: int, calls: int = 3, flagged: int = 0) -> list[PairSamples]:
    def one(marks: int) -> SideSamples:
        flags = tuple(("load",) if index < marks else () for index in range(blocks))
        return side(*[(10,) * calls] * blocks, flags=flags)

    return [
        PairSamples(index=index, first="baseline", baseline=one(0), candidate=one(flagged), processors=())
        for index in range(count)
    ]


def test_blocks_count_and_calls_do_not() -> None:
    few = {one.metric: one for one in certify(pairs(8, 6, calls=1000))}
    assert (few["p90"].baseline_blocks, few["p90"].needed, few["p90"].certified) == (48, 64, False)
    more = {one.metric: one for one in certify(pairs(16, 9, calls=1))}
    assert [more[name].certified for name in ("p90", "p95", "p99")] == [True, True, False]


def test_flagged_blocks_do_not_count_and_both_sides_must_have_enough() -> None:
    p90 = certify(pairs(8, 9, flagged=2))[0]
    assert (p90.baseline_blocks, p90.candidate_blocks, p90.certified) == (72, 56, False)
    assert certify([])[0].certified is False


def test_a_tail_that_stands_alone_is_not_certified() -> None:
    assert {bare_words(name) for name in ("p90", "p95", "p99", "p95_ms", "p99_ms")} == {"not certified"}
    assert {bare_words(name) for name in ("mean", "p50", "max", "mean_ms", "p50_ms")} == {""}
