"""Strangers with a lease, a spec or a result that is not theirs, or no longer as it was."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from edgeproof.contract.canonical import canonical, sha256_hex
from edgeproof.contract.envelope import SigningKey, peek_payload
from edgeproof.contract.fleet import RotateKeyRequest
from edgeproof.domain.runs import Lease
from edgeproof.testing.answers import answer

from .conftest import SECRET, Scene, told

UNDER_LEASE = ("heartbeat", "submit", "fail", "upload", "download")


async def test_another_runners_run_with_its_very_lease(scene: Scene) -> None:
    for verb in UNDER_LEASE:
        assert told(await scene.two.call(verb, scene.run, scene.lease)) == (409, "stale_lease"), verb
    await scene.unharmed()


@pytest.mark.parametrize("wrong", ["token", "attempt", "missing"])
async def test_a_lease_that_is_wrong(scene: Scene, wrong: str) -> None:
    lease = {
        "token": Lease(scene.run.attempt, "0" * 64),
        "attempt": Lease(scene.run.attempt + 1, scene.run.lease_token),
        "missing": Lease(0, ""),
    }[wrong]
    for verb in UNDER_LEASE:
        assert told(await scene.one.call(verb, scene.run, lease)) == (409, "stale_lease"), verb
    await scene.unharmed()


async def test_a_run_that_never_was(scene: Scene) -> None:
    answered = await scene.one.post("/api/queue/run_never/heartbeat", {}, scene.lease)
    assert told(answered) == (409, "stale_lease")


async def test_a_submit_again_and_a_submit_by_another(scene: Scene) -> None:
    made = scene.one.answer(scene.run)
    await scene.one.upload(scene.run, made)
    first = await scene.one.submit(scene.run, made.envelope)
    assert first.status_code == 200, first.text
    # The same again is the same answer: nothing is done twice.
    assert (await scene.one.submit(scene.run, made.envelope)).json() == first.json()
    assert told(await scene.two.submit(scene.run, made.envelope)) == (409, "stale_lease")
    other = scene.one.answer(scene.run, nonce=1)
    assert told(await scene.one.submit(scene.run, other.envelope)) == (409, "different_outcome")


async def test_a_result_replayed_for_the_next_attempt(scene: Scene) -> None:
    made = scene.one.answer(scene.run)
    await scene.one.upload(scene.run, made)
    failed = await scene.one.call("fail", scene.run, scene.lease)
    assert failed.json()["state"] == "PENDING", failed.text
    again = await scene.one.claim()
    while again.run_id != scene.run.run_id:
        again = await scene.one.claim()
    answered = await scene.one.submit(again, made.envelope)
    assert told(answered) == (422, "result_invalid")


async def test_a_job_spec_answered_by_another_runner(scene: Scene) -> None:
    """Another key signs what the spec asked of this one; the thief even has this one's token."""
    made = answer(scene.run.job_spec.encode(), scene.two.key)
    await scene.one.upload(scene.run, made)
    assert told(await scene.one.submit(scene.run, made.envelope)) == (403, "key_unknown")
    await scene.unharmed()


async def test_a_result_for_another_run(scene: Scene) -> None:
    other = await scene.one.claim()
    made = scene.one.answer(other)
    await scene.one.upload(scene.run, made)
    assert told(await scene.one.submit(scene.run, made.envelope)) == (422, "result_invalid")
    await scene.unharmed()


async def test_a_result_under_a_key_that_was_rotated_in_later(scene: Scene) -> None:
    """The spec names the key that claimed: the new one cannot finish what the old one began."""
    new = scene.stranger()
    await scene.admin.rotate_runner_key(
        RotateKeyRequest(old=scene.one.key.public.base64, new=new.key.public.base64, overlap_seconds=3600)
    )
    assert (await new.register()).is_success
    made = answer(scene.run.job_spec.encode(), new.key)
    await scene.one.upload(scene.run, made)
    assert told(await new.submit(scene.run, made.envelope)) == (403, "key_unknown")
    await scene.unharmed()


Change = Callable[[dict[str, Any]], None]


