"""Whatever two results say: the bundle is whole, plain JSON, unsigned, and a dry run is never compared."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.cli import exits
from edgeproof.contract.bundle import ResponseBundle
from edgeproof.contract.canonical import canonical
from edgeproof.contract.errors import Refused
from edgeproof.contract.plain_results import read_plain_result
from edgeproof.contract.point_policy import PointJudgement, ThresholdChanges
from edgeproof.lab.dev_bundle import OBJECTS, dev_bundle
from edgeproof.lab.inferedge import inferedge_policy, with_thresholds
from edgeproof.lab.result_identity import identity_of
from edgeproof.lab.unsigned_bundle import Side, compare_unsigned

POLICY = inferedge_policy()
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
AXIS = st.none() | st.integers(1, 1_000_000)
LATENCY = st.none() | st.floats(1e-6, 1e9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9) | TEXT,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXT, inside, max_size=3),
    max_leaves=5,
)
RESULT = st.fixed_dictionaries(
    {"model": TEXT, "engine": TEXT, "device": TEXT, "mean_ms": st.floats(1e-6, 1e9)},
    optional={
        "precision": TEXT, "batch": AXIS, "height": AXIS, "width": AXIS,
        "p50_ms": LATENCY, "p95_ms": LATENCY, "p99_ms": LATENCY, "timestamp": TEXT,
        "system": st.dictionaries(st.sampled_from(["os", "machine"]), TEXT),
        "run_config": st.dictionaries(st.sampled_from(["threads", "mode", "task", "odd"]), JSON),
        "extra": st.dictionaries(TEXT, JSON, max_size=3),
        "accuracy": st.fixed_dictionaries(
            {"metrics": st.dictionaries(TEXT, st.floats(-1, 1), min_size=1, max_size=2)}
        ),
    },
)  # fmt: skip
GUARD = st.none() | st.fixed_dictionaries(
    {"status": st.sampled_from(["ok", "warning", "error", "skipped"])},
    optional={"guard_verdict": st.sampled_from(["pass", "blocked"]), "theirs": JSON},
)
DRY = [{"run_config": {"dry_run": True}}, {"extra": {"worker_response_mode": "dry_run"}}]


def compared(base: dict[str, Any], new: dict[str, Any], **more: Any) -> dict[str, Any]:
    return compare_unsigned(Side(body=base), Side(body=new), POLICY, **more)


@given(RESULT, RESULT, GUARD, st.booleans())
def test_a_bundle_is_whole_plain_and_unsigned(
    base: dict[str, Any], new: dict[str, Any], guard: dict[str, Any] | None, with_guard: bool
) -> None:
    bundle = compared(base, new, guard_analysis=guard, with_guard=with_guard and guard is None)
    msgspec.convert(bundle, ResponseBundle, strict=True)
    assert json.loads(canonical(bundle)) == json.loads(json.dumps(bundle))
    assert set(PointJudgement.__struct_fields__) == set(bundle["comparison"]["judgement"])
    decision = bundle["deployment_decision"]
    assert bundle["basis"] == decision["basis"] == "unsigned"
    assert exits.of_decision(decision) == exits.REVIEW
    assert bundle["summary"]["deployment_decision"] == decision["decision"]
    assert ("guard_analysis" in bundle) == (guard is not None or with_guard)
    if guard is not None:
        assert bundle["guard_analysis"] == guard
        if guard["status"] == "error":
            assert decision["decision"] == "blocked"
    elif not with_guard:
        assert decision["decision"] not in ("deployable", "deployable_with_note")


@given(RESULT, RESULT, GUARD, st.sampled_from(DRY), st.sampled_from(["base", "new", "both"]))
def test_a_dry_run_is_never_compared(
    base: dict[str, Any], new: dict[str, Any], guard: dict[str, Any] | None, dry: dict[str, Any], side: str
) -> None:
    one = {**base, **dry} if side in ("base", "both") else base
    other = {**new, **dry} if side in ("new", "both") else new
    bundle = compared(one, other, guard_analysis=guard)
    assert bundle["deployment_decision"]["decision"] == "unknown"
    assert bundle["summary"]["overall"] is None


@given(RESULT)
def test_the_same_results_give_the_same_bundle(value: dict[str, Any]) -> None:
    assert canonical(compared(value, value)) == canonical(compared(value, value))


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(ThresholdChanges.__struct_fields__, st.floats(-99, 99)))
)
def test_other_thresholds_are_never_the_packaged_policy(changes: dict[str, float]) -> None:
    try:
        policy = with_thresholds(POLICY, ThresholdChanges(**changes))
    except Refused as refused:
        assert refused.code == "invalid_request"
        return
    same = all(getattr(POLICY.thresholds, name) == value for name, value in changes.items())
    assert (policy == POLICY) == (policy.name == POLICY.name) == same


@given(RESULT, TEXT)
def test_precision_parts_no_pair_and_everything_else_does(value: dict[str, Any], precision: str) -> None:
    one = identity_of(read_plain_result(value))
    other = identity_of(read_plain_result({**value, "precision": precision}))
    assert (one.pair_key, one.backend_key) == (other.pair_key, other.backend_key)
    bigger = identity_of(read_plain_result({**value, "batch": (value.get("batch") or 0) % 1_000_000 + 1}))
    assert bigger.pair_key != one.pair_key or value.get("batch") == (value.get("batch") or 0) % 1_000_000 + 1


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys([*OBJECTS, "guard_analysis", "basis", "evidence"], JSON))
)
def test_a_bundle_by_hand_is_refused_or_unsigned(told: dict[str, Any]) -> None:
    try:
        bundle = dev_bundle(told, "edgeproof-default-v1", "ab" * 32)
    except Refused as refused:
        assert refused.code == "invalid_request"
        return
    assert bundle["basis"] == bundle["deployment_decision"]["basis"] == "unsigned"
    assert "evidence" not in bundle


@given(
    st.fixed_dictionaries({name: st.dictionaries(TEXT, JSON, max_size=2) for name in OBJECTS}),
    st.sampled_from(["deployable", "blocked", "unknown"]),
)
def test_a_fit_bundle_by_hand_is_kept(told: dict[str, Any], decision: str) -> None:
    told["summary"]["deployment_decision"] = told["deployment_decision"]["decision"] = decision
    bundle = dev_bundle(told, "edgeproof-default-v1", "ab" * 32)
    msgspec.convert(bundle, ResponseBundle)
    for name in OBJECTS:
        kept = set(told[name]) - {"basis", "policy_version", "policy_digest", "source_bundle"}
        assert all(bundle[name][key] == told[name][key] for key in kept)
    assert exits.of_decision(bundle["deployment_decision"]) == exits.REVIEW
