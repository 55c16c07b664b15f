"""Judging through really signed evidence: the documented outcomes, their reasons, their bytes."""

from dataclasses import replace

import msgspec
import pytest

from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.policy import Decision, Rule
from edgeproof.contract.statements import DecisionEnvelopeStatement
from edgeproof.lab.dossier import Dossier, assemble
from edgeproof.lab.guard import analyse as of_pair
from edgeproof.lab.judge import judge
from edgeproof.lab.policies import default_policy
from edgeproof.testing.evidence import Scene, make_evidence

GOOD = Scene(images=1000)


def dossier_of(scene: Scene) -> Dossier:
    made = make_evidence(scene)
    return assemble(made.documents, made.evidence, made.control_plane.public)


@pytest.mark.parametrize(
    ("scene", "decision", "rule"),
    [
        (GOOD, "deployable", "guard_ok_lab_favorable_deployable"),
        (
            replace(GOOD, accuracy=(0.97, 0.985), ratio=0.49),  # 51 % faster int8, better accuracy
            "deployable",
            "guard_ok_lab_favorable_deployable",
        ),
        (replace(GOOD, ratio=1.0), "deployable_with_note", "guard_ok_lab_neutral_deployable_note"),
        (replace(GOOD, accuracy=(0.98, 0.10)), "blocked", "guard_error_block"),
        (replace(GOOD, candidate_nonfinite=1), "blocked", "guard_error_block"),
        (
            replace(GOOD, ratio=1.3, candidate_precision="fp32"),
            "review_required",
            "latency_regression_review",
        ),
        (replace(GOOD, ratio=1.03, jitter=0.02), "review_required", "latency_inconclusive_review"),
        (
            replace(GOOD, images=3000, accuracy=(0.98, 0.955)),
            "review_required",
            "accuracy_regression_review",
        ),
        (replace(GOOD, images=100), "review_required", "accuracy_inconclusive_review"),
        (replace(GOOD, accuracy=None), "deployable_with_note", "accuracy_unmeasured_note"),
        (replace(GOOD, accuracy=None, classes=False), "review_required", "outputs_unjudged_review"),
        (replace(GOOD, settled=False), "review_required", "warmup_unstable_review"),
        (replace(GOOD, ratio=1.0, noise_pct=5.5), "review_required", "noise_floor_review"),
        (replace(GOOD, noise_pct=5.5), "deployable", "guard_ok_lab_favorable_deployable"),
        (replace(GOOD, ratio=1.0, noise_pct=None), "review_required", "noise_floor_review"),
        (replace(GOOD, numbers="simulated"), "review_required", "not_measured_review"),
    ],
)
def test_the_documented_outcomes(scene: Scene, decision: Decision, rule: str) -> None:
    told = judge(dossier_of(scene), with_guard=True).predicate.deployment_decision
    assert (told.decision, told.triggered_rules[0]) == (decision, rule)
    assert told.reasons[0].rule == rule and told.reasons[0].decision == decision
    assert told.reason.startswith(told.reasons[0].effect)
    assert all(detail in told.reason for detail in told.reasons[0].details)


def test_without_guard_the_decision_is_unknown_and_has_no_analysis() -> None:
    predicate = judge(dossier_of(GOOD), with_guard=False).predicate
    told = predicate.deployment_decision
    assert (told.decision, told.triggered_rules) == ("unknown", ("guard_unavailable_unknown",))
    assert (predicate.guard_analysis, told.guard_status, told.guard_verdict) == (None, None, None)


def test_identical_provenance_never_warns() -> None:
    analysis = judge(dossier_of(GOOD), with_guard=True).predicate.guard_analysis
    assert analysis is not None
    assert (analysis.status, analysis.guard_verdict, analysis.severity) == ("ok", "pass", "low")
    provenance = [item for item in analysis.evidence if item.type == "provenance_mismatch"]
    assert len(provenance) == 18 and {item.status for item in provenance} == {"passed"}


def test_the_statement_names_the_candidate_and_all_evidence() -> None:
    dossier = dossier_of(GOOD)
    statement = judge(dossier, with_guard=True)
    candidate = dossier.measurement.predicate.config.candidate
    assert [(one.name, one.digest.sha256) for one in statement.subject] == [("digits", candidate.artifact)]
    predicate = statement.predicate
    assert predicate.evidence == tuple(sorted(dossier.evidence, key=lambda one: (one.kind, one.digest)))
    decision = predicate.deployment_decision
    assert decision.basis == "signed"
    assert (decision.policy_version, decision.policy_digest) == (
        "edgeproof-default-v4",
        dossier.policy_digest,
    )


