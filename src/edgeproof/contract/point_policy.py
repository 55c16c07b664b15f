"""A policy over two point results without samples: the originals' thresholds and rule table, as data.

It can only ever judge unsigned results: numbers without samples have no intervals.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgeproof.contract.base import Signed, Wire
from edgeproof.contract.comparison import GuardStatus, Overall, Reason
from edgeproof.contract.ids import Digest, IdText
from edgeproof.contract.policy import Decision, Rule

Percent = Annotated[float, Meta(gt=-100, lt=100)]

LatencyLabel = Literal["improvement", "neutral", "regression", "unknown", "not_comparable"]
AccuracyLabel = Literal["improvement", "neutral", "regression", "unknown", "not_comparable"]
Comparability = Literal["yes", "conditional", "no"]
TradeoffRisk = Literal[
    "not_applicable", "not_beneficial", "unknown_risk", "no_clear_tradeoff", "severe_tradeoff",
    "risky_tradeoff", "caution_tradeoff", "acceptable_tradeoff",
]  # fmt: skip


class PointThresholds(Signed, frozen=True, kw_only=True):
    """All inclusive. Latency in percent of the baseline, accuracy in percentage points."""

    latency_improve_pct: Percent
    latency_regress_pct: Percent
    accuracy_improve_pp: Percent
    accuracy_regress_pp: Percent
    tradeoff_caution_pp: Percent
    tradeoff_risky_pp: Percent
    tradeoff_severe_pp: Percent


class ThresholdChanges(Wire, frozen=True, kw_only=True):
    """Some of ``PointThresholds``, for one comparison; None leaves the policy's."""

    latency_improve_pct: Percent | None = None
    latency_regress_pct: Percent | None = None
    accuracy_improve_pp: Percent | None = None
    accuracy_regress_pp: Percent | None = None
    tradeoff_caution_pp: Percent | None = None
    tradeoff_risky_pp: Percent | None = None
    tradeoff_severe_pp: Percent | None = None


class PointPolicy(Signed, frozen=True, kw_only=True):
    """``edgeproof-point-policy-v1``."""

    schema_version: Literal["edgeproof-point-policy-v1"]
    name: IdText
    thresholds: PointThresholds
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1, max_length=100)]


class PointDelta(Wire, frozen=True, kw_only=True):
    """``delta_pct`` is None where the baseline is 0 or either side is missing."""

    base: float | None
    new: float | None
    delta: float | None
    delta_pct: float | None
    delta_pp: float | None = None


class PointJudgement(Wire, frozen=True, kw_only=True):
    """Seed 000's ``judgement``, and how far the two may be compared at all."""

    overall: Overall
    comparability: Comparability
    shape_match: bool
    system_match: bool
    precision_match: bool
    run_config_match: bool
    run_config_mismatch_fields: tuple[str, ...]
    comparison_mode: Literal["same_precision", "cross_precision"]
    precision_pair: str
    mean_ms: LatencyLabel
    p99_ms: LatencyLabel
    accuracy: AccuracyLabel
    accuracy_metric: str | None
    accuracy_present: bool
    tradeoff_risk: TradeoffRisk
    thresholds: PointThresholds
    summary: str
    notes: tuple[str, ...]


class PointComparison(Wire, frozen=True, kw_only=True):
    """Two results side by side. Differences are shown even where they may not be judged."""

    mean_ms: PointDelta
    p50_ms: PointDelta
    p95_ms: PointDelta
    p99_ms: PointDelta
    accuracy: dict[str, PointDelta]
    unlike: tuple[str, ...]
    judgement: PointJudgement


class UnsignedDecision(Wire, frozen=True, kw_only=True):
    """``deployment_decision`` on results that nobody signed: the names of a signed one, and never one itself.

    ``lab_overall`` is None where nothing was compared.
    """

    decision: Decision
    reason: str
    lab_overall: Overall | None
    guard_status: GuardStatus | None
    guard_verdict: str | None
    recommended_action: str
    policy_version: str
    policy_digest: Digest
    triggered_rules: tuple[str, ...]
    reasons: tuple[Reason, ...]
    basis: Literal["unsigned"] = "unsigned"
