"""Whether one policy is another one made stricter: no evidence may get a milder decision under it.

Checked part by part. What has no direction that is surely stricter must be equal: a wider confidence or one
more gate widens every interval, which can turn a regression into a mere lack of evidence; a smaller margin
of a tail can make it not decidable. Rules may be added that are never milder than no rule at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.policy import Decision, Policy
from edgeproof.contract.runners import ISOLATION_ORDER
from edgeproof.lab.decide import GRAVITY, fired
from edgeproof.lab.facts import FREE, cases
from edgeproof.lab.gates import ALWAYS_DECIDABLE

# Which way a number may move. What is not named here may not move at all.
_MAY: Final[dict[str, Literal["fall", "rise"]]] = {
    "accuracy.margin_pp": "fall",
    "agreement.min_top1": "rise",
    "agreement.min_cosine": "rise",
    "agreement.max_relative_error": "fall",
    "guard.accuracy_drop_pp_warning": "fall",
    "guard.accuracy_drop_pp_failed": "fall",
    "guard.disagreement_warning": "fall",
    "guard.disagreement_failed": "fall",
    "guard.latency_regression_pct": "fall",
}
_FREE: Final = ("name", "version")
# From good to bad: where stricter numbers can move a fact.
_WORSE: Final[dict[str, tuple[str, ...]]] = {
    "guard": ("ok", "warning", "error"),
    "latency": ("improved", "no_regression", "inconclusive", "regression"),
    "accuracy": ("improved", "no_regression", "inconclusive", "regression"),
    "agreement": ("agrees", "disagrees"),
    "noise": ("supported", "too_tight"),
}
_ADDED: Final[tuple[Decision, ...]] = GRAVITY[: GRAVITY.index("unknown") + 1]


def check_tighter(kept: Policy, asked: Policy) -> None:
    """Raises ``Refused`` (``policy_not_allowed``) naming all that is not surely as strict in ``asked``."""
    errors = tuple(FieldError(path=path, message=message) for path, message in _violations(kept, asked))
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise Refused("policy_not_allowed", f"{errors[0].path}: {errors[0].message}{more}", errors=errors)


def _violations(kept: Policy, asked: Policy) -> Iterator[tuple[str, str]]:
    yield from _numbers(kept, asked)
    yield from _gates(kept, asked)
    yield from _rules(kept, asked)
    if ISOLATION_ORDER.index(asked.min_isolation) < ISOLATION_ORDER.index(kept.min_isolation):
        yield "$.min_isolation", f"it may not be less than {kept.min_isolation}"
    if not _monotone(asked):
        yield "$.rules", "a worse fact is decided more mildly, so that stricter numbers could be milder"


def _numbers(kept: Policy, asked: Policy) -> Iterator[tuple[str, str]]:
    before, after = _flat(kept), _flat(asked)
    for path, old in before.items():
        new = after[path]
        direction = _MAY.get(path)
        if direction is None and old != new:
            yield f"$.{path}", f"it must stay {old}"
        elif direction == "fall" and not (new <= old):
            yield f"$.{path}", f"it may not rise above {old:g}"
        elif direction == "rise" and not (new >= old):
            yield f"$.{path}", f"it may not fall below {old:g}"


def _gates(kept: Policy, asked: Policy) -> Iterator[tuple[str, str]]:
    metrics = [gate.metric for gate in kept.latency.gates]
    if [gate.metric for gate in asked.latency.gates] != metrics:
        yield "$.latency.gates", f"the gates must stay {', '.join(metrics)}, in this order"
        return
    for index, (old, new) in enumerate(zip(kept.latency.gates, asked.latency.gates, strict=True)):
        path = f"$.latency.gates[{index}].margin_pct"
        if new.margin_pct > old.margin_pct:
            yield path, f"it may not rise above {old.margin_pct:g}"
        elif old.metric not in ALWAYS_DECIDABLE and new.margin_pct != old.margin_pct:
            yield path, f"the margin of {old.metric} must stay {old.margin_pct:g}"


def _rules(kept: Policy, asked: Policy) -> Iterator[tuple[str, str]]:
    new = {rule.id: (index, rule) for index, rule in enumerate(asked.rules)}
    for old in kept.rules:
        if old.id not in new:
            yield "$.rules", f"the rule {old.id} is missing"
            continue
        index, rule = new.pop(old.id)
        if {fact: set(values) for fact, values in rule.when.items()} != {
            fact: set(values) for fact, values in old.when.items()
        }:
            yield f"$.rules[{index}].when", f"the conditions of {old.id} must stay as they are"
        if GRAVITY.index(rule.decision) > GRAVITY.index(old.decision):
            yield f"$.rules[{index}].decision", f"{old.id} may not be milder than {old.decision}"
    for index, rule in new.values():
        if rule.decision not in _ADDED:
            yield f"$.rules[{index}].decision", f"an added rule must be one of {', '.join(_ADDED)}"


def _monotone(policy: Policy) -> bool:
    """Whether no fact that gets worse, all else equal, gets a milder decision. Every case is tried."""
    gravity = {
        tuple(facts[name] for name in FREE): GRAVITY.index(fired(policy.rules, facts)[0].decision)
        for facts in cases()
    }
    for values, grave in gravity.items():
        facts = dict(zip(FREE, values, strict=True))
        for name, moved in _moves(facts):
            if gravity[tuple({**facts, name: moved}.values())] > grave:
                return False
    return True


def _moves(facts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """To where stricter numbers can move one fact, all others equal."""
    for name, order in _WORSE.items():
        place = order.index(facts[name]) + 1 if facts[name] in order else len(order)
        if place < len(order):
            yield name, order[place]
    # From a smaller margin a regression is further, and so it may become clear of the noise floor.
    if facts["latency"] == "regression" and facts["noise"] == "too_tight":
        yield "noise", "supported"


def _flat(policy: Policy) -> dict[str, Any]:
    """Every value by its dotted path, but for those with a rule of their own."""
    values: dict[str, Any] = {}
    for part, told in msgspec.to_builtins(policy).items():
        if part in (*_FREE, "rules", "min_isolation"):
            continue
        if isinstance(told, dict):
            values.update(
                {f"{part}.{name}": one for name, one in told.items() if (part, name) != ("latency", "gates")}
            )
        else:
            values[part] = told
    return values
