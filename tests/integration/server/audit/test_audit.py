"""The audit log: what goes in, that nothing goes out or changes, and what a check of it finds."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec
import pytest

from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import Refused
from edgeproof.lab.audit import AuditCheck, Head
from edgeproof.lab.policies import default_policy
from edgeproof.server.audit.audit import list_entries, sealed_pages
from edgeproof.server.audit.audit_seal import run_sealer, seal
from edgeproof.server.fleet.runner_keys import allow_key
from edgeproof.server.jobs.operator_policies import keep_policy
from edgeproof.server.plane.audit_log import CONTROL_PLANE, record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.queue.revoke import remove_key

UNGUARDED = "SET session_replication_role = replica; {} ; SET session_replication_role = DEFAULT"


async def tell(plane: ControlPlane, *subjects: str) -> None:
    for subject in subjects:
        async with plane.database.transaction() as connection:
            await record(connection, "admin-1", "key.added", subject, {"n": 1, "text": "\u00e9 \u2028 \x01"})


async def seal_all(plane: ControlPlane, entries: int) -> None:
    """Until so many more are sealed: PostgreSQL's own short transactions may hold them back for a moment."""
    async with asyncio.timeout(20):
        while entries > 0:
            entries -= await seal(plane)
            await asyncio.sleep(0)
    assert entries == 0


async def check(plane: ControlPlane, admin: Principal, expect: Head | None = None, limit: int = 1) -> Any:
    """All pages, one seal a page, as the command reads them; the check and the tail."""
    checked = AuditCheck(plane.keys.signing.public, expect)
    after: int | None = 0
    while after is not None:
        page = await sealed_pages(plane, admin, after=after, limit=limit)
        for one in page.seals:
            checked.seal(one)
        after = page.next_after
    checked.end(page.stray)
    return checked, [entry.subject for entry in page.unsealed]


async def forge(plane: ControlPlane, statement: str) -> None:
    """What only the database's superuser can: past the triggers."""
    await plane.database.pool.execute(UNGUARDED.format(statement))


@pytest.fixture
async def admin(control_plane: ControlPlane, admin: Principal) -> Principal:
    """With an empty log: what opening the control plane told is not what these tests count."""
    await forge(control_plane, "DELETE FROM audit_log")
    return admin


async def test_what_is_told_is_sealed_and_holds(control_plane: ControlPlane, admin: Principal) -> None:
    await tell(control_plane, "a", "b")
    await seal_all(control_plane, 2)
    await tell(control_plane, "c")
    checked, tail = await check(control_plane, admin)
    assert (checked.faults, checked.seals, checked.entries, tail) == ([], 1, 2, ["c"])
    await seal_all(control_plane, 1)
    assert await seal(control_plane) == 0
    checked, tail = await check(control_plane, admin)
    assert (checked.faults, checked.seals, checked.entries, tail) == ([], 2, 3, [])


