"""From process pairs to verdicts: each trial is a measurement as a job has it, judged by the lab.

A trial takes the next pairs of its stream up to a planned look at which the lab calls it decided, or to the
last one; the next trial begins with the pair after. So no two trials of a row share a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Policy
from edgeproof.contract.requests import AnalyzeOptions
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import DuetPlan
from edgeproof.lab.compare import latency_fact
from edgeproof.lab.looks import decided, gates_at
from edgeproof.lab.plan import duet_plan
from edgeproof.lab.policies import default_policy

Verdict = Literal["improved", "no_regression", "inconclusive", "regression"]
PASSED: Final[frozenset[Verdict]] = frozenset({"improved", "no_regression"})


def policy_at(margin_pct: float) -> Policy:
    """The default policy with another margin for the median; all else, the p90 gate included, is kept."""
    policy = default_policy()
    primary, *others = policy.latency.gates
    gates = (msgspec.structs.replace(primary, margin_pct=margin_pct), *others)
    return msgspec.structs.replace(policy, latency=msgspec.structs.replace(policy.latency, gates=gates))


def plan_of(policy: Policy) -> DuetPlan:
    """What a job that asks for nothing special is measured by."""
    return duet_plan(policy, AnalyzeOptions())


def verdict_of(pairs: Sequence[PairSamples], policy: Policy) -> Verdict:
    """All gates together, as the decision sees them; pairs that cannot be compared decide nothing."""
    try:
        return latency_fact(gates_at(pairs, plan_of(policy)))
    except Refused:
        return "inconclusive"


@dataclass
class Trials:
    """The trials of one stream of pairs: one model, one variant, one condition, one policy."""

    policy: Policy
    _pairs: list[PairSamples] = field(default_factory=list)

    def add(self, pair: PairSamples) -> Verdict | None:
        """The verdict that this pair completes, if it does."""
        self._pairs.append(msgspec.structs.replace(pair, index=len(self._pairs)))
        if len(self._pairs) < max(self.policy.latency.looks) and not self._decided():
            return None
        told = verdict_of(self._pairs, self.policy)
        self._pairs.clear()
        return told

    def _decided(self) -> bool:
        try:
            return decided(self._pairs, plan_of(self.policy))
        except Refused:
            return False
