"""The facts that a policy's rules may ask about, and every value each of them can take.

A policy is checked against this table; ``decide`` fills it in. ``outputs`` tells whether both sides' outputs
are scores of classes, ``inputs`` what they were fed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final, Literal, get_args

from edgeproof.contract.comparison import AgreementComparison, Comparison, GuardStatus
from edgeproof.lab.compare import AccuracyFact, LatencyFact, Mode, accuracy_fact, latency_fact, overall

Inputs = Literal["dataset", "random"]

FACTS: Final[dict[str, tuple[str, ...]]] = {
    "guard": ("ok", "warning", "error", "skipped", "absent"),
    "latency": ("improved", "no_regression", "inconclusive", "regression"),
    "accuracy": ("improved", "no_regression", "unmeasured", "inconclusive", "regression"),
    "agreement": ("agrees", "disagrees", "unmeasured"),
    "outputs": ("classes", "other"),
    "inputs": ("dataset", "random"),
    "shape": ("match", "mismatch"),
    "system": ("match", "mismatch"),
    "mode": ("same_precision", "cross_precision"),
    "stability": ("stable", "unstable"),
    "noise": ("supported", "too_tight"),
    "measurement": ("measured", "estimated", "simulated"),
    "overall": (
        "improvement",
        "neutral",
        "regression",
        "inconclusive",
        "tradeoff_faster",
        "tradeoff_neutral",
        "tradeoff_slower",
        "mismatch",
    ),
}
FREE: Final = tuple(name for name in FACTS if name != "overall")
"""All but ``overall``, which follows from others."""


def cases(values: Mapping[str, Sequence[str]] = FACTS) -> Iterator[dict[str, str]]:
    """Every combination of these values of the ``FREE`` facts that can be, each with its ``overall``.

    Accuracy is measured by labels, which only classes of a data set have.
    """
    for chosen in product(*(values[name] for name in FREE)):
        facts = dict(zip(FREE, chosen, strict=True))
        labelled = (facts["outputs"], facts["inputs"]) == ("classes", "dataset")
        if labelled or facts["accuracy"] == "unmeasured":
            yield {**facts, "overall": _overall(facts)}


def facts_of(
    comparison: Comparison, guard: GuardStatus | None, measurement: str, inputs: Inputs
) -> dict[str, str]:
    """One value for each fact. ``guard`` None: it was not asked."""
    return {
        "guard": guard or "absent",
        "latency": latency_fact(comparison.latency),
        "accuracy": accuracy_fact(comparison.accuracy),
        "agreement": _agreement(comparison.agreement),
        "outputs": _outputs(comparison.agreement),
        "inputs": inputs,
        "shape": "match" if comparison.shape_match else "mismatch",
        "system": "match" if comparison.system_match else "mismatch",
        "mode": comparison.comparison_mode,
        "stability": "unstable" if comparison.unstable_pairs else "stable",
        "noise": "supported" if comparison.noise_supported else "too_tight",
        "measurement": measurement,
        "overall": comparison.overall,
    }


def _agreement(agreement: AgreementComparison | None) -> str:
    return "unmeasured" if agreement is None else agreement.verdict


def _outputs(agreement: AgreementComparison | None) -> str:
    return "other" if agreement is None or agreement.top1 is None else "classes"


def _overall(facts: Mapping[str, str]) -> str:
    return overall(
        _one_of(Mode, facts["mode"]),
        facts["shape"] == "match",
        _one_of(LatencyFact, facts["latency"]),
        _one_of(AccuracyFact, facts["accuracy"]),
    )


def _one_of(choices: Any, value: str) -> Any:
    if value not in get_args(choices):
        raise ValueError(f"{value!r} is none of {get_args(choices)}")
    return value
