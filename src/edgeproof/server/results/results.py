"""Kept runtime results: posted ones, and those that our own fleet measured. Owned, durable, never changed.

The bytes kept are the canonical ones of the result as it came; its digest is theirs. Order and cursors are
by the server's own stamp; only the newest pair goes by the results' times (reference section 2).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import asyncpg
import msgspec

from edgeproof.contract.bundle import Basis
from edgeproof.contract.canonical import canonical, sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import digest_of_uri
from edgeproof.contract.plain_results import LATENCIES, PlainResult, read_plain_result
from edgeproof.contract.stored_results import (
    ResultDocument,
    ResultFilter,
    ResultPage,
    ResultSource,
    ResultView,
    SelectionMode,
)
from edgeproof.lab.result_identity import identity_of
from edgeproof.server.db.cursors import LAST, read_cursor
from edgeproof.server.db.database import Connection
from edgeproof.server.db.rows import Row
from edgeproof.server.db.times import utc_text
from edgeproof.server.plane.audit_log import record
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require
from edgeproof.server.results import result_sql

Role = Literal["baseline", "candidate"]


class Kept(NamedTuple):
    """``added`` is the new result's id; None when it was kept already."""

    digest: str
    added: str | None


async def add_result(
    plane: ControlPlane, principal: Principal, body: dict[str, Any], idempotency_key: str | None = None
) -> ResultDocument:
    """Keep a posted result. The same body of the same owner again changes nothing, whatever the key.

    Raises ``Refused``: ``forbidden`` for anyone but a user; ``result_invalid``; ``conflict`` for a key that
    stands for another result.
    """
    require(principal, "user")
    async with plane.database.transaction() as connection:
        owner = principal.principal_id
        digest, added = await keep_result(connection, owner, body, basis="unsigned", source="posted")
        if idempotency_key is not None:
            await connection.execute(result_sql.ADD_KEY, owner, idempotency_key, digest)
            if await connection.fetchval(result_sql.KEY, owner, idempotency_key) != digest:
                raise Refused("conflict", "this Idempotency-Key stands for another result")
        if added is not None:
            await record(connection, owner, "result.added", added, {"result": digest})
        (row,) = await connection.fetch(result_sql.POSTED, owner, digest)
    return _document(row)


async def keep_result(
    connection: Connection,
    owner_id: str,
    body: Mapping[str, Any],
    *,
    basis: Basis,
    source: ResultSource,
    job_id: str | None = None,
    role: Role | None = None,
) -> Kept:
    """Keep a result once: a posted one by owner and digest, another by its job and role.

    The caller says what it rests on; nothing is verified here but its form. Raises ``Refused``
    (``result_invalid``).
    """
    told = read_plain_result(body, what="result")
    data = canonical(body)
    digest, identity = sha256_hex(data), identity_of(told)
    added = await connection.fetchval(
        result_sql.ADD,
        f"result_{secrets.token_hex(8)}",
        owner_id,
        digest,
        basis,
        source,
        job_id,
        role,
        told.model,
        told.engine,
        told.device,
        told.precision,
        told.batch,
        told.height,
        told.width,
        identity.compare_key,
        identity.backend_key,
        identity.pair_key,
        told.dry_run,
        _numbers(told),
        data,
        stated_time(told.timestamp),
    )
    return Kept(digest, added)


async def find_result(plane: ControlPlane, principal: Principal, reference: str) -> ResultDocument | None:
    """By ``contract.stored_results.ResultReference``, among those that the principal may see."""
    digest, asked = digest_of_uri(reference) or reference, _visible(principal)
    row = await plane.database.pool.fetchrow(result_sql.find(*asked), reference, digest, *asked.values())
    return None if row is None else _document(row)


async def get_result(plane: ControlPlane, principal: Principal, reference: str) -> ResultDocument:
    """Raises ``Refused`` (``not_found``, also for another user's)."""
    require(principal, "user", "admin")
    found = await find_result(plane, principal, reference)
    if found is None:
        raise Refused("not_found", "no such result")
    return found


async def list_results(
    plane: ControlPlane,
    principal: Principal,
    wanted: ResultFilter,
    *,
    cursor: str | None = None,
    limit: int = 50,
    without_dry_runs: bool = False,
) -> ResultPage:
    """Newest kept first. Users see their own, admins all. Raises ``Refused`` (``invalid_request``)."""
    require(principal, "user", "admin")
    before = read_cursor(cursor)
    asked = _asked(principal, wanted)
    if without_dry_runs:
        asked["dry_run"] = False
    if principal.kind != "admin" and asked["owner"] != principal.principal_id:
        return ResultPage(results=())
    rows = await plane.database.pool.fetch(
        result_sql.page(*asked), LAST if before is None else before, limit + 1, *asked.values()
    )
    return ResultPage(
        results=tuple(_view(row) for row in rows[:limit]),
        next_cursor=str(rows[limit - 1]["seq"]) if len(rows) > limit else None,
    )


async def newest_pair(
    plane: ControlPlane, principal: Principal, mode: SelectionMode, wanted: ResultFilter
) -> tuple[str, str] | None:
    """Ids of baseline and candidate: the newest by their own times, of one owner, model, shape, engine and
    device, and of one precision or of two. ``wanted`` may name model, engine and device."""
    asked = {**_asked(principal, wanted), **_visible(principal)}
    row: asyncpg.Record | None = await plane.database.pool.fetchrow(
        result_sql.pair(*asked), mode == "same_precision", *asked.values()
    )
    return None if row is None else (row["base"], row["new"])


def _visible(principal: Principal) -> dict[str, Any]:
    return {} if principal.kind == "admin" else {"owner": principal.principal_id}


def _asked(principal: Principal, wanted: ResultFilter) -> dict[str, Any]:
    """By the names of ``result_sql``; the owner is the one that is asked for, else who asks."""
    given = msgspec.structs.asdict(wanted)
    return _visible(principal) | {name: value for name, value in given.items() if value is not None}


def stated_time(text: str | None) -> datetime | None:
    """A result's own time, as UTC where it names no zone; None where it is none that can be read."""
    try:
        at = datetime.fromisoformat(text or "")
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _numbers(told: PlainResult) -> dict[str, Any]:
    accuracy = told.accuracy.metrics if told.accuracy else {}
    return {**{name: getattr(told, name) for name in LATENCIES}, "accuracy": accuracy}


def _view(row: Row) -> ResultView:
    return ResultView(**_columns(row))


def _document(row: Row) -> ResultDocument:
    return ResultDocument(**_columns(row), result=msgspec.json.decode(row["body"]))


def _columns(row: Row) -> dict[str, Any]:
    numbers = row["numbers"]
    return {
        **{name: row[name] for name in ResultView.__struct_fields__ if name not in numbers},
        **numbers,
        "created_at": utc_text(row["created_at"]),
        "measured_at": utc_text(row["measured_at"]),
    }
