"""Are the answers as good: top-1 accuracy on labels, agreement of the outputs without them."""

from __future__ import annotations

from statistics import median

from edgeproof.contract.canonical import round6
from edgeproof.contract.comparison import AccuracyComparison, AgreementComparison, Verdict
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import AccuracyPolicy, AgreementPolicy
from edgeproof.contract.samples import RawQuality
from edgeproof.lab.proportions import Limits, effective_counts, samples_to, score_limits


def compare_accuracy(quality: RawQuality, policy: AccuracyPolicy) -> AccuracyComparison | None:
    """Top-1 of both sides against the labels; None without labels or without class scores.

    Raises ``Refused`` (``result_invalid``) when the lists differ in length.
    """
    _check_lengths(quality)
    labels, groups = quality.labels, quality.groups
    before, after = quality.baseline.predictions, quality.candidate.predictions
    if not labels or before is None or after is None:
        return None
    differences = [
        (new == label) - (old == label) for label, old, new in zip(labels, before, after, strict=True)
    ]
    counts = effective_counts(differences, groups)
    limits = score_limits(counts, policy.confidence)
    low, high = round6(100 * limits.low), round6(100 * limits.high)
    verdict = accuracy_verdict(low, high, policy.margin_pp)
    samples = len(labels)
    return AccuracyComparison(
        baseline=round6(sum(map(int.__eq__, before, labels)) / samples),
        candidate=round6(sum(map(int.__eq__, after, labels)) / samples),
        difference_pp=round6(100 * sum(differences) / samples),
        difference_low_pp=low,
        difference_high_pp=high,
        confidence=round6(policy.confidence),
        margin_pp=round6(policy.margin_pp),
        baseline_only_correct=differences.count(-1),
        candidate_only_correct=differences.count(1),
        samples=samples,
        clusters=samples if groups is None else len(set(groups)),
        verdict=verdict,
        samples_needed=(
            samples_to(lambda at: _decides(at, policy.margin_pp), counts, samples, policy.confidence)
            if verdict == "inconclusive"
            else None
        ),
    )


def accuracy_verdict(low_pp: float, high_pp: float, margin_pp: float) -> Verdict:
    """The loss is surely within the margin, surely beyond it, or neither."""
    if low_pp >= -margin_pp:
        return "no_regression"
    return "regression" if high_pp < -margin_pp else "inconclusive"


def compare_agreement(quality: RawQuality, policy: AgreementPolicy) -> AgreementComparison | None:
    """Candidate's outputs against the baseline's on the same inputs; None without a sample.

    Raises ``Refused`` (``result_invalid``) when the lists differ in length.
    """
    _check_lengths(quality)
    if quality.samples == 0:
        return None
    before, after = quality.baseline.predictions, quality.candidate.predictions
    top1 = None
    if before is not None and after is not None:
        top1 = round6(sum(map(int.__eq__, before, after)) / quality.samples)
    cosine = round6(median(quality.cosine))
    relative = round6(median(quality.relative_error))
    agrees = (
        cosine >= policy.min_cosine
        and relative <= policy.max_relative_error
        and (top1 is None or top1 >= policy.min_top1)
    )
    return AgreementComparison(
        samples=quality.samples,
        top1=top1,
        median_cosine=cosine,
        median_relative_error=relative,
        max_abs_error=round6(max(quality.max_abs_error)),
        verdict="agrees" if agrees else "disagrees",
    )


def _decides(limits: Limits, margin_pp: float) -> bool:
    return accuracy_verdict(100 * limits.low, 100 * limits.high, margin_pp) != "inconclusive"


def _check_lengths(quality: RawQuality) -> None:
    lists = {
        "labels": quality.labels,
        "groups": quality.groups,
        "baseline.predictions": quality.baseline.predictions,
        "candidate.predictions": quality.candidate.predictions,
        "cosine": quality.cosine,
        "max_abs_error": quality.max_abs_error,
        "relative_error": quality.relative_error,
    }
    for name, values in lists.items():
        if values is not None and len(values) != quality.samples:
            raise Refused("result_invalid", f"{name} has {len(values)} values for {quality.samples} samples")
