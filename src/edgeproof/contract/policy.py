"""The decision policy: gates, margins and the rule table, as data. TOML in, canonical bytes out."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgeproof.contract.base import Signed
from edgeproof.contract.ids import IdText
from edgeproof.contract.runners import Isolation

Decision = Literal["deployable", "deployable_with_note", "review_required", "blocked", "unknown"]
LatencyMetric = Literal["p50", "p90", "mean", "p95", "p99"]
Positive = Annotated[float, Meta(gt=0, le=100)]
Confidence = Annotated[float, Meta(gt=0.5, lt=1)]


class LatencyGate(Signed, frozen=True, kw_only=True):
    """A non-inferiority margin on the paired ratio of ``metric``, in percent.

    The mean, p95 and p99 gate only where the evidence can decide them: certified on both sides, and an
    interval narrower than the margin. Otherwise they are ``not_decidable``, which sends nothing to review.
    """

    metric: LatencyMetric
    margin_pct: Positive


class LatencyPolicy(Signed, frozen=True, kw_only=True):
    """``looks`` are the planned numbers of process pairs at which the evidence may be judged."""

    confidence: Confidence
    looks: Annotated[tuple[Annotated[int, Meta(ge=8, le=64)], ...], Meta(min_length=1, max_length=3)]
    gates: Annotated[tuple[LatencyGate, ...], Meta(min_length=1, max_length=5)]


class AccuracyPolicy(Signed, frozen=True, kw_only=True):
    """One-sided limit of the paired difference against ``margin_pp`` percentage points."""

    confidence: Confidence
    margin_pp: Positive


class AgreementPolicy(Signed, frozen=True, kw_only=True):
    """Without labels: the least share of equal top-1 classes and the least median cosine.

    The cosine is blind to scale, so the median relative error has a bound too.
    """

    min_top1: Annotated[float, Meta(ge=0, le=1)]
    min_cosine: Annotated[float, Meta(ge=-1, le=1)]
    max_relative_error: Positive


class GuardThresholds(Signed, frozen=True, kw_only=True):
    """Top-1 accuracy drop in percentage points that guard calls a failure, and disagreement shares."""

    accuracy_drop_pp_warning: Positive
    accuracy_drop_pp_failed: Positive
    disagreement_warning: Annotated[float, Meta(gt=0, le=1)]
    disagreement_failed: Annotated[float, Meta(gt=0, le=1)]
    latency_regression_pct: Positive


class Rule(Signed, frozen=True, kw_only=True):
    """Fires when every fact named in ``when`` has one of the values listed for it.

    The decision is that of the gravest rule that fires: blocked, review_required, unknown,
    deployable_with_note, deployable. ``effect`` and ``action`` are shown to people.
    """

    id: IdText
    when: dict[str, tuple[str, ...]]
    decision: Decision
    effect: Annotated[str, Meta(min_length=1, max_length=500)]
    action: Annotated[str, Meta(min_length=1, max_length=500)]


class Policy(Signed, frozen=True, kw_only=True):
    """``edgeproof-policy-v1``."""

    schema_version: Literal["edgeproof-policy-v1"]
    name: IdText
    version: Annotated[int, Meta(ge=1)]
    min_isolation: Isolation
    latency: LatencyPolicy
    accuracy: AccuracyPolicy
    agreement: AgreementPolicy
    guard: GuardThresholds
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1, max_length=100)]
