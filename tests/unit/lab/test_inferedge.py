"""``inferedge-v1``: the originals' labels and table, and each case that the originals got wrong."""

from typing import Any

import msgspec
import pytest

from edgeproof.contract.canonical import canonical
from edgeproof.contract.errors import Refused
from edgeproof.contract.plain_results import PlainResult, read_plain_result
from edgeproof.contract.point_policy import PointComparison
from edgeproof.contract.results import RuntimeResult
from edgeproof.lab.dossier import assemble
from edgeproof.lab.guard import points
from edgeproof.lab.guard.points import analyse_points
from edgeproof.lab.guard.verdict import conclude, not_evaluated
from edgeproof.lab.inferedge import compare_points, decide_points, facts_of_points, inferedge_policy
from edgeproof.testing.evidence import make_evidence

BASE: dict[str, Any] = {
    "model": "yolov8n",
    "engine": "tensorrt",
    "device": "jetson",
    "precision": "fp32",
    "batch": 1,
    "height": 640,
    "width": 640,
    "mean_ms": 10.0,
    "p99_ms": 12.0,
    "runtime_artifact_path": "model.engine",
    "accuracy": {"task": "detection", "metrics": {"map50": 0.80, "map50_95": 0.5}},
    "system": {
        "os": "Linux",
        "python": "3.11",
        "machine": "aarch64",
        "cpu_count_logical": 6,
        "cpu_model": "Cortex-A78AE",
    },
    "run_config": {
        "warmup": 10,
        "runs": 100,
        "intra_threads": 1,
        "power_mode": "15W",
        "jetson_clocks": True,
        "governor": "schedutil",
    },
    "extra": {"input_mode": "image", "max_clocks": "1510.4 MHz"},
}


def result(
    changes: dict[str, Any] | None = None, *, scale: float = 1.0, map50: float | None = 0.80
) -> PlainResult:
    value = {**BASE, "mean_ms": 10.0 * scale, "p99_ms": 12.0 * scale, **(changes or {})}
    value["accuracy"] = None if map50 is None else {"task": "detection", "metrics": {"map50": map50}}
    return read_plain_result(value)


def run_config(**changes: Any) -> dict[str, Any]:
    return {"run_config": {**BASE["run_config"], **changes}}


def decided(base: PlainResult, new: PlainResult) -> tuple[PointComparison, str, tuple[str, ...]]:
    told = compare_points(base, new)
    decision = decide_points(told, analyse_points(base, new, told))
    assert decision.basis == "unsigned"
    return told, decision.decision, decision.triggered_rules


# --- what the originals got wrong -------------------------------------------------------------------


def test_a_51_percent_faster_int8_build_with_better_accuracy_and_guard_ok_is_deployable() -> None:
    base, new = result(), result({"precision": "int8"}, scale=0.49, map50=0.82)
    told, decision, _ = decided(base, new)
    guard = analyse_points(base, new, told)
    assert (told.judgement.overall, told.judgement.tradeoff_risk) == (
        "tradeoff_faster",
        "acceptable_tradeoff",
    )
    assert (guard.status, decision) == ("ok", "deployable")
    notes = [one.type for one in guard.evidence if one.status == "warning"]
    assert notes == ["likely_quantization_effect"]  # still told, as a note


def test_a_15_watt_run_against_a_25_watt_run_is_not_a_regression() -> None:
    base, new = result(run_config(power_mode="25W")), result(run_config(power_mode="15 W"), scale=1.6)
    told, decision, rules = decided(base, new)
    judged = told.judgement
    assert (judged.overall, judged.mean_ms, judged.comparability) == (
        "inconclusive", "not_comparable", "conditional",
    )  # fmt: skip
    assert decision == "review_required"
    assert "conditions_differ_review" in rules
    assert told.unlike == ("power_mode 25w against 15w",)
    # nor is the way back a speedup
    back, decision, _ = decided(new, base)
    assert (back.judgement.overall, decision) == ("inconclusive", "review_required")


@pytest.mark.parametrize("value", ["fast", None])
def test_mean_ms_fast_is_rejected(value: object) -> None:
    with pytest.raises(Refused, match="mean_ms"):
        read_plain_result({**BASE, "mean_ms": value})


def test_fp16_against_fp16_is_not_cross_precision() -> None:
    told = compare_points(result({"precision": "fp16"}), result({"precision": "FP16"}, scale=0.5)).judgement
    assert (told.comparison_mode, told.precision_pair) == ("same_precision", "fp16_vs_fp16")
    assert (told.overall, told.tradeoff_risk) == ("improvement", "not_applicable")


