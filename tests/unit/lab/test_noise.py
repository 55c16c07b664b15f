from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edgeproof.contract.comparison import LatencyComparison
from edgeproof.contract.requests import AnalyzeOptions
from edgeproof.contract.samples import PairSamples, SideSamples
from edgeproof.contract.statements import NoiseFloor
from edgeproof.lab.dossier import assemble
from edgeproof.lab.gates import estimate_latency, latency_verdict
from edgeproof.lab.noise import (
    floors_under,
    noise_floor,
    supports,
    too_tight,
    usable_floor,
    widened_words,
    with_draw,
    without_floor,
)
from edgeproof.lab.plan import duet_plan
from edgeproof.lab.policies import default_policy
from edgeproof.testing.evidence import Scene, make_evidence

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def floor_of(scene: Scene) -> dict[str, float]:
    made = make_evidence(scene)
    return noise_floor(assemble(made.documents, made.evidence, made.control_plane.public).samples.pairs)


def test_the_floor_is_how_far_equal_models_seem_to_differ() -> None:
    quiet, noisy = (floor_of(Scene(ratio=1.0, jitter=jitter, calls=9)) for jitter in (0.002, 0.05))
    assert set(quiet) == set(noisy) == {"p50", "p90", "mean", "p95", "p99"}
    assert 0 < quiet["p50"] < 1 < noisy["p50"] < 15


def test_a_difference_is_noise_in_either_direction() -> None:
    slower, faster = (floor_of(Scene(ratio=ratio, jitter=0.001)) for ratio in (1.1, 1 / 1.1))
    assert abs(slower["p50"] - 10) < 1 and abs(faster["p50"] - 10) < 1


@pytest.mark.parametrize(
    ("ratio", "floor", "held"), [(1.0, 3.0, True), (1.0, 3.5, False), (0.5, 3.5, True), (2.0, 3.5, True)]
)
def test_a_floor_supports_what_is_clear_of_it(ratio: float, floor: float, held: bool) -> None:
    made = make_evidence(Scene(ratio=ratio, jitter=0.001))
    pairs = assemble(made.documents, made.evidence, made.control_plane.public).samples.pairs
    plan = duet_plan(default_policy(), AnalyzeOptions())
    assert supports({"p50": floor, "p90": floor}, pairs, plan) is held
    assert not supports({"p50": 0.1}, pairs, plan) and not supports({}, pairs, plan)


def test_too_few_pairs_have_no_floor() -> None:
    made = make_evidence()
    pairs = assemble(made.documents, made.evidence, made.control_plane.public).samples.pairs
    assert noise_floor(pairs[:4]) == {}
    assert noise_floor(()) == {}


def gate(
    low: float | None, high: float | None, margin: float = 3.0, metric: str = "p50"
) -> LatencyComparison:
    verdict = latency_verdict(low, high, margin)
    return msgspec.convert(
        {
            "metric": metric, "baseline_ms": 1.0, "candidate_ms": 1.0, "ratio": 1.0, "ratio_low": low,
            "ratio_high": high, "confidence": 0.95, "margin_pct": margin, "verdict": verdict,
            "improved": False,
        },
        LatencyComparison,
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["p50", "p90", "mean", "p95", "p99"])
def test_every_metric_that_can_gate_has_a_floor(metric: str) -> None:
    (tight,) = too_tight((gate(0.99, 1.01, 2.0, metric),), {metric: 2.5})
    assert tight.metric == metric and not tight.stands
    assert len([*without_floor((gate(0.99, 1.01, 2.0, metric),), {})]) == 1


def loaded(wait: float) -> tuple[PairSamples, ...]:
    """Equal pairs all of whose blocks waited this share of their time."""
    made = make_evidence(Scene(ratio=1.0, jitter=0.001))
    pairs = assemble(made.documents, made.evidence, made.control_plane.public).samples.pairs

    def side(one: SideSamples) -> SideSamples:
        blocks = tuple(msgspec.structs.replace(block, wait=wait) for block in one.blocks)
        return msgspec.structs.replace(one, blocks=blocks)

    return tuple(
        msgspec.structs.replace(pair, baseline=side(pair.baseline), candidate=side(pair.candidate))
        for pair in pairs
    )


