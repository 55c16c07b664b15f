"""The facts that a policy's rules may ask about, and every value each of them can take.

A policy is checked against this table; ``decide`` fills it in.
"""

from __future__ import annotations

from typing import Final

from edgeproof.contract.comparison import AgreementComparison, Comparison, GuardStatus
from edgeproof.lab.compare import accuracy_fact, latency_fact

FACTS: Final[dict[str, tuple[str, ...]]] = {
    "guard": ("ok", "warning", "error", "skipped", "absent"),
    "latency": ("improved", "no_regression", "inconclusive", "regression"),
    "accuracy": ("improved", "no_regression", "unmeasured", "inconclusive", "regression"),
    "agreement": ("agrees", "disagrees", "unmeasured"),
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


def facts_of(comparison: Comparison, guard: GuardStatus | None, measurement: str) -> dict[str, str]:
    """One value for each fact. ``guard`` None: it was not asked."""
    return {
        "guard": guard or "absent",
        "latency": latency_fact(comparison.latency),
        "accuracy": accuracy_fact(comparison.accuracy),
        "agreement": _agreement(comparison.agreement),
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