async def test_an_act_that_was_rolled_back_was_not_told(
    control_plane: ControlPlane, admin: Principal
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with control_plane.database.transaction() as connection:
            await record(connection, "x", "y", "z")
            raise ZeroDivisionError
    assert (await list_entries(control_plane, admin)).entries == ()


async def test_a_late_commit_is_sealed_behind_those_that_overtook_it(
    control_plane: ControlPlane, admin: Principal
) -> None:
    """Nothing is sealed past a transaction under way, whose entries have the lower ids."""
    late = await control_plane.database.pool.acquire()
    transaction = late.transaction()
    await transaction.start()
    await record(late, "x", "late", "late")
    await tell(control_plane, "early")
    assert await seal(control_plane) == 0
    _, tail = await check(control_plane, admin)
    assert tail == ["early"]
    await transaction.commit()
    await control_plane.database.pool.release(late)
    await seal_all(control_plane, 2)
    checked, tail = await check(control_plane, admin)
    assert (checked.faults, tail) == ([], [])


async def test_two_replicas_seal_each_entry_once(
    control_plane: ControlPlane, another_replica: ControlPlane, admin: Principal
) -> None:
    for round_ in range(4):
        await asyncio.gather(*(tell(control_plane, f"{round_}-{n}") for n in range(5)))
        sealed = await asyncio.gather(*(seal(plane) for plane in (control_plane, another_replica) * 3))
        await seal_all(control_plane, 5 - sum(sealed))
    checked, tail = await check(control_plane, admin)
    assert (checked.faults, checked.entries, tail) == ([], 20, [])


async def test_the_sealer_seals_by_itself_until_the_server_stops(
    control_plane: ControlPlane, admin: Principal
) -> None:
    await tell(control_plane, "a")
    sealing = asyncio.create_task(run_sealer(control_plane))
    async with asyncio.timeout(20):
        while (await check(control_plane, admin))[0].entries < 1:
            await asyncio.sleep(0.01)
        control_plane.stopping.set()
        await sealing


@pytest.mark.parametrize("table", ["audit_log", "audit_seals"])
@pytest.mark.parametrize("change", ["UPDATE {} SET at = at", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_database_refuses_every_change(
    control_plane: ControlPlane, table: str, change: str
) -> None:
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await control_plane.database.pool.execute(change.format(table))


@pytest.mark.parametrize(
    ("forgery", "found"),
    [
        ("UPDATE audit_log SET actor = 'someone else' WHERE subject = 'b'", "was altered"),
        ("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE subject = 'b'", "was altered"),
        ("UPDATE audit_log SET data = '{}' WHERE subject = 'b'", "was altered"),
        ("DELETE FROM audit_log WHERE subject = 'b'", "was removed"),
        (
            "UPDATE audit_log SET subject = CASE subject WHEN 'a' THEN 'b' ELSE 'a' END"
            " WHERE subject IN ('a', 'b')",
            "was altered",
        ),
        (
            "UPDATE audit_seals SET entry_ids = ARRAY[entry_ids[2], entry_ids[1]] WHERE seal = 1",
            "was altered",
        ),
        (
            "UPDATE audit_seals SET digests = substring(digests from 33) || substring(digests for 32),"
            " entry_ids = ARRAY[entry_ids[2], entry_ids[1]] WHERE seal = 1",
            "does not continue the chain",
        ),
        ("DELETE FROM audit_seals WHERE seal = 1", "seal 1 is missing"),
        ("UPDATE audit_seals SET head = sha256(head) WHERE seal = 2", "signature"),
        ("UPDATE audit_seals SET at = at - interval '1 day' WHERE seal = 2", "signature"),
        ("UPDATE audit_seals SET signature = decode(repeat('00', 64), 'hex') WHERE seal = 2", "signature"),
        ("INSERT INTO audit_log (xid, actor, act, subject) VALUES (1, 'x', 'y', 'z')", "put in behind"),
    ],
)
async def test_every_forgery_is_found(
    control_plane: ControlPlane, admin: Principal, forgery: str, found: str
) -> None:
    await tell(control_plane, "a", "b")
    await seal_all(control_plane, 2)
    await tell(control_plane, "c")
    await seal_all(control_plane, 1)
    checked, _ = await check(control_plane, admin)
    assert checked.faults == []
    await forge(control_plane, forgery)
    checked, _ = await check(control_plane, admin)
    assert any(found in fault for fault in checked.faults), checked.faults


async def test_a_truncated_log_is_found_by_who_kept_a_head(
    control_plane: ControlPlane, admin: Principal
) -> None:
    await tell(control_plane, "a")
    await seal_all(control_plane, 1)
    await tell(control_plane, "b")
    await seal_all(control_plane, 1)
    whole, _ = await check(control_plane, admin)
    kept = Head(whole.seals, whole.head.hex())
    await forge(
        control_plane, "DELETE FROM audit_seals WHERE seal = 2; DELETE FROM audit_log WHERE subject = 'b'"
    )
    assert (await check(control_plane, admin))[0].faults == []
    assert (await check(control_plane, admin, kept))[0].faults == [
        "the log ends at seal 1: seal 2 was removed"
    ]
    wrong = Head(1, "00" * 32)
    assert len((await check(control_plane, admin, wrong))[0].faults) == 1


async def test_a_restored_dump_goes_on_sealing(control_plane: ControlPlane, admin: Principal) -> None:
    """A restored database counts transactions from the beginning again."""
    await tell(control_plane, "a")
    await seal_all(control_plane, 1)
    await tell(control_plane, "unsealed when it was dumped")
    await forge(
        control_plane,
        "UPDATE audit_log SET xid = xid + 1000000000;"
        " UPDATE audit_seals SET through_xid = through_xid + 1000000000",
    )
    await seal_all(control_plane, 1)
    await tell(control_plane, "b", "c")
    await seal_all(control_plane, 2)
    checked, tail = await check(control_plane, admin)
    assert (checked.faults, checked.entries, tail) == ([], 4, [])


async def test_who_did_what_to_keys(control_plane: ControlPlane, admin: Principal, device: Any) -> None:
    await allow_key(control_plane, admin, device.key.public)
    await allow_key(control_plane, admin, device.key.public)
    runner = (await device.register(control_plane)).runner_id
    await device.register(control_plane)
    await remove_key(control_plane, admin, device.key.public, "sold")
    entries = (await list_entries(control_plane, admin)).entries
    told = [(one.actor, one.act, one.subject) for one in reversed(entries)]
    key, by = device.key.public.fingerprint, admin.principal_id
    assert told == [
        (by, "key.added", key),
        (runner, "runner.registered", runner),
        (by, "key.removed", key),
    ]
    assert CONTROL_PLANE not in {one.actor for one in entries}


async def test_who_added_a_policy_is_told_once(control_plane: ControlPlane, admin: Principal) -> None:
    own = msgspec.structs.replace(default_policy(), name="strict", version=7)
    digest = (await keep_policy(control_plane, admin, own)).info.digest
    await keep_policy(control_plane, admin, own)
    with pytest.raises(Refused, match="conflict"):
        await keep_policy(control_plane, admin, msgspec.structs.replace(own, min_isolation="rlimit"))
    (told,) = (await list_entries(control_plane, admin)).entries
    assert (told.actor, told.act, told.subject) == (admin.principal_id, "policy.added", digest)
    assert told.data == {"name": "strict", "version": 7}


async def test_what_a_control_plane_begins_with_is_told_too(
    control_plane: ControlPlane, another_replica: ControlPlane, user: Principal
) -> None:
    entries = (await list_entries(another_replica, Principal("reader", "admin"))).entries
    policy = default_policy()
    assert [(one.actor, one.act, one.subject, one.data) for one in reversed(entries)] == [
        (
            CONTROL_PLANE,
            "policy.added",
            digest_of(policy),
            {"name": policy.name, "version": policy.version},
        ),
        (CONTROL_PLANE, "principal.created", user.principal_id, {"kind": "user", "name": "engineer"}),
    ]


async def test_the_list_is_paged_and_filtered(control_plane: ControlPlane, admin: Principal) -> None:
    await tell(control_plane, "a", "b", "a", "b", "a")
    first = await list_entries(control_plane, admin, subject="a", limit=2)
    assert first.next_before is not None
    rest = await list_entries(control_plane, admin, subject="a", limit=2, before=first.next_before)
    ids = [one.entry_id for one in (*first.entries, *rest.entries)]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 3
    assert rest.next_before is None
    assert (await list_entries(control_plane, admin, actor="nobody")).entries == ()


async def test_only_admins_read_it(control_plane: ControlPlane, user: Principal, runner: Principal) -> None:
    for principal in (user, runner):
        for reading in (list_entries(control_plane, principal), sealed_pages(control_plane, principal)):
            with pytest.raises(Refused) as refused:
                await reading
            assert refused.value.code == "forbidden"
