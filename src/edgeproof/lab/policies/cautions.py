"""What a valid policy does not hold back, though it looks as if it did. Warned of, never refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from edgeproof.contract.errors import FieldError
from edgeproof.contract.policy import Policy, Rule
from edgeproof.lab.decide import DEPLOYS, HELD, fired
from edgeproof.lab.facts import FACTS, FREE, cases
from edgeproof.lab.percentiles import TAILS, needed
from edgeproof.lab.plan import BLOCKS

DOUBTFUL: Final[Mapping[str, tuple[str, ...]]] = {
    "latency": ("regression", "inconclusive"),
    "accuracy": ("regression", "inconclusive"),
    "shape": ("mismatch",),
    "measurement": ("estimated", "simulated"),
}
"""What a policy may deploy, but should not by mistake."""


def cautions(policy: Policy) -> Iterator[FieldError]:
    """A gate that no measurement under this policy can certify, cases that only Edgeproof holds back, and
    ``DOUBTFUL`` ones that are deployed.
    """
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
    yield from _deployed(policy.rules)


def _deployed(rules: Sequence[Rule]) -> Iterator[FieldError]:
    """A warning for each fact of which some ``DOUBTFUL`` value is deployed, whatever else has to be so."""
    held = (*rules, *HELD)
    # What one rule keeps back by itself need not be tried with all the rest.
    open_ = {
        name: tuple(value for value in FACTS[name] if not _all_held_back(held, {name: (value,)}))
        for name in FREE
    }
    for fact, doubtful in DOUBTFUL.items():
        by: dict[str, str] = {}
        for value in doubtful:
            if value in open_[fact] and (rule := _deploying(rules, {**open_, fact: (value,)})):
                by[value] = rule.id
        if by:
            yield FieldError(
                path="$.rules",
                message=(
                    f"cases where {fact} is {' or '.join(by)} are deployed, as by "
                    f"{' and '.join(dict.fromkeys(by.values()))}: no rule keeps all of them back"
                ),
            )


def _deploying(rules: Sequence[Rule], values: Mapping[str, Sequence[str]]) -> Rule | None:
    """The rule that decides in a case of these values that is deployed."""
    for facts in cases(values):
        first = fired(rules, facts)[0]
        if first.decision in DEPLOYS:
            return first
    return None


def _all_held_back(rules: Sequence[Rule], facts: Mapping[str, Sequence[str]]) -> bool:
    """Whether one rule by itself, whatever else is so, keeps back these facts."""
    return any(
        rule.decision not in DEPLOYS
        and all(name in facts and set(facts[name]) <= set(values) for name, values in rule.when.items())
        for rule in rules
    )