def test_the_same_evidence_gives_the_same_canonical_bytes() -> None:
    one, other = (canonical(judge(dossier_of(GOOD), with_guard=True)) for _ in range(2))
    assert one == other
    assert canonical(decode_canonical(one, DecisionEnvelopeStatement, what="decision")) == one


def test_every_number_has_at_most_six_digits() -> None:
    def numbers(value: object) -> list[float]:
        if isinstance(value, dict):
            return [number for inner in value.values() for number in numbers(inner)]
        if isinstance(value, list | tuple):
            return [number for inner in value for number in numbers(inner)]
        return [value] if isinstance(value, float) else []

    found = numbers(msgspec.to_builtins(judge(dossier_of(replace(GOOD, ratio=1.017)), with_guard=True)))
    assert len(found) > 20
    assert all(float(f"{number:.6g}") == number for number in found)


def test_reasons_carry_intervals_in_plain_words() -> None:
    told = judge(dossier_of(replace(GOOD, ratio=1.3)), with_guard=True).predicate
    gate = told.comparison.latency[0]
    assert gate.ratio_low is not None and gate.ratio_high is not None
    assert told.deployment_decision.reasons[0].details[0] == (
        f"p50 ratio {gate.ratio:.4f} [{gate.ratio_low:.4f}, {gate.ratio_high:.4f}] "
        "is wholly beyond the 3 % margin (99.17 % interval, 8 process pairs)"
    )


def test_what_agreement_does_not_tell_is_said_with_its_numbers() -> None:
    scene = replace(GOOD, accuracy=None, classes=False)
    told = judge(dossier_of(scene), with_guard=True).predicate.deployment_decision
    reason = told.reasons[0]
    assert reason.facts == {"accuracy": "unmeasured", "agreement": "agrees", "outputs": "other"}
    assert reason.details[-1].startswith("outputs on 1000 inputs: median cosine 0.9990")
    assert "edgeproof guard" in told.recommended_action


@pytest.mark.parametrize(("fed", "decision"), [("dataset", "deployable"), ("random", "review_required")])
def test_a_policy_may_ask_what_was_fed(fed: str, decision: Decision) -> None:
    asks = Rule(id="fed", when={"inputs": ("random",)}, decision="review_required", effect="-", action="-")
    policy = default_policy()
    scene = replace(GOOD, policy=msgspec.structs.replace(policy, rules=(*policy.rules, asks)))
    dossier = dossier_of(scene)
    measured = dossier.measurement.predicate
    config = msgspec.structs.replace(measured.candidate.run_config, input_source=fed)
    measured = msgspec.structs.replace(
        measured,
        baseline=msgspec.structs.replace(measured.baseline, run_config=config),
        candidate=msgspec.structs.replace(measured.candidate, run_config=config),
    )
    dossier = replace(dossier, measurement=msgspec.structs.replace(dossier.measurement, predicate=measured))
    assert judge(dossier, with_guard=True).predicate.deployment_decision.decision == decision


def test_another_policy_decides_otherwise_from_the_same_measurement() -> None:
    policy = default_policy()
    lenient = tuple(rule for rule in policy.rules if rule.id == "guard_error_block")
    scene = replace(GOOD, policy=msgspec.structs.replace(policy, name="only-errors", rules=lenient))
    told = judge(dossier_of(scene), with_guard=True).predicate.deployment_decision
    assert (told.decision, told.triggered_rules) == ("unknown", ("no_rule_unknown",))
    assert told.policy_version == "only-errors-v4"


@pytest.mark.parametrize("part", ["_papers", "_disagreeing", "_by_class"])
def test_a_guard_that_crashes_on_its_own_inputs_is_skipped_and_the_job_decided(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise IndexError(part)

    sound = judge(dossier_of(GOOD), with_guard=True).predicate
    monkeypatch.setattr(of_pair, part, crash)
    told = judge(dossier_of(GOOD), with_guard=True).predicate
    assert told.guard_analysis is not None
    assert (told.guard_analysis.status, told.guard_analysis.guard_verdict) == ("skipped", "skipped")
    assert told.guard_analysis.primary_reason == "The guard could not be evaluated: IndexError."
    assert told.comparison == sound.comparison
    decision = told.deployment_decision
    assert (decision.decision, decision.triggered_rules) == ("unknown", ("guard_skipped_unknown",))
