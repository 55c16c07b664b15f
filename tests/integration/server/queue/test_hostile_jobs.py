"""One job's trouble, meant or not, stays its own: it is not the others' and not the server's."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from edgeproof.contract.canonical import canonical
from edgeproof.contract.envelope import peek_payload
from edgeproof.contract.errors import Refused
from edgeproof.server.artifacts.artifacts import put_artifact
from edgeproof.server.jobs.advance import sweep
from edgeproof.server.jobs.analyze import analyze
from edgeproof.server.plane.control_plane import JUDGES, ControlPlane, Principal
from edgeproof.server.runs.check_result import MAX_RAW_BYTES
from edgeproof.testing.answers import Answer

BEYOND_JSON = 2**53
"""One more than the largest integer that a canonical document can hold."""


async def upload(plane: ControlPlane, principal: Principal, data: bytes) -> str:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    return (await put_artifact(plane, principal, hashlib.sha256(data).hexdigest(), chunks())).digest


async def code(awaitable: Any) -> str:
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code


async def test_a_limit_that_no_job_spec_can_hold_is_refused(yard: Any) -> None:
    assert await code(yard.analyze(limits={"max_memory_bytes": BEYOND_JSON})) == "invalid_request"


async def test_a_run_without_a_job_spec_fails_and_the_next_is_claimed(yard: Any) -> None:
    bad, good = await yard.analyze(), await yard.analyze()
    await yard.plane.database.pool.execute(
        "UPDATE runs SET limits = jsonb_set(limits, '{max_memory_bytes}', to_jsonb($2::bigint))"
        " WHERE job_id = $1",
        bad.job_id,
        BEYOND_JSON,
    )
    assert (await yard.one.take()).job_id == good.job_id
    await sweep(yard.plane)
    failed = await yard.job(bad.job_id)
    assert (failed.status, failed.error.code, failed.error.stage) == ("failed", "internal_error", "forge")
    assert [run.state for run in failed.runs] == ["FAILED", "FAILED"]
    assert await yard.one.work_off() > 0


@pytest.mark.parametrize("named", [None, "mine"])
async def test_one_key_at_the_same_moment_gives_one_job(yard: Any, named: str | None) -> None:
    request = msgspec.structs.replace(yard.request(), job_id=named)
    jobs = await asyncio.gather(*(analyze(yard.plane, yard.user, request, "key") for _ in range(6)))
    assert len({job.job_id for job in jobs}) == 1
    assert await yard.plane.database.pool.fetchval("SELECT count(*) FROM jobs") == 1


async def test_jobs_that_cannot_advance_do_not_hide_the_ones_behind_them(yard: Any) -> None:
    await yard.plane.database.pool.execute(
        "INSERT INTO jobs (job_id, owner_id, workflow, status, input_summary, policy_digest, needs_advance)"
        " SELECT 'stuck-' || n, '', 'analyze', 'queued', '{}', '', true FROM generate_series(1, 150) n"
    )
    job = await yard.analyze()
    await yard.plane.database.pool.execute(
        "UPDATE jobs SET cancel_requested_at = clock_timestamp(), needs_advance = true WHERE job_id = $1",
        job.job_id,
    )
    assert await sweep(yard.plane) == 151
    assert (await yard.job(job.job_id)).status == "cancelled"


async def test_raw_data_too_large_to_judge_is_refused_before_it_is_read(yard: Any) -> None:
    await yard.analyze()
    for _ in range(2):
        await yard.one.work(await yard.one.take())
    claimed = await yard.one.take()
    made = yard.one.answer(claimed)
    await yard.one.upload(claimed, made)
    size = "UPDATE artifacts SET size = size + $2 WHERE digest = ANY($1)"
    digests = [hashlib.sha256(data).hexdigest() for data in made.uploads]
    await yard.plane.database.pool.execute(size, digests, MAX_RAW_BYTES)
    assert await code(yard.one.submit(claimed, made.envelope)) == "result_invalid"
    await yard.plane.database.pool.execute(size, digests, -MAX_RAW_BYTES)
    assert (await yard.one.submit(claimed, made.envelope)).state == "COMPLETE"


async def test_many_decisions_leave_connections_for_heartbeats(yard: Any) -> None:
    for _ in range(JUDGES):
        await yard.plane.judging.acquire()
    job = await yard.analyze()
    worker = asyncio.create_task(yard.one.work_off())
    waits = "SELECT needs_advance AND 3 = (SELECT count(*) FROM run_outcomes) FROM jobs"
    async with asyncio.timeout(30):
        while not await yard.plane.database.pool.fetchval(waits):
            await asyncio.sleep(0.02)
    pool = yard.plane.database.pool
    async with asyncio.timeout(30):
        while pool.get_idle_size() != pool.get_size():
            await asyncio.sleep(0.02)
    assert not worker.done()
    yard.plane.judging.release()
    assert await worker == 3
    assert (await yard.job(job.job_id)).status == "completed"


async def test_a_result_that_this_release_cannot_read_fails_its_job(yard: Any) -> None:
    job = await yard.analyze()
    await yard.one.work_off()
    assert (await yard.job(job.job_id)).status == "completed"
    pool = yard.plane.database.pool
    # As if an older release had stored it: a document of another form under the result's digest.
    other = await upload(yard.plane, yard.user, b'{"payload":"","payloadType":"","signatures":[]}')
    await pool.execute(
        "UPDATE run_outcomes SET evidence_digest = $1"
        " WHERE run_id IN (SELECT run_id FROM runs WHERE stage = 'runtime')",
        other,
    )
    await pool.execute("UPDATE jobs SET status = 'running', result = NULL, needs_advance = true")
    await sweep(yard.plane)
    failed = await yard.job(job.job_id)
    assert (failed.status, failed.error.code) == ("failed", "envelope_invalid")


def with_raw(worker: Any, claimed: Any, role: str, data: bytes) -> Answer:
    """A measurement that names other raw data, as its runner would sign it."""
    made = worker.answer(claimed)
    _, payload = peek_payload(made.envelope)
    statement = json.loads(payload)
    statement["predicate"][f"raw_{role}"] = hashlib.sha256(data).hexdigest()
    return Answer(worker.key.seal(canonical(statement)), (*made.uploads, data))


RIDDLES = {
    "a NUL in a key": (rb'{"a\u0000":1}', "result_invalid"),
    "a NUL in a value": (rb'{"schema_version":"\u0000"}', "result_invalid"),
    "a NUL behind backslashes": (rb'{"schema_version":"\\\\\u0000"}', "result_invalid"),
    "a backslash and no NUL": (rb'{"schema_version":"\\u0000"}', "not_canonical"),
    "a NUL as it is": (b'{"a\0":1}', "not_canonical"),
    "a long key": (b'{"' + b"x" * 100_000 + b'":1}', "not_canonical"),
    "deep": (b"[" * 100_000, "not_canonical"),
    "not text": (b"\xff\xfe", "not_canonical"),
    "nothing": (b"", "not_canonical"),
}


@pytest.mark.parametrize("role", ["samples", "quality"])
@pytest.mark.parametrize("riddle", RIDDLES)
async def test_raw_data_that_nobody_can_read_fails_its_job_and_is_no_ones_riddle(
    yard: Any, role: str, riddle: str
) -> None:
    data, refusal = RIDDLES[riddle]
    job = await yard.analyze()
    for _ in range(2):
        await yard.one.work(await yard.one.take())
    claimed = await yard.one.take()
    made = with_raw(yard.one, claimed, role, data)
    await yard.one.upload(claimed, made)
    assert (await yard.one.submit(claimed, made.envelope)).state == "COMPLETE"
    failed = await yard.job(job.job_id)
    assert (failed.status, failed.error.code, failed.error.stage) == ("failed", refusal, "lab_validation")
    assert len(failed.error.message) <= 4000
    assert await sweep(yard.plane) == 0
