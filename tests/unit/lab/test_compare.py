"""Labels and conditions of a comparison, on results taken from real evidence."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edgeproof.contract.canonical import canonical, sha256_hex
from edgeproof.contract.comparison import Comparison, Overall
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.samples import PairSamples, SideSamples
from edgeproof.contract.statements import EnvironmentSnapshot, EvidenceRef, MeasurementStatement
from edgeproof.lab.circumstances import UNSEEN_LOAD
from edgeproof.lab.compare import AccuracyFact, LatencyFact, compare, comparison_mode, latency_fact, overall
from edgeproof.lab.dossier import Dossier, assemble
from edgeproof.lab.judge import judge
from edgeproof.lab.reasons import conditions_words
from edgeproof.lab.verify import evidence_name, verify
from edgeproof.testing.evidence import Scene, make_evidence

GOOD = Scene(images=1000)


def dossier_of(scene: Scene) -> Dossier:
    made = make_evidence(scene)
    return assemble(made.documents, made.evidence, made.control_plane.public)


PAIRS = dossier_of(GOOD).samples.pairs


def compared(
    scene: Scene = GOOD,
    candidate: RuntimeResult | None = None,
    pairs: tuple[PairSamples, ...] | None = None,
) -> Comparison:
    dossier = dossier_of(scene)
    measured = dossier.measurement.predicate
    return compare(
        measured.baseline,
        candidate or measured.candidate,
        pairs or dossier.samples.pairs,
        dossier.quality,
        dossier.policy,
        measured.noise,
    )


def test_the_keys_and_the_pair() -> None:
    told = compared()
    assert told.compare_key == "digits__b1__h8w8__int8__t1"
    assert told.backend_key == "onnxruntime__cpu"
    assert (told.comparison_mode, told.precision_pair) == ("cross_precision", "fp32_vs_int8")
    assert (told.pairs, told.look, told.shape_match, told.system_match, told.notes) == (8, 1, True, True, ())
    assert [gate.metric for gate in told.latency] == ["p50", "p90"]


@pytest.mark.parametrize(("pairs", "look"), [(8, 1), (12, 2), (16, 3)])
def test_the_look_follows_the_number_of_pairs(pairs: int, look: int) -> None:
    assert compared(replace(GOOD, pairs=pairs)).look == look


def test_equal_precisions_whatever_their_spelling_are_the_same() -> None:
    assert comparison_mode("FP16", "fp16") == "same_precision"
    assert comparison_mode("fp32", "fp16") == "cross_precision"


@pytest.mark.parametrize(
    ("latency", "accuracy", "same", "cross"),
    [
        ("improved", "no_regression", "improvement", "tradeoff_faster"),
        ("improved", "unmeasured", "improvement", "tradeoff_faster"),
        ("no_regression", "no_regression", "neutral", "tradeoff_neutral"),
        ("no_regression", "improved", "improvement", "tradeoff_neutral"),
        ("regression", "improved", "regression", "tradeoff_slower"),
        ("regression", "regression", "regression", "tradeoff_slower"),
        ("improved", "regression", "regression", "regression"),
        ("inconclusive", "regression", "regression", "regression"),
        ("inconclusive", "improved", "inconclusive", "inconclusive"),
        ("improved", "inconclusive", "inconclusive", "inconclusive"),
    ],
)
def test_overall(latency: LatencyFact, accuracy: AccuracyFact, same: Overall, cross: Overall) -> None:
    assert overall("same_precision", True, latency, accuracy) == same
    assert overall("cross_precision", True, latency, accuracy) == cross
    assert overall("same_precision", False, latency, accuracy) == "mismatch"


def test_another_shape_is_a_mismatch() -> None:
    candidate = dossier_of(GOOD).measurement.predicate.candidate
    told = compared(candidate=msgspec.structs.replace(candidate, input_shapes={"image": (1, 1, 16, 16)}))
    assert (told.shape_match, told.overall) == (False, "mismatch")


def test_another_system_or_condition_is_named_but_never_a_regression() -> None:
    candidate = dossier_of(GOOD).measurement.predicate.candidate
    told = compared(
        candidate=msgspec.structs.replace(
            candidate,
            system=msgspec.structs.replace(candidate.system, cpu_model="other"),
            run_config=msgspec.structs.replace(candidate.run_config, threads=4, runs=77),
        )
    )
    assert not told.system_match
    assert told.overall == "tradeoff_faster"
    assert told.notes == (
        "conditions differ: cpu_model invented against other",
        "conditions differ: threads 1 against 4",
    )


SLOW = (
    replace(GOOD, ratio=1.3),
    replace(GOOD, ratio=1.3, candidate_precision="fp32"),
    Scene(ratio=1.3, images=1000, seed=4, jitter=0.01),
)


def with_measurement(dossier: Dossier, changes: dict[str, Any]) -> Dossier:
    measured = msgspec.structs.replace(dossier.measurement.predicate, **changes)
    statement: MeasurementStatement = msgspec.structs.replace(dossier.measurement, predicate=measured)
    return replace(dossier, measurement=statement)


def other_threads(dossier: Dossier) -> dict[str, Any]:
    told = dossier.measurement.predicate.candidate
    return {
        "candidate": msgspec.structs.replace(
            told, run_config=msgspec.structs.replace(told.run_config, threads=4)
        )
    }


def other_processor(dossier: Dossier) -> dict[str, Any]:
    told = dossier.measurement.predicate.candidate
    return {
        "candidate": msgspec.structs.replace(
            told, system=msgspec.structs.replace(told.system, cpu_model="other")
        )
    }


def other_shape(dossier: Dossier) -> dict[str, Any]:
    told = dossier.measurement.predicate.candidate
    return {"candidate": msgspec.structs.replace(told, input_shapes={"image": (1, 1, 16, 16)})}


def less_power(dossier: Dossier) -> dict[str, Any]:
    before = dossier.measurement.predicate.environment_before
    before = msgspec.structs.replace(before, power_mode="25W", throttle_count=2)
    after = msgspec.structs.replace(before, power_mode="15W", throttle_count=5)
    return {"environment_before": before, "environment_after": after}


@pytest.mark.parametrize("scene", SLOW)
@pytest.mark.parametrize(
    ("changes", "leads"),
    [
        (other_threads, "system_mismatch_unfavorable_review"),
        (other_processor, "system_mismatch_unfavorable_review"),
        (less_power, "system_mismatch_unfavorable_review"),
        (other_shape, "shape_mismatch_review"),
    ],
)
def test_a_slower_side_under_other_conditions_is_for_review_because_of_them(
    scene: Scene, changes: Callable[[Dossier], dict[str, Any]], leads: str
) -> None:
    alike = dossier_of(scene)
    before = judge(alike, with_guard=True).predicate
    assert before.comparison.overall in ("regression", "tradeoff_slower")
    assert before.deployment_decision.triggered_rules[0] == "latency_regression_review"
    told = judge(with_measurement(alike, changes(alike)), with_guard=True).predicate
    comparison, decision = told.comparison, told.deployment_decision
    assert not (comparison.system_match and comparison.shape_match)
    assert comparison.overall in ("inconclusive", "mismatch")
    assert latency_fact(comparison.latency) == "inconclusive"
    assert "regression" not in {gate.verdict for gate in comparison.latency}
    assert (decision.decision, decision.triggered_rules[0]) == ("review_required", leads)
    assert "latency_regression_review" not in decision.triggered_rules
    assert "is wholly beyond the 3 % margin, but not under the same conditions" in " ".join(
        detail for reason in decision.reasons for detail in reason.details
    )
    # the numbers stay as they were measured
    assert [gate.ratio for gate in comparison.latency] == [gate.ratio for gate in before.comparison.latency]
    assert told.guard_analysis is not None
    assert all(
        "but not under the same conditions" in one.explanation
        for one in told.guard_analysis.evidence
        if one.type == "latency_regression" and one.status == "warning"
    )


def test_a_decision_on_a_device_that_changed_is_verified_offline() -> None:
    made = make_evidence(replace(GOOD, ratio=1.3))
    key, dossier = made.control_plane.public, dossier_of(replace(GOOD, ratio=1.3))
    changed = with_measurement(dossier, less_power(dossier)).measurement
    envelope = made.runner.seal(canonical(changed))
    kept = tuple(one for one in made.evidence if one.kind != "measurement")
    evidence = (*kept, EvidenceRef(kind="measurement", digest=sha256_hex(envelope)))
    documents = {**made.documents, sha256_hex(envelope): envelope}
    decision = made.control_plane.seal(canonical(judge(assemble(documents, evidence, key), with_guard=True)))
    files = {evidence_name(one.kind, one.digest): documents[one.digest] for one in evidence}
    told = verify({**files, evidence_name("decision", sha256_hex(decision)): decision}, key).decisions[0]
    assert told.decision == "review_required"
    assert told.reason.startswith("The sides were measured under different conditions")


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.3])
@pytest.mark.parametrize("changes", [other_threads, other_processor, less_power, other_shape])
def test_nothing_measured_under_other_conditions_is_simply_deployable(
    ratio: float, changes: Callable[[Dossier], dict[str, Any]]
) -> None:
    dossier = dossier_of(replace(GOOD, ratio=ratio))
    told = judge(with_measurement(dossier, changes(dossier)), with_guard=True).predicate.deployment_decision
    assert told.decision != "deployable"
    assert ratio < 1.3 or told.decision == "review_required"


def test_a_floor_from_a_quieter_device_vouches_for_no_busy_one() -> None:
    """Equal sides with a spread of 1 % between pairs: inside the margin, and below what that load allows."""
    dossier = dossier_of(Scene(images=1000, ratio=1.0, jitter=0.01, seed=3))
    measured = dossier.measurement.predicate

    def busy(one: SideSamples) -> SideSamples:
        blocks = tuple(msgspec.structs.replace(block, wait=0.25) for block in one.blocks)
        return msgspec.structs.replace(one, blocks=blocks)

    def told(background: float) -> Comparison:
        pairs = [
            msgspec.structs.replace(pair, baseline=busy(pair.baseline), candidate=busy(pair.candidate))
            for pair in dossier.samples.pairs
        ]
        floor = msgspec.structs.replace(measured.noise, background=background)
        results = (measured.baseline, measured.candidate)
        return compare(*results, pairs, dossier.quality, dossier.policy, floor)

    same, quiet = told(0.2), told(0.0)
    assert (same.background, same.noise_supported, same.noise_pct["p50"]) == (0.25, True, 0.5)
    assert quiet.noise_pct["p50"] > 1.0 and not quiet.noise_supported
    assert any("it is widened to what the spread of these pairs allows" in note for note in quiet.notes)
    assert same.latency == quiet.latency


def test_a_device_that_changed_meanwhile_makes_the_comparison_conditional() -> None:
    dossier = dossier_of(GOOD)
    measured = dossier.measurement.predicate
    before = msgspec.structs.replace(measured.environment_before, governor="performance")
    versions = {**before.versions, "engine": "2"}

    def told(after: EnvironmentSnapshot) -> Comparison:
        results = (measured.baseline, measured.candidate)
        environment = (before, after)
        pairs = dossier.samples.pairs
        return compare(*results, pairs, dossier.quality, dossier.policy, measured.noise, environment)

    assert told(msgspec.structs.replace(before, load_1m=9.0, temperature_c=60.0)).system_match
    changed = told(msgspec.structs.replace(before, governor="powersave", versions=versions))
    assert not changed.system_match and changed.overall == "tradeoff_faster"
    assert changed.notes == (
        "conditions differ: governor performance before, powersave after",
        "conditions differ: engine not told before, 2 after",
    )


def test_a_throttled_device_or_another_power_mode_makes_the_comparison_conditional() -> None:
    dossier = dossier_of(GOOD)
    measured = dossier.measurement.predicate
    before = msgspec.structs.replace(
        measured.environment_before, power_mode="25W", max_frequency_mhz=(1510.4,), throttle_count=2
    )

    def notes(**changes: Any) -> tuple[str, ...]:
        after = msgspec.structs.replace(before, **changes)
        told = compare(
            measured.baseline,
            measured.candidate,
            dossier.samples.pairs,
            dossier.quality,
            dossier.policy,
            measured.noise,
            (before, after),
        )
        assert told.system_match == (not told.notes)
        return told.notes

    assert notes() == notes(throttle_count=None) == notes(throttle_count=0) == ()
    assert notes(power_mode="15W", max_frequency_mhz=(729.6, 1190.4), throttle_count=5) == (
        "conditions differ: power mode 25W before, 15W after",
        "conditions differ: max clocks 1510.4 MHz before, 729.6, 1190.4 MHz after",
        "conditions differ: throttling events 2 before, 5 after",
    )


def test_waits_that_nobody_counted_are_told_as_that_and_not_as_none() -> None:
    dossier = dossier_of(GOOD)
    measured = dossier.measurement.predicate
    before = measured.environment_before

    def told(after: EnvironmentSnapshot) -> Comparison:
        results = (measured.baseline, measured.candidate)
        pairs = dossier.samples.pairs
        return compare(*results, pairs, dossier.quality, dossier.policy, measured.noise, (before, after))

    seen, unseen = told(before), told(msgspec.structs.replace(before, waits_told=False))
    assert (seen.background, unseen.background) == (0.0, None)
    assert "blocks waited 0 % of their time" in conditions_words(seen)
    words = conditions_words(unseen)
    assert "0 %" not in words
    assert "background load: not told by this device; no contaminated blocks as far as" in words
    assert seen.notes == () and unseen.notes == (UNSEEN_LOAD,)
    assert unseen.latency == seen.latency and unseen.system_match


def test_pairs_without_a_usable_block_are_left_out_and_said() -> None:
    pairs = dossier_of(GOOD).samples.pairs

    def flagged(side: SideSamples) -> SideSamples:
        blocks = tuple(msgspec.structs.replace(block, flags=("load",)) for block in side.blocks)
        return msgspec.structs.replace(side, blocks=blocks)

    last = msgspec.structs.replace(pairs[-1], candidate=flagged(pairs[-1].candidate))
    told = compared(pairs=(*pairs[:-1], last))
    assert told.notes == (
        "1 of 8 process pairs had no usable block and are left out",
        "8 of 128 blocks were contaminated: kept in the raw data, not in the estimate",
    )
    assert told.contaminated == 8
    assert told.latency[0].verdict == "inconclusive" and told.latency[0].ratio_low is None
    assert told.overall == "inconclusive"


def test_a_background_load_is_told_with_its_size() -> None:
    def loaded(side: SideSamples) -> SideSamples:
        blocks = tuple(msgspec.structs.replace(block, wait=0.25) for block in side.blocks)
        return msgspec.structs.replace(side, blocks=blocks)

    quiet = compared(pairs=PAIRS)
    pairs = tuple(
        msgspec.structs.replace(pair, baseline=loaded(pair.baseline), candidate=loaded(pair.candidate))
        for pair in PAIRS
    )
    told = compared(pairs=pairs)
    assert (quiet.background, quiet.notes, told.background) == (0.0, (), 0.25)
    assert told.notes[0] == (
        "background load on both sides: blocks waited 25 % of their time for a processor"
    )
    assert len(told.notes) == 2 and "noise floor was found while blocks waited 0 %" in told.notes[1]
    assert told.latency == quiet.latency


def test_a_pair_that_never_settled_is_named_and_counts() -> None:
    restless = msgspec.structs.replace(
        PAIRS[3], candidate=msgspec.structs.replace(PAIRS[3].candidate, settled=False)
    )
    told = compared(pairs=(*PAIRS[:3], restless, *PAIRS[4:]))
    assert told.unstable_pairs == (3,)
    assert told.notes == ("the warm-up of process pair 3 never came to rest",)
    assert told.latency == compared(pairs=PAIRS).latency