def test_accuracy_missing_warning_fires_when_accuracy_is_missing() -> None:
    base, new = result(map50=None), result(scale=0.5, map50=None)
    told, decision, rules = decided(base, new)
    guard = analyse_points(base, new, told)
    fired = [(one.status, one.severity) for one in guard.evidence if one.type == "accuracy_missing_warning"]
    assert fired == [("warning", "medium")]
    assert (decision, rules) == ("review_required", ("guard_warning_review",))


# --- same-condition rules ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        run_config(power_mode="MAXN"),
        run_config(jetson_clocks=False),
        run_config(intra_threads=4),
        {"extra": {"input_mode": "dummy"}},
        run_config(governor="powersave"),
        {"extra": {"input_mode": "image", "max_clocks": "1190.4 MHz"}},
        {"device": "cuda"},
        {"system": {**BASE["system"], "cpu_model": "AMD EPYC"}},
        {"system": {**BASE["system"], "machine": "x86_64"}},
        {"system": {**BASE["system"], "cpu_count_logical": 12}},
    ],
)
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_no_latency_is_judged_across_conditions_that_bear_on_it(
    changes: dict[str, Any], scale: float
) -> None:
    told, decision, _ = decided(result(), result(changes, scale=scale))
    assert told.judgement.overall == "inconclusive"
    assert decision == "review_required"


@pytest.mark.parametrize(
    "changes",
    [
        run_config(warmup=0),
        run_config(runs=1000),
        run_config(power_mode=None),
        {"engine": "onnxruntime"},
        {"system": {**BASE["system"], "python": "3.12"}},
        {"system": None},
        {"system": {**BASE["system"], "cpu_model": None}},
        {"extra": {"input_mode": "image"}},
    ],
)
def test_lesser_differences_are_never_a_regression_and_a_gain_has_a_note(changes: dict[str, Any]) -> None:
    slower, decision, _ = decided(result(), result(changes, scale=1.5))
    assert (slower.judgement.overall, decision) == ("inconclusive", "review_required")
    faster, decision, rules = decided(result(), result(changes, scale=0.5))
    assert (faster.judgement.overall, decision) == ("improvement", "deployable_with_note")
    assert "conditions_differ_note" in rules


def conditions_item(base: PlainResult, new: PlainResult) -> tuple[str, str, str]:
    guard = analyse_points(base, new, compare_points(base, new))
    found = next(one for one in guard.evidence if one.type == "unreliable_comparison")
    return found.status, found.severity, found.explanation


def test_the_guard_names_every_difference_and_objects_to_those_that_bar_a_comparison() -> None:
    alike = conditions_item(result(), result())
    assert alike == ("passed", "low", "the conditions are alike")
    for changes, words in (
        (run_config(runs=1000), "runs 100 against 1000"),
        ({"engine": "onnxruntime"}, "engine tensorrt against onnxruntime"),
        (run_config(power_mode=None), "power_mode 15w against unstated"),
    ):
        lesser = conditions_item(result(), result(changes, scale=0.5))
        assert lesser == ("warning", "low", f"the sides differ in: {words}")
        graver = conditions_item(result(), result(changes, scale=1.5))
        assert graver == ("warning", "high", f"the sides differ in: {words}")
    for changes, words in (
        (run_config(intra_threads=4), "intra_threads 1 against 4"),
        ({"device": "cuda"}, "device jetson against cuda"),
        ({"height": 320}, "shapes; height 640 against 320"),
    ):
        for scale in (0.5, 1.0, 1.5):
            told = conditions_item(result(), result(changes, scale=scale))
            assert told == ("warning", "high", f"the sides differ in: {words}")


