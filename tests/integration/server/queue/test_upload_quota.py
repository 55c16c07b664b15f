"""A runner whose uploads find no room: it costs its run one attempt, and another runner does the work."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from edgeproof.contract.errors import Refused, StageFailed
from edgeproof.contract.runners import ClaimedRun, ClaimRequest
from edgeproof.server.artifacts.artifacts import put_artifact
from edgeproof.server.artifacts.direct_uploads import offer_upload
from edgeproof.server.plane.control_plane import Settings
from edgeproof.server.queue.claim import claim_runs

from .conftest import Worker, Yard, chunks_of, lease_of

QUOTA = 4 << 20
"""Room for all that one run of this yard uploads."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, upload_quota_bytes=QUOTA)


async def leave(worker: Worker, held: ClaimedRun, size: int) -> None:
    """Bytes that nobody names, as an attempt that came to nothing leaves them."""
    data, lease = bytes(size), lease_of(held)
    digest = hashlib.sha256(data).hexdigest()
    await put_artifact(
        worker.plane, worker.principal, digest, chunks_of(data), run_id=held.run_id, lease=lease
    )


async def test_the_run_goes_on_elsewhere_and_the_runner_is_held_back(yard: Yard) -> None:
    job = await yard.analyze()
    held = await yard.one.take()
    await leave(yard.one, held, QUOTA - 1)
    with pytest.raises(Refused) as refused:
        await yard.one.upload(held, yard.one.answer(held))
    assert refused.value.code == "quota_exceeded"
    # What the agent makes of it.
    failure = StageFailed("quota_exceeded", refused.value.detail, fault="infrastructure")
    state = await yard.one.fail(held, retryable=failure.retryable, code=failure.code, fault=failure.fault)
    assert state == "PENDING"
    claim = await claim_runs(yard.plane, yard.one.principal, ClaimRequest(unfit=str(failure)))
    assert (claim.runs, claim.standing) == ((), "quarantined")
    assert "quota_exceeded" in claim.reason
    # Its quota is its own: the other runner's uploads have all their room.
    again = await yard.two.take()
    assert (again.run_id, again.attempt) == (held.run_id, 2)
    await yard.two.work(again)
    await yard.two.work_off()
    assert (await yard.job(job.job_id)).status == "completed"


async def test_a_straight_upload_is_refused_before_a_byte_is_sent(yard: Yard) -> None:
    await yard.analyze()
    held = await yard.one.take()
    await leave(yard.one, held, QUOTA)
    with pytest.raises(Refused) as refused:
        await offer_upload(
            yard.plane, yard.one.principal, "0" * 64, 1, run_id=held.run_id, lease=lease_of(held)
        )
    assert refused.value.code == "quota_exceeded"
