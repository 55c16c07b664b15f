"""Artifacts: who may send and fetch which, and how long they stay."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.domain.runs import Lease, new_lease
from edgeproof.server.artifacts.artifacts import (
    LONGEST_DELETION_SECONDS,
    MOST_KEPT_HERE,
    expire_artifacts,
    forget_orphan,
    keep_bytes,
    keeping_transaction,
    open_artifact,
    put_artifact,
    refer_to_artifact,
)
from edgeproof.server.artifacts.documents import load_document
from edgeproof.server.plane.control_plane import KEEPERS, ControlPlane, Principal, Settings
from edgeproof.server.storage.artifact_store import ArtifactStore
from edgeproof.testing.artifact_stores import altered

DATA = os.urandom(300_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
ABSENT = "0" * 64


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65_536):
        yield data[start : start + 65_536]


async def put(plane: ControlPlane, principal: Principal, data: bytes = DATA, **lease: Any) -> str:
    digest = hashlib.sha256(data).hexdigest()
    info = await put_artifact(plane, principal, digest, chunks_of(data), **lease)
    assert info.size == len(data)
    return info.digest


async def refusal(awaitable: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code, refused.value.detail


async def bytes_of(blocks: AsyncIterator[bytes]) -> bytes:
    return b"".join([block async for block in blocks])


def files(root: Path) -> list[Path]:
    return [path for path in (root / "artifacts").rglob("*") if path.is_file()]


async def job_of(plane: ControlPlane, owner: Principal, job_id: str = "job-1") -> str:
    await plane.database.pool.execute(
        "INSERT INTO jobs (job_id, owner_id, workflow, status, input_summary, policy_digest)"
        " VALUES ($1, $2, 'analyze', 'queued', '{}', '')",
        job_id,
        owner.principal_id,
    )
    return job_id


async def expire_all(plane: ControlPlane) -> int:
    await plane.database.pool.execute(
        "UPDATE artifacts SET expires_at = clock_timestamp() - interval '1 s' WHERE expires_at IS NOT NULL"
    )
    return await expire_artifacts(plane)


async def test_a_user_reads_back_what_they_sent(control_plane: ControlPlane, user: Principal) -> None:
    await put(control_plane, user)
    stored = await open_artifact(control_plane, user, DIGEST)
    assert stored.size == len(DATA)
    assert await bytes_of(stored.read()) == DATA
    assert await bytes_of(stored.read(100_000, 100_005)) == DATA[100_000:100_005]
    assert await bytes_of(stored.read(299_999)) == DATA[299_999:]


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 5), (6, 5), (0, 300_001), (300_000, 300_000)])
async def test_a_range_outside_is_refused_before_any_byte(
    control_plane: ControlPlane, user: Principal, start: int, end: int
) -> None:
    await put(control_plane, user)
    stored = await open_artifact(control_plane, user, DIGEST)
    with pytest.raises(Refused) as refused:
        stored.read(start, end)
    assert refused.value.code == "range_not_satisfiable"


async def test_what_one_may_not_read_is_like_what_is_not_there(
    control_plane: ControlPlane, user: Principal, another_user: Principal, admin: Principal
) -> None:
    await put(control_plane, user)
    absent = await refusal(open_artifact(control_plane, user, ABSENT))
    assert absent[0] == "not_found"
    for stranger in (another_user, admin, Principal("external-1", "external")):
        assert await refusal(open_artifact(control_plane, stranger, DIGEST)) == absent


async def test_sending_what_is_there_takes_all_bytes_and_needs_them_right(
    control_plane: ControlPlane, user: Principal, another_user: Principal
) -> None:
    await put(control_plane, user)
    taken = 0

    async def counted(data: bytes) -> AsyncIterator[bytes]:
        nonlocal taken
        async for chunk in chunks_of(data):
            taken += len(chunk)
            yield chunk

    guess = put_artifact(control_plane, another_user, DIGEST, counted(altered(DATA)))
    assert (await refusal(guess))[0] == "artifact_digest_mismatch"
    assert taken == len(DATA)
    assert (await refusal(open_artifact(control_plane, another_user, DIGEST)))[0] == "not_found"
    await put(control_plane, another_user)
    await open_artifact(control_plane, another_user, DIGEST)


async def test_an_upload_that_stops_half_way_or_lies_leaves_nothing(
    control_plane: ControlPlane, user: Principal, tmp_path: Path
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield DATA[:1000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await put_artifact(control_plane, user, DIGEST, broken())
    lie = put_artifact(control_plane, user, ABSENT, chunks_of(DATA))
    assert (await refusal(lie))[0] == "artifact_digest_mismatch"
    assert files(tmp_path) == []
    assert await control_plane.database.pool.fetchval("SELECT count(*) FROM artifacts") == 0
    assert await control_plane.database.pool.fetchval("SELECT count(*) FROM uploads") == 0


async def test_the_same_artifact_sent_many_times_at_once_is_one(
    control_plane: ControlPlane, another_replica: ControlPlane, user: Principal, tmp_path: Path
) -> None:
    await asyncio.gather(*(put(plane, user) for plane in [control_plane, another_replica] * 4))
    assert len(files(tmp_path)) == 1
    assert await bytes_of((await open_artifact(control_plane, user, DIGEST)).read()) == DATA


async def test_admins_and_external_workers_send_nothing(
    control_plane: ControlPlane, admin: Principal
) -> None:
    for principal in (admin, Principal("external-1", "external")):
        assert (await refusal(put(control_plane, principal)))[0] == "forbidden"


async def test_a_runner_reads_only_what_its_run_names(
    control_plane: ControlPlane,
    user: Principal,
    runner: Principal,
    another_runner: Principal,
    hold_run: Any,
    forge_config: Any,
) -> None:
    source = await put(control_plane, user, b"source")
    calibration = await put(control_plane, user, b"calibration")
    other = await put(control_plane, user, b"other")
    run_id, lease = await hold_run(runner, forge_config(source, calibration), owner=user)
    for digest in (source, calibration):
        await open_artifact(control_plane, runner, digest, run_id=run_id, lease=lease)
    for digest in (other, ABSENT):
        attempt = open_artifact(control_plane, runner, digest, run_id=run_id, lease=lease)
        assert (await refusal(attempt))[0] == "not_found"
    wrong: list[tuple[Principal, str | None, Lease | None]] = [
        (runner, None, None),
        (runner, run_id, None),
        (runner, "run-else", lease),
        (runner, run_id, new_lease(1)),
        (runner, run_id, Lease(2, lease.token)),
        (another_runner, run_id, lease),
    ]
    for principal, run, held in wrong:
        attempt = open_artifact(control_plane, principal, source, run_id=run, lease=held)
        assert (await refusal(attempt))[0] == "stale_lease"


async def test_what_the_store_has_lost_is_told_to_those_who_may_read_it_and_logged(
    control_plane: ControlPlane,
    user: Principal,
    another_user: Principal,
    runner: Principal,
    hold_run: Any,
    forge_config: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await put(control_plane, user)
    run_id, lease = await hold_run(runner, forge_config(DIGEST), owner=user)
    await control_plane.artifacts.delete(DIGEST)
    assert (await refusal(open_artifact(control_plane, another_user, DIGEST)))[0] == "not_found"
    assert not caplog.records
    for attempt in (
        open_artifact(control_plane, user, DIGEST),
        open_artifact(control_plane, runner, DIGEST, run_id=run_id, lease=lease),
    ):
        code, detail = await refusal(attempt)
        assert code == "artifact_lost"
        assert DIGEST in detail
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2
    assert DIGEST in caplog.text


async def test_a_runner_writes_only_under_its_lease_and_within_its_limit(
    control_plane: ControlPlane, user: Principal, runner: Principal, hold_run: Any, forge_config: Any
) -> None:
    run_id, lease = await hold_run(runner, forge_config(ABSENT), owner=user, max_upload_bytes=1000)
    await put(control_plane, runner, b"x" * 1000, run_id=run_id, lease=lease)
    too_large = put(control_plane, runner, b"x" * 1001, run_id=run_id, lease=lease)
    assert (await refusal(too_large))[0] == "body_too_large"
    assert (await refusal(put(control_plane, runner, b"x")))[0] == "stale_lease"
    earlier = put(control_plane, runner, b"x", run_id=run_id, lease=new_lease(1))
    assert (await refusal(earlier))[0] == "stale_lease"


async def test_an_expired_lease_that_nobody_reaped_still_writes(
    control_plane: ControlPlane, user: Principal, runner: Principal, hold_run: Any, forge_config: Any
) -> None:
    run_id, lease = await hold_run(runner, forge_config(ABSENT), owner=user)
    await control_plane.database.pool.execute(
        "UPDATE run_queue SET lease_expires_at = clock_timestamp() - interval '1 s'"
    )
    await put(control_plane, runner, run_id=run_id, lease=lease)


async def test_a_lease_lost_while_bytes_arrive_keeps_nothing(
    control_plane: ControlPlane,
    user: Principal,
    runner: Principal,
    hold_run: Any,
    forge_config: Any,
    tmp_path: Path,
) -> None:
    run_id, lease = await hold_run(runner, forge_config(ABSENT), owner=user)

    async def slow() -> AsyncIterator[bytes]:
        yield DATA
        await control_plane.database.pool.execute(
            "UPDATE run_queue SET attempt = 2, lease_digest = $1", new_lease(2).digest
        )

    attempt = put_artifact(control_plane, runner, DIGEST, slow(), run_id=run_id, lease=lease)
    assert (await refusal(attempt))[0] == "stale_lease"
    assert files(tmp_path) == []


async def test_an_owner_reads_what_their_job_names_and_nobody_else_does(
    control_plane: ControlPlane,
    user: Principal,
    another_user: Principal,
    runner: Principal,
    hold_run: Any,
    forge_config: Any,
) -> None:
    run_id, lease = await hold_run(runner, forge_config(ABSENT), owner=user)
    await put(control_plane, runner, run_id=run_id, lease=lease)
    assert (await refusal(open_artifact(control_plane, user, DIGEST)))[0] == "not_found"
    job_id = await job_of(control_plane, user)
    async with control_plane.database.transaction() as connection:
        await refer_to_artifact(connection, job_id, DIGEST, "output")
        await refer_to_artifact(connection, job_id, DIGEST, "output")
    await open_artifact(control_plane, user, DIGEST)
    assert (await refusal(open_artifact(control_plane, another_user, DIGEST)))[0] == "not_found"


async def test_a_job_cannot_name_what_is_not_there(control_plane: ControlPlane, user: Principal) -> None:
    job_id = await job_of(control_plane, user)
    async with control_plane.database.transaction() as connection:
        assert (await refusal(refer_to_artifact(connection, job_id, ABSENT, "input")))[
            0
        ] == "artifact_missing"


async def test_only_what_no_job_names_expires(
    control_plane: ControlPlane, user: Principal, tmp_path: Path
) -> None:
    await put(control_plane, user)
    job_id = await job_of(control_plane, user)
    async with control_plane.database.transaction() as connection:
        named = await keep_bytes(control_plane, connection, b"named by a job")
        large = await keep_bytes(control_plane, connection, bytes(MOST_KEPT_HERE + 1))
        await keep_bytes(control_plane, connection, b"named by nobody")
        for digest in (named, large):
            await refer_to_artifact(connection, job_id, digest, "decision")
    assert await expire_artifacts(control_plane) == 0
    assert await expire_all(control_plane) == 2
    # The small document needs no file: it lies in the database.
    assert [path.name for path in files(tmp_path)] == [large]
    assert (await refusal(open_artifact(control_plane, user, DIGEST)))[0] == "not_found"
    kept = await open_artifact(control_plane, user, named)
    assert await bytes_of(kept.read()) == b"named by a job"
    assert await bytes_of(kept.read(6, 8)) == b"by"
    assert await load_document(control_plane, named) == b"named by a job"
    assert await load_document(control_plane, large) == bytes(MOST_KEPT_HERE + 1)


async def test_sending_again_what_a_job_names_does_not_make_it_expire(
    control_plane: ControlPlane, user: Principal
) -> None:
    await put(control_plane, user)
    job_id = await job_of(control_plane, user)
    async with control_plane.database.transaction() as connection:
        await refer_to_artifact(connection, job_id, DIGEST, "input")
    await put(control_plane, user)
    assert await expire_all(control_plane) == 0


async def test_expiry_beside_uploads_never_loses_bytes_that_have_a_row(
    control_plane: ControlPlane, another_replica: ControlPlane, user: Principal
) -> None:
    for _ in range(5):
        await asyncio.gather(
            *(put(control_plane, user) for _ in range(3)), *(expire_all(another_replica) for _ in range(3))
        )
        if await control_plane.database.pool.fetchval("SELECT count(*) FROM artifacts"):
            stored = await open_artifact(control_plane, user, DIGEST)
            assert await bytes_of(stored.read()) == DATA


async def test_only_documents_for_the_store_wait_until_it_has_kept_others(
    control_plane: ControlPlane,
) -> None:
    for _ in range(KEEPERS):
        await control_plane.keeping.acquire()

    async def keep(size: int) -> None:
        async with keeping_transaction(control_plane, size) as connection:
            await keep_bytes(control_plane, connection, bytes(size))

    await keep(MOST_KEPT_HERE)
    large = asyncio.create_task(keep(MOST_KEPT_HERE + 1))
    done, _ = await asyncio.wait([large], timeout=0.1)
    assert not done
    assert control_plane.database.pool.get_idle_size() == control_plane.database.pool.get_size()
    control_plane.keeping.release()
    async with asyncio.timeout(20):
        await large


class TestQuota:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return replace(settings, upload_quota_bytes=2 * len(DATA))

    async def test_what_no_job_names_may_take_only_so_much_room(
        self, control_plane: ControlPlane, user: Principal, another_user: Principal
    ) -> None:
        await put(control_plane, user)
        other = bytes(len(DATA) - 1)
        await put(control_plane, user, other)
        assert (await refusal(put(control_plane, user, b"two")))[0] == "quota_exceeded"
        # Nothing more of it, but again what is there already, and others are not concerned.
        await put(control_plane, user)
        await put(control_plane, another_user, b"two")
        async with control_plane.database.transaction() as connection:
            await refer_to_artifact(connection, await job_of(control_plane, user), DIGEST, "source")
        await put(control_plane, user, b"two")

    async def test_two_uploads_cannot_both_find_the_last_room(
        self, control_plane: ControlPlane, user: Principal
    ) -> None:
        await put(control_plane, user)
        rivals = (bytes([number]) * len(DATA) for number in range(5))
        ends = await asyncio.gather(
            *(put(control_plane, user, data) for data in rivals), return_exceptions=True
        )
        refused = [end.code for end in ends if isinstance(end, Refused)]
        assert refused == ["quota_exceeded"] * 4


class HeldStore:
    """Another store that takes its time to delete, whether or not anybody waits for that any more."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._sent: set[asyncio.Task[None]] = set()
        self.deleting, self.may_go_on, self.done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def delete(self, digest: str) -> None:
        sent = asyncio.create_task(self._delete(digest))
        self._sent.add(sent)
        await asyncio.shield(sent)

    async def _delete(self, digest: str) -> None:
        self.deleting.set()
        await self.may_go_on.wait()
        await self._store.delete(digest)
        self.done.set()


