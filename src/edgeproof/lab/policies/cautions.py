"""What a valid policy does not do, though it looks as if it did. Warned of, never refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgeproof.contract.errors import FieldError
from edgeproof.contract.policy import Policy, Rule
from edgeproof.lab.decide import DEPLOYS, HELD
from edgeproof.lab.percentiles import TAILS, needed
from edgeproof.lab.plan import BLOCKS


def cautions(policy: Policy) -> Iterator[FieldError]:
    """A gate that no measurement under this policy can certify, and cases that only Edgeproof holds back."""
    most = BLOCKS * max(policy.latency.looks)
    for index, gate in enumerate(policy.latency.gates):
        if gate.metric in TAILS and most < (least := needed(TAILS[gate.metric])):
            yield FieldError(
                path=f"$.latency.gates[{index}]",
                message=(
                    f"{gate.metric} can never be certified: {max(policy.latency.looks)} process pairs have "
                    f"at most {most} blocks, and it takes {least}. The gate stays not decidable and holds "
                    "back nothing"
                ),
            )
    for rule in HELD:
        if not _all_held_back(policy.rules, rule.when):
            facts = " and ".join(f"{fact} is {' or '.join(values)}" for fact, values in rule.when.items())
            yield FieldError(
                path="$.rules",
                message=(
                    f"no rule keeps every case from deployment where {facts}: Edgeproof's own {rule.id} "
                    "does, and decides review_required"
                ),
            )


def _all_held_back(rules: Sequence[Rule], facts: Mapping[str, Sequence[str]]) -> bool:
    """Whether one rule by itself, whatever else is so, keeps back these facts."""
    return any(
        rule.decision not in DEPLOYS
        and all(name in facts and set(facts[name]) <= set(values) for name, values in rule.when.items())
        for rule in rules
    )
