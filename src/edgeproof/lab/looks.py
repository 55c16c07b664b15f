"""When a measurement may stop: at a planned look, once the verdict is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from edgeproof.contract.comparison import LatencyComparison
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import LatencyMetric
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import DuetPlan
from edgeproof.lab.gates import compare_latency, split_confidence
from edgeproof.lab.percentiles import TAILS, needed


def decided(samples: Sequence[PairSamples], plan: DuetPlan) -> bool:
    """Whether no gate of ``plan`` is open, or one found a regression, which no other gate can mend.

    Never at a number of pairs that is not a planned look. Open is a gate that is inconclusive, or not
    decidable yet and within reach of the last look.

    Raises ``Refused`` (``result_invalid``) for an unknown metric and as ``compare_latency`` does.
    """
    if len(samples) not in plan.looks:
        return False
    gates = gates_at(samples, plan)
    return any(gate.verdict == "regression" for gate in gates) or not any(
        gate.verdict == "inconclusive"
        or (gate.verdict == "not_decidable" and _within_reach(gate.metric, plan))
        for gate in gates
    )


def gates_at(samples: Sequence[PairSamples], plan: DuetPlan) -> tuple[LatencyComparison, ...]:
    """The gates of ``plan`` as they stand with ``samples``. Raises as ``decided``."""
    confidence = split_confidence(plan.confidence, len(plan.looks), len(plan.gates))
    metrics = {_metric(name): margin for name, margin in plan.gates.items()}
    return tuple(compare_latency(samples, metric, margin, confidence) for metric, margin in metrics.items())


def _within_reach(metric: LatencyMetric, plan: DuetPlan) -> bool:
    """Whether the last look could have blocks enough to certify ``metric``."""
    return metric not in TAILS or plan.blocks * max(plan.looks) >= needed(TAILS[metric])


def _metric(name: str) -> LatencyMetric:
    known: tuple[LatencyMetric, ...] = get_args(LatencyMetric)
    for metric in known:
        if metric == name:
            return metric
    raise Refused("result_invalid", f"no latency gate is called {name!r}; known are {', '.join(known)}")
