"""What a submission stores beside the outcome, who may bring it, in which form; and whose fault it was."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproof.contract.canonical import decode_canonical
from edgeproof.contract.errors import Refused
from edgeproof.contract.receipts import Receipt
from edgeproof.contract.sigstore_bundle import bundle_of
from edgeproof.domain.runs import Lease
from edgeproof.lab.verify import evidence_name, verify
from edgeproof.server.artifacts.documents import load_document
from edgeproof.server.artifacts.evidence import list_evidence
from edgeproof.server.audit.audit import list_entries
from edgeproof.server.plane.control_plane import Principal
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.queue.submit import submit
from edgeproof.server.runs.run_metrics import job_metrics

ROWS = "SELECT count(*) FROM run_model_metrics"


def lease_of(claimed: Any) -> Lease:
    return Lease(claimed.attempt, claimed.lease_token)


async def refusal(awaitable: Any) -> str:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value.code


async def rows(yard: Any) -> int:
    return int(await yard.plane.database.pool.fetchval(ROWS))


async def test_each_run_leaves_its_rows_and_a_repeated_submit_no_more(yard: Any) -> None:
    job = await yard.analyze()
    claimed = await yard.one.take()
    made = yard.one.answer(claimed)
    await yard.one.upload(claimed, made)
    first = await yard.one.submit(claimed, made.envelope)
    assert await rows(yard) == 1
    assert await yard.one.submit(claimed, made.envelope) == first
    assert await rows(yard) == 1
    await yard.one.work_off()
    metrics = await job_metrics(yard.plane, yard.user, job.job_id)
    assert sorted(one.row_key for one in metrics.models) == ["baseline", "baseline", "candidate", "candidate"]
    (device,) = metrics.hardware
    runtime = [one for one in metrics.models if one.run_id == device.run_id]
    assert [one.row_key for one in runtime] == ["baseline", "candidate"]
    assert all(one.mean_ms is not None and one.tokens_per_second is None for one in runtime)
    assert device.device_kind == "cpu"


async def test_metrics_are_only_for_those_who_see_the_job(yard: Any) -> None:
    job = await yard.analyze()
    stranger = await authenticate(yard.plane, await create_principal(yard.plane, "user", "stranger"))
    assert await refusal(job_metrics(yard.plane, stranger, job.job_id)) == "not_found"


async def test_a_refused_result_leaves_no_row(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    made = yard.one.answer(claimed)  # nothing is uploaded
    assert await refusal(yard.one.submit(claimed, made.envelope)) == "artifact_missing"
    assert await rows(yard) == 0
    assert await yard.plane.database.pool.fetchval("SELECT count(*) FROM run_outcomes") == 0


async def test_a_bundle_is_its_envelope(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    made = yard.one.answer(claimed)
    await yard.one.upload(claimed, made)
    first = await yard.one.submit(claimed, bundle_of(made.envelope))
    assert await yard.one.submit(claimed, made.envelope) == first
    stored = await load_document(yard.plane, first.evidence_digest)
    assert stored == made.envelope
    other = yard.one.answer(claimed, nonce=1)
    assert await refusal(yard.one.submit(claimed, bundle_of(other.envelope))) == "different_outcome"


async def test_a_keyless_bundle_is_refused_with_its_own_code(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    bundle = bundle_of(yard.one.answer(claimed).envelope).replace(b'"publicKey"', b'"certificate"')
    assert await refusal(yard.one.submit(claimed, bundle)) == "keyless_not_supported"


async def test_a_bundle_of_anothers_signature_is_refused(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    forged = yard.two.answer(claimed)
    assert await refusal(yard.one.submit(claimed, bundle_of(forged.envelope))) == "key_unknown"


async def test_the_owner_delivers_by_hand_what_the_runner_signed(yard: Any, admin: Principal) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    made = yard.one.answer(claimed)
    await yard.one.upload(claimed, made)

    async def by(principal: Principal, lease: Lease) -> Any:
        return await submit(yard.plane, principal, claimed.run_id, lease, made.envelope)

    lease = lease_of(claimed)
    stranger = await authenticate(yard.plane, await create_principal(yard.plane, "user", "stranger"))
    assert await refusal(by(stranger, lease)) == "stale_lease"
    assert await refusal(by(yard.user, Lease(lease.attempt, "0" * 64))) == "stale_lease"
    assert await refusal(by(yard.user, Lease(lease.attempt + 1, lease.token))) == "stale_lease"
    forged = yard.two.answer(claimed)
    delivered = submit(yard.plane, yard.user, claimed.run_id, lease, forged.envelope)
    assert await refusal(delivered) == "key_unknown"
    first = await by(yard.user, lease)
    assert first.state == "COMPLETE"
    # What its runner then delivers itself is no second outcome.
    assert await yard.one.submit(claimed, made.envelope) == first
    told = (await list_entries(yard.plane, admin, subject=claimed.run_id)).entries
    runner = yard.one.principal.principal_id
    assert {(one.act, one.actor) for one in told} == {
        ("lease.granted", runner),
        ("run.complete", runner),
        ("result.delivered_by_hand", yard.user.principal_id),
    }


async def test_after_the_lease_was_lost_nobody_delivers(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    made = yard.one.answer(claimed)
    await yard.one.upload(claimed, made)
    await yard.one.fail(claimed, retryable=True, code="stage_crashed")
    lease = lease_of(claimed)
    assert await refusal(submit(yard.plane, yard.user, claimed.run_id, lease, made.envelope)) == "stale_lease"


async def test_a_key_that_is_removed_before_the_outcome_is_stored_counts_no_more(yard: Any) -> None:
    await yard.analyze()
    claimed = await yard.one.take()
    made = yard.one.answer(claimed)
    await yard.one.upload(claimed, made)
    await yard.plane.database.pool.execute(
        "UPDATE runner_keys SET removed_at = clock_timestamp() WHERE public_key = $1",
        yard.one.key.public.base64,
    )
    assert await refusal(yard.one.submit(claimed, made.envelope)) == "key_not_allowed"
    assert await rows(yard) == 0


async def test_the_decision_states_when_each_result_came_in(yard: Any) -> None:
    job = await yard.analyze()
    await yard.one.work_off()
    items = (await list_evidence(yard.plane, yard.user, job.job_id)).items
    receipts = [
        decode_canonical(await load_document(yard.plane, item.digest), Receipt, what="receipt")
        for item in items
        if item.kind == "receipt"
    ]
    accepted = {item.digest for item in items if item.kind in ("build", "measurement")}
    assert {one.envelope for one in receipts} == accepted
    assert {one.runner_key for one in receipts} == {yard.one.key.public.base64}
    files = {
        evidence_name(item.kind, item.digest): await load_document(yard.plane, item.digest) for item in items
    }
    (decision,) = verify(files, yard.plane.keys.signing.public).decisions
    assert decision.received_at in {one.received_at for one in receipts}


@pytest.mark.parametrize(
    ("code", "fault"),
    [("model_invalid", "user"), ("stage_crashed", "infrastructure"), ("disk_full", "device")],
)
async def test_a_failed_job_says_whose_fault_it_was(yard: Any, code: str, fault: str) -> None:
    job = await yard.analyze()
    await yard.one.fail(await yard.one.take(), retryable=False, code=code, fault=fault)
    error = (await yard.job(job.job_id)).error
    assert (error.code, error.fault, error.retryable) == (code, fault, False)