def _bit(envelope: dict[str, Any]) -> None:
    payload = bytearray(base64.b64decode(envelope["payload"]))
    payload[len(payload) // 2] ^= 1
    envelope["payload"] = base64.b64encode(bytes(payload)).decode()


def _signature(envelope: dict[str, Any]) -> None:
    envelope["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()


def _two_signatures(envelope: dict[str, Any]) -> None:
    envelope["signatures"] *= 2


def _no_signature(envelope: dict[str, Any]) -> None:
    envelope["signatures"] = []


def _keyid(envelope: dict[str, Any]) -> None:
    envelope["signatures"][0]["keyid"] = "0" * 64


def _type(envelope: dict[str, Any]) -> None:
    envelope["payloadType"] = "text/plain"


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (_bit, (403, "signature_invalid")),
        (_signature, (403, "signature_invalid")),
        (_two_signatures, (400, "envelope_invalid")),
        (_no_signature, (400, "envelope_invalid")),
        (_keyid, (403, "key_unknown")),
        (_type, (400, "envelope_invalid")),
    ],
)
async def test_a_result_altered_on_the_way(scene: Scene, change: Change, refusal: tuple[int, str]) -> None:
    made = scene.one.answer(scene.run)
    await scene.one.upload(scene.run, made)
    envelope = json.loads(made.envelope)
    change(envelope)
    assert told(await scene.one.submit(scene.run, canonical(envelope))) == refusal
    await scene.unharmed()


async def test_a_result_spelt_otherwise(scene: Scene) -> None:
    made = scene.one.answer(scene.run)
    await scene.one.upload(scene.run, made)
    for spelt in (b" " + made.envelope, made.envelope + b"\n", made.envelope[:-1]):
        assert told(await scene.one.submit(scene.run, spelt)) == (400, "not_canonical")
    await scene.unharmed()


def _rewritten(envelope: bytes, key: SigningKey, change: Change) -> bytes:
    """What the runner itself would sign if it lied."""
    _, payload = peek_payload(envelope)
    statement = json.loads(payload)
    change(statement)
    return key.seal(canonical(statement))


def _inside(statement: dict[str, Any]) -> dict[str, Any]:
    binding: dict[str, Any] = statement["predicate"]["buildDefinition"]["internalParameters"]["binding"]
    return binding


def _other_spec(statement: dict[str, Any]) -> None:
    _inside(statement)["job_spec"] = "0" * 64


def _other_lease(statement: dict[str, Any]) -> None:
    _inside(statement)["lease_digest"] = "0" * 64


def _other_job(statement: dict[str, Any]) -> None:
    _inside(statement)["job_id"] = "another-job"


def _other_key(statement: dict[str, Any]) -> None:
    _inside(statement)["runner_key"] = SigningKey.generate().public.base64


def _other_model(statement: dict[str, Any]) -> None:
    statement["predicate"]["buildDefinition"]["externalParameters"]["config"]["source"] = sha256_hex(SECRET)


def _nul(statement: dict[str, Any]) -> None:
    statement["predicate"]["runDetails"]["builder"]["version"]["onnx"] = "1\0"


def _unknown_field(statement: dict[str, Any]) -> None:
    statement["predicate"]["more"] = 1


def _other_type(statement: dict[str, Any]) -> None:
    statement["predicateType"] = "urn:edgeproof:decision:v1"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_other_spec, "result_invalid"),
        (_other_lease, "result_invalid"),
        (_other_job, "result_invalid"),
        (_other_key, "result_invalid"),
        (_other_model, "result_invalid"),
        (_nul, "result_invalid"),
        (_unknown_field, "statement_invalid"),
        (_other_type, "statement_invalid"),
    ],
)
async def test_a_rightful_runner_that_lies_about_what_it_was_asked(
    scene: Scene, change: Change, code: str
) -> None:
    made = scene.one.answer(scene.run)
    await scene.one.upload(scene.run, made)
    lie = _rewritten(made.envelope, scene.one.key, change)
    assert told(await scene.one.submit(scene.run, lie))[1] == code
    await scene.unharmed()


async def test_a_control_planes_statement_is_no_result(scene: Scene) -> None:
    """The spec itself, which the control plane did sign."""
    assert told(await scene.one.submit(scene.run, scene.run.job_spec.encode())) == (403, "key_unknown")
    await scene.unharmed()


async def test_a_result_that_names_what_was_never_uploaded(scene: Scene) -> None:
    made = scene.one.answer(scene.run)
    assert told(await scene.one.submit(scene.run, made.envelope)) == (400, "artifact_missing")
    await scene.unharmed()


async def test_bytes_that_are_not_those_of_their_name(scene: Scene) -> None:
    route = f"/api/artifacts/sha256/{'0' * 64}?run_id={scene.run.run_id}"
    answered = await scene.http.put(route, content=b"other bytes", headers=scene.one.headers(scene.lease))
    assert told(answered) == (400, "artifact_digest_mismatch")
    gone = await scene.http.get(route, headers=scene.one.headers(scene.lease))
    assert told(gone) == (404, "not_found")
    await scene.unharmed()