@pytest.mark.parametrize("part", ["comparison_case", "facts_of_result"])
def test_a_guard_that_crashes_leaves_the_comparison_decided(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyError(part)

    monkeypatch.setattr(points, part, crash)
    base, new = result(), result(scale=0.5)
    told, decision, rules = decided(base, new)
    assert analyse_points(base, new, told).primary_reason == "The guard could not be evaluated: KeyError."
    assert (decision, rules) == ("unknown", ("guard_skipped_unknown",))


@pytest.mark.parametrize(
    "changes", [{"batch": 4}, {"height": 320}, {"run_config": {"task": "classification"}}]
)
def test_other_work_is_refused_as_a_comparison(changes: dict[str, Any]) -> None:
    new = read_plain_result({**BASE, "accuracy": None, "mean_ms": 20.0, **changes})
    told = compare_points(result(), new).judgement
    assert (told.overall, told.comparability, told.mean_ms) == ("mismatch", "no", "not_comparable")
    assert decide_points(compare_points(result(), new), conclude([])).decision == "review_required"


def test_equal_conditions_in_another_spelling_or_place_are_equal() -> None:
    moved = {"run_config": {"warmup": 10.0, "runs": 100, "intra_threads": 1, "jetson_clocks": True},
             "extra": {"input_mode": "Image", "power_mode": "15 w", "governor": "Schedutil",
                       "max_clocks": "1510.4MHz"}}  # fmt: skip
    assert compare_points(result(), result(moved)).judgement.comparability == "yes"


def test_an_accuracy_loss_is_a_regression_whatever_the_power_mode() -> None:
    told = compare_points(result(), result(run_config(power_mode="25W"), map50=0.70)).judgement
    assert (told.overall, told.accuracy) == ("regression", "regression")


def images(source: str | None) -> dict[str, Any]:
    return {"extra": {**BASE["extra"], "input_mode": source}}


@pytest.mark.parametrize("map50", [0.50, 0.80, 0.95])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_accuracies_on_other_inputs_are_not_compared(map50: float, precision: str) -> None:
    base, new = result(images("image")), result({**images("dummy"), "precision": precision}, map50=map50)
    told, decision, rules = decided(base, new)
    judged = told.judgement
    assert (judged.overall, judged.accuracy, judged.comparability) == (
        "inconclusive", "not_comparable", "conditional",
    )  # fmt: skip
    assert judged.tradeoff_risk in ("not_applicable", "no_clear_tradeoff")
    assert "accuracy is not judged: it may have been measured on other inputs" in judged.notes
    assert told.accuracy["map50"].delta_pp == pytest.approx(100 * (map50 - 0.80))  # shown all the same
    assert (decision, "conditions_differ_review" in rules) == ("review_required", True)
    evidence = {one.type: one for one in analyse_points(base, new, told).evidence}
    assert (evidence["risky_tradeoff"].status, evidence["risky_tradeoff"].explanation) == (
        "skipped",
        "not judged: accuracy was not measured on inputs known to be the same",
    )


@pytest.mark.parametrize(("one", "other"), [("image", None), (None, "image")])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_a_loss_on_inputs_that_one_side_does_not_tell_is_no_regression(
    one: str | None, other: str | None, scale: float
) -> None:
    lost, decision, _ = decided(result(images(one)), result(images(other), map50=0.50, scale=scale))
    assert (lost.judgement.overall, lost.judgement.accuracy) == ("inconclusive", "not_comparable")
    assert decision == "review_required"
    kept = compare_points(result(images(one)), result(images(other))).judgement
    assert (kept.overall, kept.accuracy) == ("neutral", "neutral")


def test_accuracies_of_other_tasks_or_shapes_are_not_compared() -> None:
    told = compare_points(result(), result({"height": 320}, map50=0.50)).judgement
    assert (told.overall, told.accuracy) == ("mismatch", "not_comparable")


def test_legacy_results_on_both_sides_are_compared_with_a_note() -> None:
    legacy = {"system": None, "run_config": None, "extra": {}}
    told = compare_points(result(legacy), result(legacy, scale=1.5)).judgement
    assert (told.overall, told.comparability) == ("regression", "yes")
    assert sum("legacy" in note for note in told.notes) == 2


def our_result() -> dict[str, Any]:
    made = make_evidence()
    told = assemble(made.documents, made.evidence, made.control_plane.public)
    value: dict[str, Any] = msgspec.json.decode(canonical(told.measurement.predicate.baseline))
    return value


OURS = our_result()


@pytest.mark.parametrize(
    ("place", "was", "now", "words"),
    [
        ("system", {"cpu_model": "Intel Xeon"}, {"cpu_model": "AMD EPYC"},
         "cpu_model Intel Xeon against AMD EPYC"),
        ("extra", {"power_mode": "25W"}, {"power_mode": "MODE_15W"}, "power_mode 25w against mode_15w"),
        ("extra", {"governor": "performance"}, {"governor": "powersave"},
         "governor performance against powersave"),
        ("extra", {"max_clocks": "1510.4 MHz"}, {"max_clocks": "1190.4 MHz"},
         "max_clocks 1510.4mhz against 1190.4mhz"),
    ],
)  # fmt: skip
def test_two_of_our_own_results_of_unlike_devices_are_no_regression(
    place: str, was: dict[str, str], now: dict[str, str], words: str
) -> None:
    def ours(told: dict[str, str], scale: float) -> PlainResult:
        value = {**OURS, place: {**OURS[place], **told}}
        msgspec.convert(value, RuntimeResult)
        slowed = {name: scale * OURS[name] for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")}
        return read_plain_result({**value, **slowed})

    told, decision, rules = decided(ours(was, 1.0), ours(now, 1.6))
    assert told.unlike == (words,)
    assert (told.judgement.overall, told.judgement.comparability) == ("inconclusive", "conditional")
    assert (decision, "conditions_differ_review" in rules) == ("review_required", True)
    alike, _, _ = decided(ours(was, 1.0), ours(was, 1.6))
    assert (alike.judgement.overall, alike.judgement.comparability) == ("regression", "yes")


def test_power_that_neither_tells_is_taken_for_equal_and_said() -> None:
    silent = {"run_config": {"warmup": 10, "runs": 100}, "extra": {}}
    told = compare_points(result(silent), result(silent, scale=1.5)).judgement
    assert (told.overall, told.comparability) == ("regression", "yes")
    assert any("neither result tells its power mode or clocks" in note for note in told.notes)
    assert compare_points(result(), result()).judgement.notes == ()


# --- reference section 2 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "scale", "p99", "map50", "overall", "risk"),
    [
        ("fp32", 0.97, 12.0, 0.80, "improvement", "not_applicable"),
        ("fp32", 0.98, 12.0, 0.80, "neutral", "not_applicable"),
        ("fp32", 1.03, 12.0, 0.80, "regression", "not_applicable"),
        ("fp32", 0.90, 12.5, 0.80, "regression", "not_applicable"),
        ("fp32", 0.90, 12.0, 0.798, "regression", "not_applicable"),
        ("fp32", 1.00, 12.0, 0.802, "improvement", "not_applicable"),
        ("fp32", 1.00, 12.0, 0.801, "neutral", "not_applicable"),
        ("int8", 0.50, 12.0, 0.80, "tradeoff_faster", "acceptable_tradeoff"),
        ("int8", 0.50, 12.0, 0.797, "tradeoff_faster", "caution_tradeoff"),
        ("int8", 0.50, 12.0, 0.79, "tradeoff_faster", "risky_tradeoff"),
        ("int8", 0.50, 12.0, 0.78, "tradeoff_faster", "severe_tradeoff"),
        ("int8", 0.50, 12.0, None, "tradeoff_faster", "unknown_risk"),
        ("int8", 1.00, 12.0, None, "tradeoff_neutral", "no_clear_tradeoff"),
        ("int8", 1.00, 12.0, 0.80, "tradeoff_neutral", "no_clear_tradeoff"),
        ("int8", 1.10, 12.0, 0.70, "tradeoff_slower", "not_beneficial"),
    ],
)
def test_labels_by_inclusive_thresholds(
    precision: str, scale: float, p99: float, map50: float | None, overall: str, risk: str
) -> None:
    new = result({"precision": precision, "mean_ms": 10 * scale, "p99_ms": p99}, map50=map50)
    told = compare_points(result(), new).judgement
    assert (told.overall, told.tradeoff_risk) == (overall, risk)


def test_the_primary_metric_is_the_tasks() -> None:
    accuracy = {"task": "detection", "metrics": {"map50_95": 0.1, "map50": 0.9}}
    one = read_plain_result({**BASE, "accuracy": accuracy})
    assert compare_points(one, one).judgement.accuracy_metric == "map50"
    other = read_plain_result({**BASE, "accuracy": {"metrics": {"f1": 0.5, "recall": 0.4}}})
    assert compare_points(other, other).judgement.accuracy_metric == "f1"


# --- reference section 3 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (0.5, ("deployable", "review_required", "blocked", "unknown", "unknown")),
        (1.0, ("deployable_with_note", "review_required", "blocked", "unknown", "unknown")),
        (1.5, ("review_required", "review_required", "blocked", "unknown", "unknown")),
    ],
)
def test_the_decision_table(scale: float, expected: tuple[str, ...]) -> None:
    told = compare_points(result(), result(scale=scale))
    ok = conclude([])
    guards = [
        ok,
        msgspec.structs.replace(ok, status="warning", guard_verdict="suspicious"),
        msgspec.structs.replace(ok, status="error", guard_verdict="blocked"),
        not_evaluated("KeyError"),
        None,
    ]
    assert tuple(decide_points(told, guard).decision for guard in guards) == expected


@pytest.mark.parametrize(
    ("map50", "decision"), [(0.797, "deployable"), (0.79, "review_required"), (None, "deployable")]
)
def test_only_a_grave_risk_is_for_review(map50: float | None, decision: str) -> None:
    told = compare_points(result(), result({"precision": "int8"}, scale=0.5, map50=map50))
    assert decide_points(told, conclude([])).decision == decision


def test_the_rules_ask_only_for_facts_that_there_are() -> None:
    policy, facts = inferedge_policy(), facts_of_points(compare_points(result(), result()), None)
    assert {name for rule in policy.rules for name in rule.when} <= set(facts)
    assert len({rule.id for rule in policy.rules}) == len(policy.rules)