def floor_under(background: float, percent: float = 1.0, name: str = "here") -> NoiseFloor:
    return NoiseFloor(
        conditions=name,
        background=background,
        pairs=8,
        floor_pct=dict.fromkeys(("p50", "p90"), percent),
        measured_at="2026-01-02T03:04:05Z",
    )


def test_a_floor_vouches_for_no_busier_device_than_its_own() -> None:
    plan = duet_plan(default_policy(), AnalyzeOptions())
    quiet, busy = floor_under(0.0), floor_under(0.3, 2.0)
    assert usable_floor([quiet, busy], "here", loaded(0.05), plan, now=NOW) == quiet
    assert usable_floor([quiet], "here", loaded(0.06), plan, now=NOW) is None
    assert usable_floor([quiet, busy], "here", loaded(0.3), plan, now=NOW) == busy
    assert (
        usable_floor([quiet, busy], "here", loaded(0.6), plan, now=NOW) == busy
    )  # a factor of 2 is the same load
    assert usable_floor([quiet, busy], "here", loaded(0.61), plan, now=NOW) is None
    assert usable_floor([busy], "here", loaded(0.0), plan, now=NOW) == busy  # wider than it need be
    assert usable_floor([quiet, busy], "elsewhere", loaded(0.0), plan, now=NOW) is None


def test_no_floor_is_picked_because_it_is_narrow() -> None:
    """The nearest in load counts; if it does not do, the floor is measured again."""
    plan = duet_plan(default_policy(), AnalyzeOptions())
    assert (
        usable_floor([floor_under(0.0, 4.0), floor_under(0.3, 1.0)], "here", loaded(0.0), plan, now=NOW)
        is None
    )


def test_draws_are_taken_together_and_none_is_picked() -> None:
    plan = duet_plan(default_policy(), AnalyzeOptions())
    narrow, wide, middle = floor_under(0.0, 0.5), floor_under(0.0, 4.0), floor_under(0.01, 1.0)
    assert usable_floor([narrow], "here", loaded(0.0), plan, now=NOW) == narrow
    # Of two the wider: that the device is asked again does not rid it of what it showed before.
    assert usable_floor([narrow, wide], "here", loaded(0.0), plan, now=NOW) is None
    assert with_draw([wide], narrow).floor_pct["p50"] == 4.0
    told = with_draw([wide, narrow], middle)
    assert (told.floor_pct["p50"], told.background, told.pairs) == (1.0, 0.0, 24)
    # The oldest no longer counts, nor what was found elsewhere or under another load.
    assert with_draw([wide, narrow, narrow], middle).floor_pct["p50"] == 0.5
    assert with_draw([floor_under(0.5, 9.0)], narrow) == narrow
    without = msgspec.structs.replace(narrow, floor_pct={})
    assert with_draw([wide], without) == without


def test_twins_are_alike_whichever_is_called_the_candidate() -> None:
    def swapped(pair: PairSamples) -> PairSamples:
        return msgspec.structs.replace(pair, baseline=pair.candidate, candidate=pair.baseline)

    one = loaded(0.0)
    assert noise_floor(one) == pytest.approx(noise_floor([swapped(pair) for pair in one]), rel=0.01)


def test_an_old_draw_counts_no_more() -> None:
    plan = duet_plan(default_policy(), AnalyzeOptions())
    old = msgspec.structs.replace(floor_under(0.0, 0.1), measured_at="2025-12-01T00:00:00Z")
    new = floor_under(0.0, 2.0)
    assert with_draw([old, old], new) == new
    assert usable_floor([old, old, new], "here", loaded(0.0), plan, now=NOW) == new


