"""Compare one measured pair: latency gates, accuracy, agreement, and what they come to (``overall``).

Labels and keys follow the originals (reference section 2); thresholds are the policy's. Nothing here
decides on a deployment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from edgeproof.contract.comparison import (
    AccuracyComparison,
    Comparison,
    LatencyComparison,
    Overall,
)
from edgeproof.contract.policy import Policy
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.samples import PairSamples, RawQuality
from edgeproof.contract.statements import EnvironmentSnapshot, NoiseFloor
from edgeproof.lab.circumstances import UNSEEN_LOAD, changed_conditions, measured_under
from edgeproof.lab.gates import SHOWN, compare_latency, estimate_whole, pair_values, split_confidence
from edgeproof.lab.noise import floors_under, too_tight, widened_words, without_floor
from edgeproof.lab.percentiles import certify
from edgeproof.lab.quality import compare_accuracy, compare_agreement

Mode = Literal["same_precision", "cross_precision"]
LatencyFact = Literal["improved", "no_regression", "inconclusive", "regression"]
AccuracyFact = Literal["improved", "no_regression", "unmeasured", "inconclusive", "regression"]

# Not how many calls or blocks: a runner may choose those from each side's speed.
CONDITIONS: Final = ("threads", "mode", "task", "input_source")


def compare(
    baseline: RuntimeResult,
    candidate: RuntimeResult,
    pairs: Sequence[PairSamples],
    quality: RawQuality,
    policy: Policy,
    noise: NoiseFloor | None = None,
    environment: tuple[EnvironmentSnapshot, EnvironmentSnapshot] | None = None,
) -> Comparison:
    """The whole comparison; ``noise`` None leaves the device's noise floor out of account, ``environment``
    is the device before and after.

    Raises ``Refused`` (``result_invalid``) for samples that cannot be compared.
    """
    looks, gates = policy.latency.looks, policy.latency.gates
    confidence = split_confidence(policy.latency.confidence, len(looks), len(gates))
    accuracy = compare_accuracy(quality, policy.accuracy)
    mode = comparison_mode(baseline.precision, candidate.precision)
    shape_match = _shape(baseline) == _shape(candidate)
    unlike = unlike_conditions(baseline, candidate)
    waits_told = True
    if environment is not None:
        unlike += changed_conditions(*environment)
        waits_told = all(one.waits_told for one in environment)
    measured = (compare_latency(pairs, gate.metric, gate.margin_pct, confidence) for gate in gates)
    latency = tuple(measured) if shape_match and not unlike else tuple(map(_not_laid_on_candidate, measured))
    conditions = measured_under(pairs)
    floors = {} if noise is None else floors_under(noise, conditions.background, pairs)
    tight = tuple(too_tight(latency, floors))
    unknown = () if noise is None else tuple(without_floor(latency, floors))
    return Comparison(
        compare_key=candidate.compare_key,
        backend_key=candidate.backend_key,
        comparison_mode=mode,
        precision_pair=f"{baseline.precision}_vs_{candidate.precision}",
        pairs=len(pairs),
        look=sum(1 for look in looks if look <= len(pairs)),
        background=conditions.background if waits_told else None,
        contaminated=conditions.contaminated,
        unstable_pairs=conditions.unstable_pairs,
        noise_pct=floors,
        noise_supported=all(gate.stands for gate in tight) and not unknown,
        shape_match=shape_match,
        system_match=not unlike,
        overall=overall(mode, shape_match, latency_fact(latency), accuracy_fact(accuracy)),
        latency=latency,
        shown=tuple(
            estimate_whole(pairs, metric, confidence)
            for metric in SHOWN
            if metric not in {gate.metric for gate in gates}
        ),
        percentiles=certify(pairs),
        accuracy=accuracy,
        agreement=compare_agreement(quality, policy.agreement),
        notes=(
            *_usable_notes(pairs, policy),
            *conditions.words(),
            *(() if waits_told else (UNSEEN_LOAD,)),
            *(() if noise is None else widened_words(noise, conditions.background)),
            *(gate.words() for gate in tight),
            *unknown,
            *(f"conditions differ: {one}" for one in unlike),
        ),
    )


def comparison_mode(baseline: str, candidate: str) -> Mode:
    """Whether both sides have the same precision, whatever its spelling."""
    return "same_precision" if baseline.lower() == candidate.lower() else "cross_precision"


def latency_fact(latency: Sequence[LatencyComparison]) -> LatencyFact:
    """All gates together: the gravest of them; ``improved`` if the first gate, the primary one, is.

    A gate that is not decidable here says nothing.
    """
    verdicts = {gate.verdict for gate in latency}
    if "regression" in verdicts:
        return "regression"
    if "inconclusive" in verdicts:
        return "inconclusive"
    return "improved" if latency[0].improved else "no_regression"


def accuracy_fact(accuracy: AccuracyComparison | None) -> AccuracyFact:
    """The accuracy's verdict; ``improved`` if even the lower limit is a gain."""
    if accuracy is None:
        return "unmeasured"
    return "improved" if accuracy.difference_low_pp > 0 else accuracy.verdict


def overall(mode: Mode, shape_match: bool, latency: LatencyFact, accuracy: AccuracyFact) -> Overall:
    """One label for the pair; the gravest that applies.

    Across precisions speed is one side of a trade, so its labels are the trade-off ones; a loss of
    accuracy or a want of evidence is the same thing in both modes.
    """
    cross = mode == "cross_precision"
    if not shape_match:
        return "mismatch"
    if latency == "regression":
        return "tradeoff_slower" if cross else "regression"
    if accuracy == "regression":
        return "regression"
    if "inconclusive" in (latency, accuracy):
        return "inconclusive"
    if latency == "improved":
        return "tradeoff_faster" if cross else "improvement"
    if cross:
        return "tradeoff_neutral"
    return "improvement" if accuracy == "improved" else "neutral"


def _not_laid_on_candidate(gate: LatencyComparison) -> LatencyComparison:
    """As it is read where shapes or conditions differ: they may be why the candidate is slower."""
    if gate.verdict != "regression":
        return gate
    return msgspec.structs.replace(gate, verdict="inconclusive")


def unlike_conditions(baseline: RuntimeResult, candidate: RuntimeResult) -> tuple[str, ...]:
    """What makes the comparison conditional: facts of system, backend and run that the sides do not share."""
    before, after = baseline.system, candidate.system
    unlike = [
        f"{name} {getattr(before, name)} against {getattr(after, name)}"
        for name in before.__struct_fields__
        if getattr(before, name) != getattr(after, name)
    ]
    ran, reran = baseline.run_config, candidate.run_config
    unlike += [
        f"{name} {getattr(ran, name)} against {getattr(reran, name)}"
        for name in CONDITIONS
        if getattr(ran, name) != getattr(reran, name)
    ]
    if baseline.backend_key != candidate.backend_key:
        unlike.append(f"backend_key {baseline.backend_key} against {candidate.backend_key}")
    return tuple(unlike)


def _shape(result: RuntimeResult) -> tuple[object, ...]:
    return result.batch, result.height, result.width, result.input_shapes


def _usable_notes(pairs: Sequence[PairSamples], policy: Policy) -> tuple[str, ...]:
    usable = len(pair_values(pairs, policy.latency.gates[0].metric))
    if usable == len(pairs):
        return ()
    return (f"{len(pairs) - usable} of {len(pairs)} process pairs had no usable block and are left out",)
