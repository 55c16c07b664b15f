"""Completion by hand: seven objects that agree, and never more than unsigned."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgeproof.cli import exits
from edgeproof.contract.bundle import ResponseBundle
from edgeproof.contract.errors import Refused
from edgeproof.lab.bundle import response_bundle
from edgeproof.lab.dev_bundle import OBJECTS, dev_bundle
from edgeproof.testing.folder import make_folder

POLICY = ("edgeproof-default-v1", "ab" * 32)


def sparse(decision: str = "deployable", **changes: Any) -> dict[str, Any]:
    told: dict[str, Any] = {name: {} for name in OBJECTS}
    told["summary"] = {"deployment_decision": decision}
    told["deployment_decision"] = {"decision": decision}
    return {**told, **changes}


@pytest.mark.parametrize(
    "decision", ["deployable", "deployable_with_note", "review_required", "blocked", "unknown"]
)
def test_it_is_unsigned_whatever_it_claims(decision: str) -> None:
    claim = {"decision": decision, "basis": "signed", "policy_version": "mine", "policy_digest": "cd" * 32}
    told = sparse(decision, deployment_decision=claim, basis="signed", decision_digest="ef" * 32, evidence=[])
    bundle = dev_bundle(told, *POLICY)
    assert bundle["basis"] == bundle["deployment_decision"]["basis"] == "unsigned"
    assert bundle["deployment_decision"]["policy_version"] == POLICY[0]
    assert bundle["provenance"]["source_bundle"] == "complete_dev"
    assert not {"evidence", "decision_digest"} & set(bundle)
    assert exits.of_decision(bundle["deployment_decision"]) == exits.REVIEW


def test_every_key_of_the_bundle_is_there() -> None:
    bundle = dev_bundle(sparse(), *POLICY)
    assert "guard_analysis" not in bundle
    assert msgspec.to_builtins(msgspec.convert(bundle, ResponseBundle))["timestamps"] == {
        "base": None,
        "new": None,
    }


def test_a_whole_bundle_is_kept_but_for_its_claims() -> None:
    made = make_folder()
    signed = response_bundle(made.dossier, made.decision, made.decision_digest)
    bundle = dev_bundle(signed, *POLICY)
    for part in ("summary", "comparison", "metadata", "timestamps", "execution_info", "guard_analysis"):
        assert bundle[part] == signed[part]


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("value", [None, [], "x", "absent"])
def test_each_of_the_seven_must_be_an_object(name: str, value: Any) -> None:
    told = sparse()
    if value == "absent":
        del told[name]
    else:
        told[name] = value
    with pytest.raises(Refused) as refused:
        dev_bundle(told, *POLICY)
    assert refused.value.code == "invalid_request"
    assert refused.value.errors[0].path == f"$.{name}"


@pytest.mark.parametrize(
    "changes",
    [
        {"summary": {"deployment_decision": "blocked"}},
        {"summary": {}},
        {"summary": {"deployment_decision": "fine"}, "deployment_decision": {"decision": "fine"}},
        {"summary": {}, "deployment_decision": {}},
        {"comparison": {"result": 3}},
        {"comparison": {"rendered": "no"}},
        {"timestamps": {"base": 3}},
        {"guard_analysis": {"status": "perhaps"}},
        {"deployment_decision": {"decision": "deployable", "triggered_rules": "all"}},
    ],
)
def test_what_does_not_agree_or_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        dev_bundle(sparse(**changes), *POLICY)
    assert refused.value.code == "invalid_request"


def test_guard_input_is_preserved_and_null_is_absent() -> None:
    guard = {"status": "ok", "theirs": 1}
    assert dev_bundle(sparse(guard_analysis=guard), *POLICY)["guard_analysis"] == guard
    assert "guard_analysis" not in dev_bundle(sparse(guard_analysis=None), *POLICY)
