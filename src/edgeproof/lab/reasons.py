"""Facts in plain words, with the intervals they rest on. Shown to people, and part of what is signed."""

from __future__ import annotations

from collections.abc import Iterable

from edgeproof.contract.comparison import (
    AccuracyComparison,
    AgreementComparison,
    CertifiedPercentile,
    Comparison,
    GuardAnalysis,
    LatencyComparison,
)


def details(names: Iterable[str], comparison: Comparison, guard: GuardAnalysis | None) -> tuple[str, ...]:
    """One sentence or more for each fact named; ``overall`` stands for latency and accuracy."""
    asked = set(names)
    if "overall" in asked:
        asked |= {"latency", "accuracy"}
    said: list[str] = []
    if "guard" in asked:
        said.append(guard_words(guard))
    if "latency" in asked:
        said += [latency_words(gate, comparison) for gate in comparison.latency]
    if "accuracy" in asked:
        said.append(accuracy_words(comparison.accuracy))
    if asked & {"agreement", "outputs"}:
        said.append(agreement_words(comparison.agreement))
    if "shape" in asked and not comparison.shape_match:
        said.append("baseline and candidate were fed different shapes")
    if asked & {"latency", "stability", "noise", "system", "shape"}:
        said += comparison.notes
    return tuple(said)


def latency_words(gate: LatencyComparison, comparison: Comparison) -> str:
    """For example ``p50 ratio 0.5213 [0.5102, 0.5304] is inside the 3 % margin, and faster (…)``."""
    basis = f"{100 * gate.confidence:.4g} % interval, {comparison.pairs} process pairs"
    if gate.verdict == "not_decidable":
        why = undecidable_words(gate, comparison.percentiles)
        return f"{gate.metric} ratio {gate.ratio:.4f} is not decidable here: {why} ({basis})"
    if gate.ratio_low is None or gate.ratio_high is None:
        return f"{gate.metric} ratio {gate.ratio:.4f} has no {basis}: too few usable pairs"
    where = {
        "no_regression": f"is inside the {gate.margin_pct:g} % margin",
        "regression": f"is wholly beyond the {gate.margin_pct:g} % margin",
        "inconclusive": inconclusive_words(gate, comparison),
    }[gate.verdict]
    faster = " and faster" if gate.improved else ""
    interval = f"[{gate.ratio_low:.4f}, {gate.ratio_high:.4f}]"
    return f"{gate.metric} ratio {gate.ratio:.4f} {interval} {where}{faster} ({basis})"


def conditions_words(comparison: Comparison) -> str:
    """One sentence: noise floor, background load, contaminated blocks, warm-up."""
    floors = ", ".join(
        f"{gate.metric} {comparison.noise_pct[gate.metric]:.3g} %"
        for gate in comparison.latency
        if gate.metric in comparison.noise_pct
    )
    unstable = ", ".join(map(str, comparison.unstable_pairs))
    said = (
        f"this device's noise floor is {floors}" if floors else "this device's noise floor is not known",
        *_load_words(comparison),
        f"the warm-up of process pair {unstable} never came to rest"
        if unstable
        else "every warm-up came to rest",
    )
    text = "; ".join(said)
    return text[0].upper() + text[1:] + "."


def _load_words(comparison: Comparison) -> tuple[str, str]:
    contaminated = f"{comparison.contaminated or 'no'} contaminated blocks"
    if comparison.background is None:
        return "background load: not told by this device", f"{contaminated} as far as that can be seen"
    waited = f"{100 * comparison.background:.2g} %"
    return f"background load: blocks waited {waited} of their time for a processor", contaminated


def certificate_words(percentile: CertifiedPercentile) -> str:
    """``certified`` or ``not certified (48 of 64)``, by the side with fewer blocks."""
    blocks = min(percentile.baseline_blocks, percentile.candidate_blocks)
    return "certified" if percentile.certified else f"not certified ({blocks} of {percentile.needed})"


def inconclusive_words(gate: LatencyComparison, comparison: Comparison) -> str:
    """What is wanting: blocks, the same shapes and conditions, or an interval on one side of the margin."""
    for percentile in comparison.percentiles:
        if percentile.metric == gate.metric and not percentile.certified:
            return f"is {certificate_words(percentile)} blocks, too few to hold it against a margin"
    alike = comparison.shape_match and comparison.system_match
    if not alike and gate.ratio_low is not None and gate.ratio_low > 1 + gate.margin_pct / 100:
        return f"is wholly beyond the {gate.margin_pct:g} % margin, but not under the same conditions"
    return f"straddles the {gate.margin_pct:g} % margin"


def undecidable_words(gate: LatencyComparison, percentiles: Iterable[CertifiedPercentile]) -> str:
    """What is wanting: blocks, or an interval narrower than the margin."""
    for percentile in percentiles:
        if percentile.metric == gate.metric and not percentile.certified:
            return f"{certificate_words(percentile)} blocks"
    if gate.ratio_low is None or gate.ratio_high is None:
        return "too few usable pairs for an interval"
    wide = 100 * (gate.ratio_high - gate.ratio_low)
    return f"the interval is {wide:.2g} points wide, the margin {gate.margin_pct:g} %"


def accuracy_words(accuracy: AccuracyComparison | None) -> str:
    """Both accuracies, their difference with its one-sided limits, and where that lies."""
    if accuracy is None:
        return "accuracy was not measured"
    where = {
        "no_regression": f"is inside the {accuracy.margin_pp:g} pp margin",
        "regression": f"is wholly beyond the {accuracy.margin_pp:g} pp margin",
        "inconclusive": f"straddles the {accuracy.margin_pp:g} pp margin",
    }[accuracy.verdict]
    words = (
        f"top-1 accuracy {100 * accuracy.candidate:.2f} % against {100 * accuracy.baseline:.2f} %: "
        f"difference {accuracy.difference_pp:+.2f} pp "
        f"[{accuracy.difference_low_pp:+.2f}, {accuracy.difference_high_pp:+.2f}] {where} "
        f"(one-sided {100 * accuracy.confidence:.4g} % limits, {accuracy.samples} samples"
    )
    if accuracy.clusters != accuracy.samples:
        words += f" of {accuracy.clusters} originals"
    if accuracy.samples_needed is not None:
        words += f"; about {accuracy.samples_needed} such samples would decide"
    return words + ")"


def agreement_words(agreement: AgreementComparison | None) -> str:
    """Top-1 agreement, median cosine and relative error, the largest error."""
    if agreement is None:
        return "no outputs were compared"
    classes = "" if agreement.top1 is None else f"the same top-1 class in {100 * agreement.top1:.2f} %, "
    return (
        f"outputs on {agreement.samples} inputs: {classes}median cosine {agreement.median_cosine:.4f}, "
        f"median relative error {agreement.median_relative_error:.2g}, "
        f"largest error {agreement.max_abs_error:.3g}"
    )


def guard_words(guard: GuardAnalysis | None) -> str:
    """The guard's verdict and its main reason."""
    if guard is None:
        return "the guard was not asked"
    return f"guard {guard.status} ({guard.guard_verdict}): {guard.primary_reason.rstrip('.')}"
