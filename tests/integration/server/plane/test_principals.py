"""Tokens: hashed at rest, looked up on every call."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import authenticate, create_principal, require
from edgeproof.server.plane.runner_token import RunnerToken, seal_token


@pytest.mark.parametrize("kind", ["admin", "user", "external"])
async def test_a_token_is_its_principal(control_plane: ControlPlane, kind: Any) -> None:
    token = await create_principal(control_plane, kind, "someone")
    principal = await authenticate(control_plane, token)
    assert (principal.kind, principal.runner_id, principal.public_key) == (kind, None, None)


@pytest.mark.parametrize("bearer", [None, "", "r1.", "edgeproof-user-guessed", "é\udcff", "x" * 10_000])
async def test_anything_else_is_nobody(control_plane: ControlPlane, bearer: str | None) -> None:
    await create_principal(control_plane, "user", "someone")
    with pytest.raises(Refused) as refused:
        await authenticate(control_plane, bearer)
    assert refused.value.code == "unauthenticated"


async def test_no_table_holds_a_token(control_plane: ControlPlane) -> None:
    token = await create_principal(control_plane, "user", "someone")
    rows = await control_plane.database.pool.fetch("SELECT * FROM principals")
    assert len(rows) == 1
    assert token not in str([tuple(row) for row in rows])


async def test_a_revoked_token_is_nobody(control_plane: ControlPlane) -> None:
    token = await create_principal(control_plane, "user", "someone")
    await control_plane.database.pool.execute("UPDATE principals SET revoked_at = clock_timestamp()")
    with pytest.raises(Refused) as refused:
        await authenticate(control_plane, token)
    assert refused.value.code == "unauthenticated"


async def test_a_runners_token_expires_by_the_databases_clock(
    control_plane: ControlPlane, runner: Principal
) -> None:
    assert runner.runner_id is not None
    assert runner.public_key is not None
    now = int((await control_plane.database.now()).timestamp())

    def token(expires_at: int) -> str:
        content = RunnerToken(
            runner_id=str(runner.runner_id), public_key=str(runner.public_key), expires_at=expires_at
        )
        return seal_token(control_plane.keys.token_hmac, content)

    assert await authenticate(control_plane, token(now + 60)) == runner
    with pytest.raises(Refused) as refused:
        await authenticate(control_plane, token(now))
    assert refused.value.code == "unauthenticated"


def test_require_names_who_may() -> None:
    require(Principal("user-1", "user"), "admin", "user")
    with pytest.raises(Refused) as refused:
        require(Principal("admin-1", "admin"), "user")
    assert refused.value.code == "forbidden"


async def test_replicas_share_their_secrets(
    control_plane: ControlPlane, another_replica: ControlPlane
) -> None:
    one, other = control_plane.keys, another_replica.keys
    assert one.signing.public == other.signing.public
    assert (one.token_hmac, one.challenge_hmac) == (other.token_hmac, other.challenge_hmac)
    assert one.token_hmac != one.challenge_hmac
    assert one.token_hmac.hex() not in repr(control_plane)
