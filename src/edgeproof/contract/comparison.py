"""What the Lab concludes from evidence: comparison, guard analysis, decision. All of it is signed."""

from __future__ import annotations

from typing import Literal

from edgeproof.contract.base import Signed
from edgeproof.contract.ids import Digest
from edgeproof.contract.policy import Decision, LatencyMetric

Verdict = Literal["no_regression", "regression", "inconclusive"]
LatencyVerdict = Literal["no_regression", "regression", "inconclusive", "not_decidable"]
Overall = Literal[
    "improvement", "neutral", "regression", "inconclusive",
    "tradeoff_faster", "tradeoff_neutral", "tradeoff_slower", "mismatch",
]  # fmt: skip
GuardStatus = Literal["ok", "warning", "error", "skipped"]


class LatencyEstimate(Signed, frozen=True, kw_only=True):
    """Paired ratio candidate / baseline of one metric, with its interval; below 1 is faster.

    ``confidence`` is that of this one interval, after the split over looks and gates. The limits are
    None where the pairs are too few for an interval at that confidence.
    """

    metric: LatencyMetric
    baseline_ms: float
    candidate_ms: float
    ratio: float
    ratio_low: float | None
    ratio_high: float | None
    confidence: float


class LatencyComparison(LatencyEstimate, frozen=True, kw_only=True):
    """An estimate that gates: against its margin. ``not_decidable``: see ``LatencyGate``."""

    margin_pct: float
    verdict: LatencyVerdict
    improved: bool


class CertifiedPercentile(Signed, frozen=True, kw_only=True):
    """Whether both sides have the ``needed`` unflagged blocks, over all process pairs, for a percentile."""

    metric: LatencyMetric
    confidence: float
    needed: int
    baseline_blocks: int
    candidate_blocks: int
    certified: bool


class AccuracyComparison(Signed, frozen=True, kw_only=True):
    """Top-1 on the labelled set, as fractions; candidate minus baseline in percentage points.

    ``difference_low_pp`` and ``difference_high_pp`` are one-sided limits, each at ``confidence``.
    """

    baseline: float
    candidate: float
    difference_pp: float
    difference_low_pp: float
    difference_high_pp: float
    confidence: float
    margin_pp: float
    baseline_only_correct: int
    candidate_only_correct: int
    samples: int
    clusters: int
    verdict: Verdict
    samples_needed: int | None


class AgreementComparison(Signed, frozen=True, kw_only=True):
    """Candidate against baseline on the same inputs. ``top1`` is None where outputs are no class scores."""

    samples: int
    top1: float | None
    median_cosine: float
    median_relative_error: float
    max_abs_error: float
    verdict: Literal["agrees", "disagrees"]


class Comparison(Signed, frozen=True, kw_only=True):
    """The whole comparison of one measured pair.

    ``background`` is the load that bore on both sides: the median over counted blocks of the share of their
    time that they waited for a processor; None where the device does not tell. ``contaminated`` blocks were
    kept out of the estimate.
    ``unstable_pairs`` are those whose warm-up never came to rest; they count, and the policy says what then.
    ``noise_pct`` is the device's noise floor by metric, widened where it was found under less load than this;
    ``noise_supported`` whether every margin is above it, or its verdict further from the margin than that;
    a floor that could not be found supports none.
    ``shown`` are the latencies that gate nothing here.
    """

    compare_key: str
    backend_key: str
    comparison_mode: Literal["same_precision", "cross_precision"]
    precision_pair: str
    pairs: int
    look: int
    background: float | None
    contaminated: int
    unstable_pairs: tuple[int, ...]
    noise_pct: dict[str, float]
    noise_supported: bool
    shape_match: bool
    system_match: bool
    overall: Overall
    latency: tuple[LatencyComparison, ...]
    shown: tuple[LatencyEstimate, ...]
    percentiles: tuple[CertifiedPercentile, ...]
    accuracy: AccuracyComparison | None
    agreement: AgreementComparison | None
    notes: tuple[str, ...]


class GuardEvidence(Signed, frozen=True, kw_only=True):
    """One diagnosis item of a guard rule; numbers are None where the rule has none.

    A ``warning`` of ``low`` severity is a note: it is shown and changes no verdict. ``increase_factor``
    is observed over baseline; ``raw_context`` holds what else the rule looked at, as text.
    """

    type: str
    metric_name: str
    observed_value: float | str | None
    baseline_value: float | str | None
    threshold: float | None
    delta: float | None
    delta_pct: float | None
    increase_factor: float | None
    severity: Literal["low", "medium", "high", "critical"]
    status: Literal["passed", "warning", "failed", "skipped"]
    explanation: str
    why_it_matters: str
    suspected_causes: tuple[str, ...]
    recommendation: str
    raw_context: dict[str, str]


class GuardAnalysis(Signed, frozen=True, kw_only=True):
    """Guard's answer. It informs the decision and never owns it."""

    status: GuardStatus
    guard_verdict: Literal["pass", "suspicious", "review_required", "blocked", "skipped"]
    severity: Literal["low", "medium", "high", "critical"]
    primary_reason: str
    evidence: tuple[GuardEvidence, ...]
    suspected_causes: tuple[str, ...]
    recommendations: tuple[str, ...]


class Reason(Signed, frozen=True, kw_only=True):
    """Why: a policy rule that fired, the facts that made it fire, and those facts in words."""

    rule: str
    decision: Decision
    effect: str
    facts: dict[str, str]
    details: tuple[str, ...]


class DeploymentDecision(Signed, frozen=True, kw_only=True):
    """Seed 000's ``deployment_decision``, with the policy's name and digest."""

    decision: Decision
    reason: str
    lab_overall: Overall
    guard_status: GuardStatus | None
    guard_verdict: str | None
    recommended_action: str
    policy_version: str
    policy_digest: Digest
    triggered_rules: tuple[str, ...]
    reasons: tuple[Reason, ...]
    basis: Literal["signed", "unsigned"]
