"""Policies: TOML text in, a checked ``Policy`` out; and the default one, which ships beside this file.

Which policy an operator keeps, and who may name which, is the server's affair.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources

import msgspec

from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.policy import Policy
from edgeproof.lab.facts import FACTS
from edgeproof.lab.gates import ALWAYS_DECIDABLE, split_confidence
from edgeproof.lab.statistics import limit_rank

_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")


@lru_cache(maxsize=1)
def default_policy() -> Policy:
    """``edgeproof-default``, as packaged."""
    file = resources.files(__name__) / "edgeproof-default.toml"
    return parse_policy(file.read_text(encoding="utf-8"))


def parse_policy(text: str) -> Policy:
    """Raises ``Refused`` (``policy_invalid``), its ``errors`` naming each offending place and why."""
    try:
        policy = msgspec.convert(tomllib.loads(text), Policy)
    except tomllib.TOMLDecodeError as error:
        raise Refused("policy_invalid", f"not TOML: {error}") from error
    except msgspec.ValidationError as error:
        message = str(error)
        found = _PATH.search(message)
        path = found["path"] if found else "$"
        raise _invalid([FieldError(path=path, message=_PATH.sub("", message))]) from error
    check_policy(policy)
    return policy


def check_policy(policy: Policy) -> None:
    """What the form alone does not say. Raises ``Refused`` (``policy_invalid``) with every violation."""
    if errors := [FieldError(path=path, message=message) for path, message in _violations(policy)]:
        raise _invalid(errors)


def _violations(policy: Policy) -> Iterator[tuple[str, str]]:
    latency, guard = policy.latency, policy.guard
    if list(latency.looks) != sorted(set(latency.looks)):
        yield "$.latency.looks", "the looks must increase"
    if len({gate.metric for gate in latency.gates}) != len(latency.gates):
        yield "$.latency.gates", "a metric has two gates"
    if latency.gates[0].metric not in ALWAYS_DECIDABLE:
        yield "$.latency.gates[0].metric", "the first gate must be one that can always decide: p50 or p90"
    confidence = split_confidence(latency.confidence, len(latency.looks), len(latency.gates))
    if limit_rank(max(latency.looks), confidence) == 0:
        yield (
            "$.latency.confidence",
            f"{max(latency.looks)} pairs give no interval at confidence {confidence:.9g}",
        )
    if guard.accuracy_drop_pp_warning > guard.accuracy_drop_pp_failed:
        yield "$.guard.accuracy_drop_pp_warning", "it is above accuracy_drop_pp_failed"
    if guard.disagreement_warning > guard.disagreement_failed:
        yield "$.guard.disagreement_warning", "it is above disagreement_failed"
    names = Counter(rule.id for rule in policy.rules)
    for index, rule in enumerate(policy.rules):
        path = f"$.rules[{index}]"
        if names[rule.id] > 1:
            yield f"{path}.id", f"{rule.id} is used {names[rule.id]} times"
        for fact, values in rule.when.items():
            if fact not in FACTS:
                yield f"{path}.when", f"there is no fact {fact!r}; known are {', '.join(FACTS)}"
                continue
            if not values:
                yield f"{path}.when.{fact}", "no value is listed, so the rule could never fire"
            for value in values:
                if value not in FACTS[fact]:
                    known = ", ".join(FACTS[fact])
                    yield f"{path}.when.{fact}", f"{fact} is never {value!r}; it is one of {known}"


def _invalid(errors: list[FieldError]) -> Refused:
    first, more = errors[0], len(errors) - 1
    rest = f" (and {more} more)" if more else ""
    return Refused("policy_invalid", f"{first.path}: {first.message}{rest}", errors=tuple(errors))
