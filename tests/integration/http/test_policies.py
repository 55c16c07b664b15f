"""The operator's policies over real HTTP: who may see and who may add, and what a job then names."""

from __future__ import annotations

import msgspec
import pytest

from edgeproof.client import ControlPlaneClient
from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.contract.policy import Policy
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.lab.policies import default_policy
from edgeproof.server.plane.control_plane import ControlPlane

STRICT = msgspec.structs.replace(default_policy(), name="strict", version=3)


async def refused(work: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await work  # type: ignore[misc]  # any coroutine
    return caught.value


async def test_an_admin_adds_and_everyone_sees(admin: ControlPlaneClient, user: ControlPlaneClient) -> None:
    added = await admin.add_policy(STRICT)
    assert (added.policy, added.info.digest) == (STRICT, digest_of(STRICT))
    assert await admin.add_policy(STRICT) == added
    listed = (await user.policies()).policies
    assert [(one.name, one.version) for one in listed] == [("edgeproof-default", 4), ("strict", 3)]
    for name in ("strict", added.info.digest, f"sha256:{added.info.digest}"):
        assert await user.policy(name) == added


async def test_a_job_names_it(admin: ControlPlaneClient, user: ControlPlaneClient) -> None:
    await admin.add_policy(STRICT)
    model = f"sha256:{(await user.upload_bytes(b'a model')).digest}"
    job = await user.analyze(AnalyzeRequest(model_path=model, options={"policy": "strict"}))
    assert job.status == "queued"


async def test_a_user_adds_none(user: ControlPlaneClient) -> None:
    assert (await refused(user.add_policy(STRICT))).code == "forbidden"
    assert [one.name for one in (await user.policies()).policies] == ["edgeproof-default"]


async def test_an_invalid_policy_is_told_where(admin: ControlPlaneClient) -> None:
    latency = msgspec.structs.replace(STRICT.latency, looks=(12, 8))
    error = await refused(admin.add_policy(msgspec.structs.replace(STRICT, latency=latency)))
    assert (error.code, [one.path for one in error.errors]) == ("policy_invalid", ["$.latency.looks"])


async def test_another_content_of_a_version_is_refused(admin: ControlPlaneClient) -> None:
    await admin.add_policy(STRICT)
    other: Policy = msgspec.structs.replace(STRICT, min_isolation="rlimit")
    assert (await refused(admin.add_policy(other))).code == "conflict"


@pytest.mark.parametrize("name", ["inferedge-v1", "inferedge-v1-changed"])
async def test_the_name_of_the_unsigned_policy_is_taken(admin: ControlPlaneClient, name: str) -> None:
    assert (await refused(admin.add_policy(msgspec.structs.replace(STRICT, name=name)))).code == "conflict"


@pytest.mark.parametrize("name", ["nobody", "0" * 64])
async def test_an_unknown_policy_is_said(user: ControlPlaneClient, name: str) -> None:
    assert (await refused(user.policy(name))).code == "unknown_policy"


async def tightened(user: ControlPlaneClient, policy: Policy) -> object:
    model = f"sha256:{(await user.upload_bytes(b'a model')).digest}"
    return await user.analyze(
        AnalyzeRequest(model_path=model, options={"tighten": msgspec.to_builtins(policy)})
    )


def with_accuracy_margin(margin_pp: float) -> Policy:
    accuracy = msgspec.structs.replace(STRICT.accuracy, margin_pp=margin_pp)
    return msgspec.structs.replace(STRICT, name="mine", accuracy=accuracy)


async def test_a_request_may_tighten(user: ControlPlaneClient, server: ControlPlane) -> None:
    policy = with_accuracy_margin(0.25)
    job = await tightened(user, policy)
    assert isinstance(job, JobView)
    kept = await server.database.pool.fetchval("SELECT policy_digest FROM jobs WHERE job_id = $1", job.job_id)
    assert kept == digest_of(policy)
    assert [run.stage for run in job.runs] == ["forge", "forge"]
    assert [one.name for one in (await user.policies()).policies] == ["edgeproof-default"]


async def test_a_request_may_not_loosen(user: ControlPlaneClient) -> None:
    error = await refused(tightened(user, with_accuracy_margin(2.0)))
    assert (error.code, [one.path for one in error.errors]) == (
        "policy_not_allowed",
        ["$.accuracy.margin_pp"],
    )


async def test_an_invalid_policy_in_a_request_is_said(user: ControlPlaneClient) -> None:
    broken = msgspec.structs.replace(STRICT, latency=msgspec.structs.replace(STRICT.latency, looks=(12, 8)))
    assert (await refused(tightened(user, broken))).code == "policy_invalid"


async def test_a_tightened_policy_has_its_own_name(
    admin: ControlPlaneClient, user: ControlPlaneClient
) -> None:
    await admin.add_policy(STRICT)
    posing = msgspec.structs.replace(with_accuracy_margin(0.25), name="strict")
    assert (await refused(tightened(user, posing))).code == "policy_not_allowed"
    assert isinstance(await tightened(user, STRICT), JobView)
