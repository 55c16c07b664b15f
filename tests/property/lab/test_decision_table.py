"""The default policy's table over every combination of facts there is."""

from typing import get_args

from edgeproof.contract.policy import Decision
from edgeproof.lab.compare import AccuracyFact, LatencyFact, Mode, overall
from edgeproof.lab.decide import GRAVITY, fired
from edgeproof.lab.facts import FACTS, cases
from edgeproof.lab.policies import default_policy

# Best first. `overall` is not chosen: it follows from the others.
SCALES: dict[str, tuple[str, ...]] = {
    "guard": ("ok", "absent", "warning", "error"),
    "latency": ("improved", "no_regression", "inconclusive", "regression"),
    "accuracy": ("improved", "no_regression", "unmeasured", "inconclusive", "regression"),
    "agreement": ("agrees", "disagrees"),
    "outputs": ("classes", "other"),
    "inputs": ("dataset", "random"),
    "shape": ("match", "mismatch"),
    "system": ("match", "mismatch"),
    "stability": ("stable", "unstable"),
    "noise": ("supported", "too_tight"),
    "measurement": ("measured", "simulated"),
}
TWINS = {
    "guard": {"skipped": "absent"},
    "agreement": {"unmeasured": "disagrees"},
    "measurement": {"estimated": "simulated"},
}


def completed(free: dict[str, str]) -> dict[str, str]:
    mode: Mode = "cross_precision" if free["mode"] == "cross_precision" else "same_precision"
    latency = next(one for one in get_args(LatencyFact) if one == free["latency"])
    accuracy = next(one for one in get_args(AccuracyFact) if one == free["accuracy"])
    return {**free, "overall": overall(mode, free["shape"] == "match", latency, accuracy)}


def decided(fact: dict[str, str]) -> Decision:
    return fired(default_policy().rules, fact)[0].decision


ALL = [(fact, decided(fact)) for fact in cases()]


def test_every_combination_meets_a_rule() -> None:
    labelled, unlabelled = 4, 1 * 2 * 2  # accuracy; accuracy, outputs and inputs
    assert len(ALL) == 5 * 4 * (labelled + unlabelled) * 3 * 2 * 2 * 2 * 2 * 2 * 3
    assert len({tuple(fact.values()) for fact, _ in ALL}) == len(ALL)
    assert all(fired(default_policy().rules, fact)[0].id != "no_rule_unknown" for fact, _ in ALL)


def test_the_facts_table_is_the_whole_vocabulary() -> None:
    assert set(FACTS["latency"]) == set(get_args(LatencyFact))
    assert set(FACTS["accuracy"]) == set(get_args(AccuracyFact))
    assert {fact["overall"] for fact, _ in ALL} == set(FACTS["overall"])


def test_overall_of_a_case_is_the_comparisons() -> None:
    assert all(fact == completed(fact) for fact, _ in ALL)


def test_labels_are_of_classes_in_a_data_set() -> None:
    for fact, _ in ALL:
        assert fact["accuracy"] == "unmeasured" or (fact["outputs"], fact["inputs"]) == ("classes", "dataset")


def test_a_worse_fact_never_makes_a_better_decision() -> None:
    for fact, decision in ALL:
        for name, scale in SCALES.items():
            value = TWINS.get(name, {}).get(fact[name], fact[name])
            for worse in scale[scale.index(value) + 1 :]:
                after = decided(completed({**fact, name: worse}))
                assert GRAVITY.index(after) <= GRAVITY.index(decision), (fact, name, worse)


def test_a_guard_error_always_blocks_and_nothing_else_does() -> None:
    assert all((decision == "blocked") == (fact["guard"] == "error") for fact, decision in ALL)


def test_deployable_takes_every_fact_in_favour() -> None:
    for fact, decision in ALL:
        if decision == "deployable":
            assert fact["guard"] == "ok"
            assert fact["latency"] in ("improved", "no_regression")
            assert fact["accuracy"] in ("improved", "no_regression")
            assert (fact["shape"], fact["system"], fact["measurement"]) == ("match", "match", "measured")
            assert (fact["stability"], fact["noise"]) == ("stable", "supported")
            assert fact["overall"] in ("improvement", "tradeoff_faster")


def test_nothing_bad_or_unknown_is_deployed_with_a_note_either() -> None:
    for fact, decision in ALL:
        if decision == "deployable_with_note":
            assert fact["guard"] == "ok"
            assert not {"regression", "inconclusive"} & {fact["latency"], fact["accuracy"]}
            assert (fact["shape"], fact["measurement"]) == ("match", "measured")
            told = (fact["agreement"], fact["outputs"])
            assert fact["accuracy"] != "unmeasured" or told == ("agrees", "classes")


def test_the_good_cases_are_reached() -> None:
    good = {
        "guard": "ok",
        "latency": "improved",
        "accuracy": "no_regression",
        "agreement": "disagrees",  # with labels, agreement decides nothing
        "outputs": "classes",
        "inputs": "dataset",
        "shape": "match",
        "system": "match",
        "measurement": "measured",
        "mode": "cross_precision",
    }
    assert decided(completed(good)) == "deployable"
    assert decided(completed({**good, "latency": "no_regression"})) == "deployable_with_note"
    assert decided(completed({**good, "system": "mismatch"})) == "deployable_with_note"
    assert decided(completed({**good, "guard": "absent"})) == "unknown"
    assert decided(completed({**good, "guard": "skipped"})) == "unknown"


def test_a_slower_or_undecided_side_under_other_conditions_is_held_back_because_of_them() -> None:
    for fact, decision in ALL:
        unlike = "mismatch" in (fact["shape"], fact["system"])
        if unlike and fact["latency"] in ("regression", "inconclusive"):
            assert decision not in ("deployable", "deployable_with_note")
            first = fired(default_policy().rules, fact)[0]
            assert "latency" not in first.when, fact
