"""Strangers at the door: keys unknown, removed or replaced; tokens forged, foreign or old."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable

import pytest

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.fleet import RotateKeyRequest
from edgeproof.server.fleet.challenge import new_nonce
from edgeproof.server.plane.runner_token import RunnerToken, open_token, seal_token

from .conftest import VERBS, Scene, told

Presents = Callable[[Scene], Awaitable[str]]


async def nothing(scene: Scene) -> str:
    return ""


async def garbage(scene: Scene) -> str:
    return "r1.bm90IGEgdG9rZW4=.00"


async def altered(scene: Scene) -> str:
    """Another runner's id under the old MAC."""
    token = open_token(scene.plane.keys.token_hmac, scene.two.token)
    other = RunnerToken(
        runner_id=scene.one.runner_id, public_key=token.public_key, expires_at=token.expires_at
    )
    sealed = seal_token(secrets.token_bytes(32), other)
    return f"{sealed.rpartition('.')[0]}.{scene.two.token.rpartition('.')[2]}"


async def foreign(scene: Scene) -> str:
    """What another control plane would have given to the very same runner."""
    token = open_token(scene.plane.keys.token_hmac, scene.one.token)
    return seal_token(secrets.token_bytes(32), token)


async def expired(scene: Scene) -> str:
    token = open_token(scene.plane.keys.token_hmac, scene.one.token)
    old = RunnerToken(runner_id=token.runner_id, public_key=token.public_key, expires_at=1_000_000_000)
    return seal_token(scene.plane.keys.token_hmac, old)


async def of_a_user(scene: Scene) -> str:
    return scene.user.token or ""


async def of_an_admin(scene: Scene) -> str:
    return scene.admin.token or ""


async def of_a_removed_key(scene: Scene) -> str:
    await scene.remove(scene.two)
    return scene.two.token


async def of_a_rotated_out_key(scene: Scene) -> str:
    await scene.rotate_out(scene.two)
    return scene.two.token


@pytest.mark.parametrize(
    ("presents", "refusal"),
    [
        (nothing, (401, "unauthenticated")),
        (garbage, (401, "unauthenticated")),
        (altered, (401, "unauthenticated")),
        (foreign, (401, "unauthenticated")),
        (expired, (401, "unauthenticated")),
        (of_a_removed_key, (403, "key_not_allowed")),
        (of_a_rotated_out_key, (403, "key_not_allowed")),
    ],
)
async def test_a_token_that_is_no_good_opens_nothing(
    scene: Scene, presents: Presents, refusal: tuple[int, str]
) -> None:
    """Even with the lease in hand."""
    token = await presents(scene)
    for verb in VERBS:
        assert told(await scene.one.call(verb, scene.run, scene.lease, token)) == refusal, verb
    await scene.unharmed()


@pytest.mark.parametrize("presents", [of_a_user, of_an_admin])
async def test_people_are_no_runners(scene: Scene, presents: Presents) -> None:
    for verb in ("claim", "heartbeat", "fail"):
        answered = await scene.one.call(verb, scene.run, scene.lease, await presents(scene))
        assert told(answered) == (403, "forbidden"), verb
    await scene.unharmed()


async def test_the_holder_itself_is_out_once_its_key_is_removed(scene: Scene) -> None:
    await scene.remove(scene.one)
    for verb in VERBS:
        answered = await scene.one.call(verb, scene.run, scene.lease)
        assert told(answered) == (403, "key_not_allowed"), verb
    job = await scene.user.job(scene.job_id)
    (run,) = [one for one in job.runs if one.run_id == scene.run.run_id]
    assert run.state == "PENDING"


# --- registration --------------------------------------------------------------------------------


async def test_an_unknown_key_is_not_let_in(scene: Scene) -> None:
    assert told(await scene.stranger().register()) == (403, "key_not_allowed")


async def test_a_removed_key_is_not_let_in_whatever_token_it_brings(scene: Scene) -> None:
    await scene.remove(scene.two)
    assert told(await scene.two.register()) == (403, "key_not_allowed")
    token = await scene.admin.create_enrolment_token()
    assert told(await scene.two.register(token)) == (403, "key_not_allowed")
    # The token was not used up by it.
    assert (await scene.stranger().register(token)).is_success


async def test_a_rotated_out_key_is_not_let_in(scene: Scene) -> None:
    await scene.rotate_out(scene.two)
    token = await scene.admin.create_enrolment_token()
    assert told(await scene.two.register(token)) == (403, "key_not_allowed")


async def test_an_enrolment_token_that_was_guessed(scene: Scene) -> None:
    guessed = f"edgeproof-enrol-{secrets.token_urlsafe(32)}"
    assert told(await scene.stranger().register(guessed)) == (403, "key_not_allowed")


async def test_an_enrolment_token_that_was_used_up(scene: Scene) -> None:
    token = await scene.admin.create_enrolment_token(uses=1)
    assert (await scene.stranger().register(token)).is_success
    assert told(await scene.stranger().register(token)) == (403, "key_not_allowed")


async def test_an_enrolment_token_that_is_over(scene: Scene) -> None:
    token = await scene.admin.create_enrolment_token(uses=5)
    await scene.plane.database.pool.execute("UPDATE enrolment_tokens SET expires_at = clock_timestamp()")
    assert told(await scene.stranger().register(token)) == (403, "key_not_allowed")


