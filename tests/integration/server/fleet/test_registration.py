"""Registration: the challenge, what its proof is bound to, and who is on the allowlist."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.server.audit.audit import list_entries
from edgeproof.server.fleet.challenge import new_nonce
from edgeproof.server.fleet.enrolment import (
    create_enrolment_token,
    list_enrolment_tokens,
    revoke_enrolment_token,
)
from edgeproof.server.fleet.register import register
from edgeproof.server.fleet.runner_keys import allow_key, rotate_key
from edgeproof.server.fleet.runners import list_runners, show_runner
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import authenticate
from edgeproof.server.queue.revoke import remove_key
from edgeproof.server.upkeep.queue_gauges import metrics_document


@pytest.fixture
async def allowed(control_plane: ControlPlane, admin: Principal, device: Any) -> Any:
    await allow_key(control_plane, admin, device.key.public)
    return device


async def refusal(awaitable: Any) -> str:
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code


async def test_an_allowed_key_registers_and_its_token_works(
    control_plane: ControlPlane, user: Principal, allowed: Any
) -> None:
    response = await allowed.register(control_plane)
    assert response.server_key == control_plane.keys.signing.public.base64
    runner = await authenticate(control_plane, response.token)
    assert runner == Principal(response.runner_id, "runner", response.runner_id, allowed.key.public.base64)
    assert response.runner_id == f"runner-{allowed.key.public.keyid[:16]}"
    (listed,) = await list_runners(control_plane, user)
    assert (listed.runner_id, listed.capabilities) == (response.runner_id, allowed.capabilities)


async def test_the_log_tells_the_first_registration_and_no_other(
    control_plane: ControlPlane, allowed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="edgeproof.server"):
        for _ in range(2):
            await allowed.register(control_plane)
    (line,) = [one for one in caplog.messages if one.startswith("runner registered")]
    assert allowed.key.public.fingerprint in line


async def test_every_replica_accepts_the_token_and_the_challenge(
    control_plane: ControlPlane, another_replica: ControlPlane, allowed: Any
) -> None:
    body = msgspec.json.encode(allowed.request())
    nonce = await allowed.nonce(control_plane)
    response = await register(another_replica, allowed.request(), body, allowed.proof(nonce, body))
    assert (await authenticate(control_plane, response.token)).kind == "runner"


async def test_a_nonce_is_spent_once_on_whichever_replica(
    control_plane: ControlPlane, another_replica: ControlPlane, allowed: Any
) -> None:
    body = msgspec.json.encode(allowed.request())
    proof = allowed.proof(await allowed.nonce(control_plane), body)
    planes = [control_plane, another_replica] * 4
    results = await asyncio.gather(
        *(register(plane, allowed.request(), body, proof) for plane in planes), return_exceptions=True
    )
    refused = [one for one in results if isinstance(one, Refused)]
    assert {one.code for one in refused} == {"challenge_invalid"}
    assert len(refused) == len(planes) - 1


async def test_a_nonce_stays_spent_when_the_registration_is_refused(
    control_plane: ControlPlane, admin: Principal, device: Any
) -> None:
    body = msgspec.json.encode(device.request())
    proof = device.proof(await device.nonce(control_plane), body)
    assert await refusal(register(control_plane, device.request(), body, proof)) == "key_not_allowed"
    await allow_key(control_plane, admin, device.key.public)
    assert await refusal(register(control_plane, device.request(), body, proof)) == "challenge_invalid"


async def test_an_expired_nonce_is_refused(control_plane: ControlPlane, allowed: Any) -> None:
    body = msgspec.json.encode(allowed.request())
    now = await control_plane.database.now()
    for age, good in ((61, False), (59, True)):
        made = now - age * (now.resolution * 1_000_000)
        nonce = new_nonce(control_plane.keys.challenge_hmac, allowed.key.public, made, bytes(16))
        attempt = register(control_plane, allowed.request(), body, allowed.proof(nonce, body))
        if good:
            await attempt
        else:
            assert await refusal(attempt) == "challenge_invalid"


async def test_a_nonce_for_another_key_is_refused(control_plane: ControlPlane, allowed: Any) -> None:
    other = replace(allowed, key=SigningKey.generate())
    body = msgspec.json.encode(allowed.request())
    proof = allowed.proof(await other.nonce(control_plane), body)
    assert await refusal(register(control_plane, allowed.request(), body, proof)) == "challenge_invalid"


@pytest.mark.parametrize("wrong", [{"server_keyid": "0" * 64}, {"public_url": "https://relay.test"}])
async def test_a_proof_for_another_server_or_url_is_refused(
    control_plane: ControlPlane, allowed: Any, wrong: dict[str, str]
) -> None:
    assert await refusal(replace(allowed, **wrong).register(control_plane)) == "challenge_invalid"


async def test_a_proof_for_another_body_is_refused(control_plane: ControlPlane, allowed: Any) -> None:
    proof = allowed.proof(await allowed.nonce(control_plane), msgspec.json.encode(allowed.request()))
    changed = replace(allowed, capabilities=msgspec.structs.replace(allowed.capabilities, cpu_count=64))
    body = msgspec.json.encode(changed.request())
    assert await refusal(register(control_plane, changed.request(), body, proof)) == "challenge_invalid"


async def test_a_public_key_that_is_none_is_refused(control_plane: ControlPlane, allowed: Any) -> None:
    request = msgspec.structs.replace(allowed.request(), public_key="!" * 44)
    assert await refusal(register(control_plane, request, b"", None)) == "invalid_request"


async def test_an_unlisted_key_is_refused(control_plane: ControlPlane, device: Any) -> None:
    assert await refusal(device.register(control_plane)) == "key_not_allowed"
    assert await refusal(device.register(control_plane, "edgeproof-enrol-guessed")) == "key_not_allowed"


async def test_an_enrolment_token_lists_as_many_keys_as_it_says_also_at_once(
    control_plane: ControlPlane, another_replica: ControlPlane, admin: Principal, device: Any
) -> None:
    token = await create_enrolment_token(control_plane, admin, uses=3, ttl_seconds=60)
    devices = [replace(device, key=SigningKey.generate()) for _ in range(8)]
    results = await asyncio.gather(
        *(
            one.register([control_plane, another_replica][number % 2], token)
            for number, one in enumerate(devices)
        ),
        return_exceptions=True,
    )
    refused = [one for one in results if isinstance(one, BaseException)]
    assert len(refused) == 5
    assert all(isinstance(one, Refused) and one.code == "key_not_allowed" for one in refused)


async def test_one_key_takes_one_use_however_often_it_registers(
    control_plane: ControlPlane, admin: Principal, device: Any
) -> None:
    token = await create_enrolment_token(control_plane, admin, uses=2, ttl_seconds=60)
    await asyncio.gather(*(device.register(control_plane, token) for _ in range(4)))
    await device.register(control_plane)
    assert await control_plane.database.pool.fetchval("SELECT uses_left FROM enrolment_tokens") == 1


async def test_an_expired_enrolment_token_is_refused(
    control_plane: ControlPlane, admin: Principal, device: Any
) -> None:
    token = await create_enrolment_token(control_plane, admin, uses=1, ttl_seconds=0.000_001)
    assert await refusal(device.register(control_plane, token)) == "key_not_allowed"


async def test_a_revoked_enrolment_token_lists_no_more_keys(
    control_plane: ControlPlane, admin: Principal, device: Any
) -> None:
    token = await create_enrolment_token(control_plane, admin, uses=3, ttl_seconds=60)
    await device.register(control_plane, token)
    digest = sha256_hex(token.encode())
    (listed,) = (await list_enrolment_tokens(control_plane, admin)).tokens
    assert (listed.digest, listed.uses_left, listed.revoked_at) == (digest, 2, None)
    assert listed.created_by == admin.principal_id
    revoked = await revoke_enrolment_token(control_plane, admin, digest)
    assert await revoke_enrolment_token(control_plane, admin, digest) == revoked
    assert (await list_enrolment_tokens(control_plane, admin)).tokens == (revoked,)
    other = replace(device, key=SigningKey.generate())
    assert await refusal(other.register(control_plane, token)) == "key_not_allowed"
    # Whom it let in before stays.
    await device.register(control_plane)
    told = (await list_entries(control_plane, admin, subject=digest)).entries
    assert [(one.act, one.actor) for one in told] == [
        ("enrolment_token.revoked", admin.principal_id),
        ("enrolment_token.created", admin.principal_id),
    ]


async def test_a_removed_key_is_out_at_once_and_stays_out(
    control_plane: ControlPlane, admin: Principal, allowed: Any
) -> None:
    response = await allowed.register(control_plane)
    assert [one.allowed for one in await list_runners(control_plane, admin)] == [True]
    await remove_key(control_plane, admin, allowed.key.public)
    assert [one.allowed for one in await list_runners(control_plane, admin)] == [False]
    assert not (await show_runner(control_plane, admin, response.runner_id)).runner.allowed
    assert b'edgeproof_runners{which="registered"} 0.0' in await metrics_document(control_plane)
    assert await refusal(authenticate(control_plane, response.token)) == "key_not_allowed"
    enrolment = await create_enrolment_token(control_plane, admin, uses=9, ttl_seconds=60)
    assert await refusal(allowed.register(control_plane, enrolment)) == "key_not_allowed"
    assert await control_plane.database.pool.fetchval("SELECT uses_left FROM enrolment_tokens") == 9
    await allow_key(control_plane, admin, allowed.key.public)
    await allowed.register(control_plane)


async def test_a_key_that_is_rotated_out_does_not_become_the_runners_again(
    control_plane: ControlPlane, admin: Principal, allowed: Any
) -> None:
    await allowed.register(control_plane)
    renewed = replace(allowed, key=SigningKey.generate())
    await rotate_key(control_plane, admin, allowed.key.public, renewed.key.public, 3600)
    shown = []
    for device in (allowed, renewed, allowed):
        await device.register(control_plane)
        (listed,) = await list_runners(control_plane, admin)
        shown.append(listed.public_key)
    old, new = allowed.key.public.base64, renewed.key.public.base64
    assert shown == [old, new, new]


async def test_a_key_can_be_removed_before_it_was_ever_seen(
    control_plane: ControlPlane, admin: Principal, device: Any
) -> None:
    await remove_key(control_plane, admin, device.key.public)
    enrolment = await create_enrolment_token(control_plane, admin, uses=1, ttl_seconds=60)
    assert await refusal(device.register(control_plane, enrolment)) == "key_not_allowed"


async def test_only_an_admin_enrols(control_plane: ControlPlane, user: Principal, runner: Principal) -> None:
    for principal in (user, runner):
        for attempt in (
            create_enrolment_token(control_plane, principal, uses=1, ttl_seconds=60),
            list_enrolment_tokens(control_plane, principal),
            revoke_enrolment_token(control_plane, principal, "0" * 64),
        ):
            assert await refusal(attempt) == "forbidden"


@pytest.mark.parametrize(("uses", "ttl"), [(0, 60.0), (-1, 60.0), (1, 0.0)])
async def test_an_enrolment_token_that_could_never_be_used_is_refused(
    control_plane: ControlPlane, admin: Principal, uses: int, ttl: float
) -> None:
    assert await refusal(create_enrolment_token(control_plane, admin, uses, ttl)) == "invalid_request"


async def test_spent_nonces_are_forgotten_once_they_cannot_come_back(
    control_plane: ControlPlane, allowed: Any
) -> None:
    await control_plane.database.pool.execute(
        "INSERT INTO spent_nonces VALUES ('old', clock_timestamp() - interval '61 s'),"
        " ('recent', clock_timestamp() - interval '59 s')"
    )
    await allowed.register(control_plane)
    rows = await control_plane.database.pool.fetch("SELECT nonce_digest FROM spent_nonces")
    kept = {row["nonce_digest"] for row in rows}
    assert "recent" in kept
    assert "old" not in kept