def test_a_floor_is_drawn_again_after_a_day_whatever_it_is() -> None:
    plan = duet_plan(default_policy(), AnalyzeOptions())
    known = [floor_under(0.0, 0.5)]
    assert usable_floor(known, "here", loaded(0.0), plan, now=NOW + timedelta(days=1)) == known[0]
    later = NOW + timedelta(days=1, seconds=1)
    assert usable_floor(known, "here", loaded(0.0), plan, now=later) is None


def test_a_floor_of_a_quieter_device_is_widened_by_the_spread_of_the_pairs() -> None:
    quiet, pairs = floor_under(0.0, 0.01), loaded(0.25)
    told = estimate_latency(pairs, "p50", 0.95)
    assert told.ratio_low is not None and told.ratio_high is not None
    half = max(told.ratio_high / told.ratio, told.ratio / told.ratio_low)
    assert half > 1.0001
    widened = floors_under(quiet, 0.25, pairs)
    assert widened["p50"] == pytest.approx(100 * (half**2 - 1), rel=1e-4)
    assert set(widened) == {"p50", "p90"}
    assert floors_under(floor_under(0.2, 0.01), 0.25, pairs) == {"p50": 0.01, "p90": 0.01}
    assert floors_under(floor_under(0.0, 50.0), 0.25, pairs) == {"p50": 50.0, "p90": 50.0}
    assert floors_under(quiet, 0.25, pairs[:4]) == {}


def test_a_widened_floor_is_told() -> None:
    assert [*widened_words(floor_under(0.0), 0.04)] == []
    assert [*widened_words(floor_under(0.01), 0.25)] == [
        "this device's noise floor was found while blocks waited 1 % of their time for a processor, "
        "here they waited 25 %: it is widened to what the spread of these pairs allows"
    ]


def test_margins_below_the_floor_are_named() -> None:
    gates = (gate(0.99, 1.01), gate(0.99, 1.01, 5.0, "p90"))
    assert list(too_tight(gates, {"p50": 3.0, "p90": 4.9})) == []
    assert list(too_tight(gates, {})) == []
    (tight,) = too_tight(gates, {"p50": 3.21, "p90": 4.9})
    assert tight.words() == (
        "this device's noise floor for p50 is 3.21 %, wider than the 3 % margin, so it cannot support it"
    )


@pytest.mark.parametrize(
    ("low", "high", "stands"),
    [
        (0.48, 0.52, True),  # twice as fast
        (0.90, 0.9809, True),  # 1.03 / 1.05 = 0.98095
        (0.90, 0.9811, False),
        (0.99, 1.01, False),
        (1.00, 1.10, False),  # straddles the margin
        (1.0814, 1.2, False),
        (1.0816, 1.2, True),  # 1.03 * 1.05 = 1.0815
        (None, None, False),
    ],
)
def test_a_verdict_further_from_the_margin_than_the_floor_stands(
    low: float | None, high: float | None, stands: bool
) -> None:
    (tight,) = too_tight((gate(low, high),), {"p50": 5.0})
    assert tight.stands is stands
    assert ("further from it" in tight.words()) is stands


def test_a_gate_that_is_not_decidable_needs_no_floor() -> None:
    open_gate = msgspec.structs.replace(gate(0.99, 1.01), verdict="not_decidable")
    assert list(too_tight((open_gate,), {"p50": 5.0})) == []


def test_a_floor_that_could_not_be_found_supports_no_margin() -> None:
    gates = (gate(0.99, 1.01), gate(0.99, 1.01, 5.0, "p90"))
    assert [*without_floor(gates, {"p50": 0.5, "p90": 0.5})] == []
    assert [*without_floor(gates, {"p50": 0.5})] == [
        "this device's noise floor for p90 could not be found, so it supports no margin"
    ]
    open_gate = msgspec.structs.replace(gate(0.99, 1.01), verdict="not_decidable")
    assert [*without_floor((open_gate,), {})] == []