async def test_a_known_hostname_takes_nothing_over(scene: Scene) -> None:
    """A name is what a device says of itself; a runner is its key."""
    stranger = scene.stranger()
    token = await scene.admin.create_enrolment_token()
    assert (await stranger.register(token, hostname="device")).is_success
    assert stranger.runner_id not in (scene.one.runner_id, scene.two.runner_id)
    listed = {one.runner_id: one for one in (await scene.admin.runners()).runners}
    assert listed[scene.one.runner_id].public_key == scene.one.key.public.base64
    for verb in ("heartbeat", "submit", "fail", "upload", "download"):
        assert told(await stranger.call(verb, scene.run, scene.lease)) == (409, "stale_lease")
    await scene.unharmed()


async def test_a_rotated_in_key_is_the_same_runner_and_no_third_key_is(scene: Scene) -> None:
    new = scene.stranger()
    await scene.admin.rotate_runner_key(
        RotateKeyRequest(old=scene.one.key.public.base64, new=new.key.public.base64, overlap_seconds=3600)
    )
    assert (await new.register()).is_success
    assert new.runner_id == scene.one.runner_id
    assert told(await scene.stranger().register()) == (403, "key_not_allowed")
    # During the overlap the old key holds what it held.
    await scene.unharmed()
    shown = await scene.admin.runner(scene.one.runner_id)
    assert {key.state for key in shown.keys} == {"good"}
    assert len(shown.keys) == 2


# --- the challenge -------------------------------------------------------------------------------


async def test_a_replayed_proof(scene: Scene) -> None:
    body = scene.two.request()
    proved = scene.two.proof(await scene.two.nonce(body), body)
    assert (await scene.two.prove(proved, body)).is_success
    assert told(await scene.two.prove(proved, body)) == (401, "challenge_invalid")


@pytest.mark.parametrize("relay", ["its key", "its address"])
async def test_a_challenge_relayed_by_another_server(scene: Scene, relay: str) -> None:
    """The runner believes that it talks to the relay, and signs so; the relay passes it all on."""
    body = scene.two.request()
    nonce = await scene.two.nonce(body)
    if relay == "its key":
        scene.two.server_keyid = SigningKey.generate().public.keyid
    else:
        scene.two.url = "http://127.0.0.1:1"
    assert told(await scene.two.prove(scene.two.proof(nonce, body), body)) == (401, "challenge_invalid")


async def test_a_challenge_of_another_control_plane(scene: Scene) -> None:
    now = await scene.plane.database.now()
    nonce = new_nonce(secrets.token_bytes(32), scene.two.key.public, now, secrets.token_bytes(16))
    body = scene.two.request()
    assert told(await scene.two.prove(scene.two.proof(nonce, body), body)) == (401, "challenge_invalid")


async def test_a_challenge_for_another_key(scene: Scene) -> None:
    nonce = await scene.one.nonce(scene.one.request())
    body = scene.two.request()
    assert told(await scene.two.prove(scene.two.proof(nonce, body), body)) == (401, "challenge_invalid")


async def test_a_proof_by_another_key(scene: Scene) -> None:
    """The key is a good one; who proves does not hold it."""
    body = scene.two.request()
    nonce = await scene.two.nonce(body)
    scene.two.key, good = SigningKey.generate(), scene.two.key
    assert told(await scene.two.prove(scene.two.proof(nonce, body), body)) == (401, "challenge_invalid")
    scene.two.key = good


async def test_a_proof_for_another_body(scene: Scene) -> None:
    body = scene.two.request()
    proved = scene.two.proof(await scene.two.nonce(body), body)
    changed = scene.two.request(hostname="another device")
    assert told(await scene.two.prove(proved, changed)) == (401, "challenge_invalid")


@pytest.mark.parametrize("proved", ["", ".", "x.y", "=.=", "A" * 498 + ".A", "\u00e9.AAAA"])
async def test_a_proof_that_is_none(scene: Scene, proved: str) -> None:
    body = scene.two.request()
    answered = await scene.http.post(
        "/api/runners/register", content=body, headers={"Edgeproof-Proof": proved.encode("latin-1")}
    )
    assert told(answered)[1] in ("challenge_required", "challenge_invalid", "invalid_request")
    assert answered.status_code in (400, 401)


@pytest.mark.parametrize("key", ["", "A" * 44, base64.b64encode(b"31 bytes of something, not 32..").decode()])
async def test_a_public_key_that_is_none(scene: Scene, key: str) -> None:
    body = scene.two.request().replace(scene.two.key.public.base64.encode(), key.encode())
    assert told(await scene.http.post("/api/runners/register", content=body)) == (400, "invalid_request")


# --- what is for admins --------------------------------------------------------------------------


ADMINS = (
    ("GET", "/api/runners/keys"),
    ("POST", "/api/runners/keys"),
    ("POST", "/api/runners/keys/remove"),
    ("POST", "/api/runners/keys/rotate"),
    ("POST", "/api/enrolment-tokens"),
    ("GET", "/api/audit"),
    ("GET", "/api/audit/seals"),
)


@pytest.mark.parametrize("who", ["a runner", "a user", "nobody"])
async def test_neither_runners_nor_users_run_the_fleet(scene: Scene, who: str) -> None:
    key = SigningKey.generate().public.base64
    bodies: dict[str, dict[str, str]] = {
        "/api/runners/keys": {"public_key": key},
        "/api/runners/keys/remove": {"key": scene.one.key.public.fingerprint, "reason": "x"},
        "/api/runners/keys/rotate": {"old": scene.one.key.public.base64, "new": key},
    }
    token, refusal = {
        "a runner": (scene.two.token, (403, "forbidden")),
        "a user": (scene.user.token, (403, "forbidden")),
        "nobody": ("", (401, "unauthenticated")),
    }[who]
    for method, route in ADMINS:
        body = bodies.get(route, {}) if method == "POST" else None
        answered = await scene.http.request(method, route, json=body, headers=scene.one.headers(None, token))
        assert told(answered) == refusal, route
    await scene.unharmed()