class TestDeletionUnderWay:
    """``control_plane`` collects, ``another_replica`` is sent the same bytes again meanwhile."""

    @pytest.fixture
    def store(self, control_plane: ControlPlane) -> HeldStore:
        return HeldStore(control_plane.artifacts)

    @pytest.fixture
    async def collecting(
        self, control_plane: ControlPlane, user: Principal, store: HeldStore
    ) -> AsyncIterator[asyncio.Task[int]]:
        await put(control_plane, user)
        task = asyncio.create_task(expire_all(replace(control_plane, artifacts=store)))
        async with asyncio.timeout(20):
            await store.deleting.wait()
        yield task
        store.may_go_on.set()
        await asyncio.gather(task, return_exceptions=True)

    async def cut(self, plane: ControlPlane) -> None:
        holders = await plane.database.pool.fetch(
            "SELECT pg_terminate_backend(pid) AS cut FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
        )
        assert [row["cut"] for row in holders] == [True]

    async def unavailable(self, work: Awaitable[Any]) -> None:
        with pytest.raises(Unavailable) as refused:
            await work
        assert refused.value.code == "unavailable"

    async def counts(self, plane: ControlPlane, user: Principal) -> None:
        """Sent again, named by a job, and there to stay."""
        await put(plane, user)
        async with plane.database.transaction() as connection:
            await refer_to_artifact(connection, await job_of(plane, user), DIGEST, "input")
        stored = await open_artifact(plane, user, DIGEST)
        assert await bytes_of(stored.read()) == DATA
        assert await plane.database.pool.fetchval("SELECT count(*) FROM artifact_deletions") == 0

    async def test_nothing_is_kept_that_outlives_its_collectors_connection(
        self,
        another_replica: ControlPlane,
        user: Principal,
        store: HeldStore,
        collecting: asyncio.Task[int],
    ) -> None:
        await self.cut(another_replica)
        await self.unavailable(put(another_replica, user))
        async with another_replica.database.transaction() as connection:
            await self.unavailable(keep_bytes(another_replica, connection, DATA))
        assert not await forget_orphan(another_replica, DIGEST)
        await put(another_replica, user, b"other bytes")
        store.may_go_on.set()
        await asyncio.wait([collecting], timeout=20)
        await self.counts(another_replica, user)

    async def test_nothing_is_kept_before_a_killed_collectors_request_must_have_ended(
        self,
        another_replica: ControlPlane,
        user: Principal,
        store: HeldStore,
        collecting: asyncio.Task[int],
    ) -> None:
        collecting.cancel()
        await asyncio.wait([collecting], timeout=20)
        await self.unavailable(put(another_replica, user))
        store.may_go_on.set()
        async with asyncio.timeout(20):
            await store.done.wait()
        await self.unavailable(put(another_replica, user))
        await another_replica.database.pool.execute(
            "UPDATE artifact_deletions SET began_at = began_at - make_interval(secs => $1)",
            LONGEST_DELETION_SECONDS,
        )
        await self.counts(another_replica, user)

    async def test_a_deletion_that_ends_is_waited_for(
        self,
        another_replica: ControlPlane,
        user: Principal,
        store: HeldStore,
        collecting: asyncio.Task[int],
    ) -> None:
        sending = asyncio.create_task(self.counts(another_replica, user))
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with asyncio.timeout(20):
            while not await another_replica.database.pool.fetchval(waiting):
                await asyncio.sleep(0.01)
        store.may_go_on.set()
        await sending
        assert await collecting == 1

    async def test_a_store_that_does_not_answer_is_given_up_and_forgotten_in_time(
        self,
        control_plane: ControlPlane,
        user: Principal,
        store: HeldStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("edgeproof.server.artifacts.artifacts.DELETE_SECONDS", 0.1)
        async with asyncio.timeout(20):
            await self.unavailable(forget_orphan(replace(control_plane, artifacts=store), DIGEST))
        await self.unavailable(put(control_plane, user))
        pool = control_plane.database.pool
        left = "SELECT count(*) FROM artifact_deletions"
        await expire_artifacts(control_plane)
        assert await pool.fetchval(left) == 1
        await pool.execute("UPDATE artifact_deletions SET began_at = began_at - interval '1 hour'")
        await expire_artifacts(control_plane)
        assert await pool.fetchval(left) == 0
        store.may_go_on.set()
