"""A job spec is acted on only if it is whole, signed by our control plane, and meant for us now."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest

from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.envelope import SigningKey, open_envelope
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import ClaimedRun, ClaimRequest
from edgeproof.contract.statements import ForgeConfig, JobSpecStatement
from edgeproof.domain.runs import new_lease
from edgeproof.runner.job_spec import accept
from edgeproof.runner.session import Session
from edgeproof.testing.simulated_server import SimulatedServer

SPEC_FIELDS = (
    "run_id",
    "job_id",
    "stage",
    "attempt",
    "lease_digest",
    "runner_key",
    "control_plane_key",
    "model",
    "tasks",
    "config",
    "policy_digest",
    "limits",
    "issued_at",
    "expires_at",
)


@pytest.fixture
async def claimed(server: SimulatedServer, session: Session, config: ForgeConfig) -> ClaimedRun:
    await session.open()
    server.add(config)
    found = await server.claim(ClaimRequest())
    assert found is not None
    return found


def refused(claimed: ClaimedRun, server: SimulatedServer, key: SigningKey) -> str:
    with pytest.raises(Refused) as caught:
        accept(claimed, server.key.public, key.public)
    assert caught.value.code == "job_spec_refused"
    return caught.value.detail


def resealed(claimed: ClaimedRun, server: SimulatedServer, **changes: object) -> ClaimedRun:
    """The same claim with a spec that our control plane really signed, with other content."""
    payload = open_envelope(claimed.job_spec.encode(), server.key.public)
    statement = decode_canonical(payload, JobSpecStatement, what="spec")
    predicate = msgspec.structs.replace(statement.predicate, **changes)
    statement = msgspec.structs.replace(statement, predicate=predicate)
    return msgspec.structs.replace(claimed, job_spec=server.key.seal(canonical(statement)).decode())


def test_the_spec_of_our_lease_is_accepted(
    claimed: ClaimedRun, server: SimulatedServer, key: SigningKey, config: ForgeConfig
) -> None:
    assert accept(claimed, server.key.public, key.public).config == config


def test_every_field_is_tried(claimed: ClaimedRun, server: SimulatedServer, key: SigningKey) -> None:
    spec = accept(claimed, server.key.public, key.public)
    assert set(SPEC_FIELDS) == set(spec.__struct_fields__)


@pytest.mark.parametrize("name", SPEC_FIELDS)
def test_a_field_altered_after_signing_is_refused(
    claimed: ClaimedRun, server: SimulatedServer, key: SigningKey, name: str
) -> None:
    envelope = json.loads(claimed.job_spec)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    before = statement["predicate"][name]
    altered: object
    if isinstance(before, int):
        altered = before + 1
    elif isinstance(before, str):
        altered = before[:-1] + ("0" if before[-1] != "0" else "1")
    elif isinstance(before, list):
        altered = [*before, "more"]
    else:
        altered = before | {"source_name": "other"} if name == "config" else before | {"max_seconds": 1}
    statement["predicate"][name] = altered
    envelope["payload"] = base64.b64encode(canonical(statement)).decode()
    changed = msgspec.structs.replace(claimed, job_spec=canonical(envelope).decode())
    assert "signature" in refused(changed, server, key)


def test_another_control_plane_is_refused(claimed: ClaimedRun, key: SigningKey) -> None:
    assert "key" in refused(claimed, SimulatedServer(), key)


def test_a_spec_for_another_runner_is_refused(claimed: ClaimedRun, server: SimulatedServer) -> None:
    assert "runner key" in refused(claimed, server, SigningKey.generate())


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"control_plane_key": SigningKey.generate().public.base64}, "control plane key"),
        ({"runner_key": SigningKey.generate().public.base64}, "runner key"),
        ({"run_id": "run-2"}, "run"),
        ({"job_id": "job-2"}, "run"),
        ({"attempt": 2}, "attempt"),
        ({"lease_digest": new_lease(1).digest}, "lease"),
        ({"stage": "runtime"}, "stage"),
    ],
)
def test_a_well_signed_spec_for_something_else_is_refused(
    claimed: ClaimedRun, server: SimulatedServer, key: SigningKey, changes: dict[str, object], what: str
) -> None:
    assert f"another {what} " in refused(resealed(claimed, server, **changes), server, key)


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": "run-2"},
        {"job_id": "job-2"},
        {"attempt": 2},
        {"lease_token": "0" * 64},
        {"stage": "runtime"},
        {"job_spec": ""},
        {"job_spec": "{}"},
        {"job_spec": "\ud800"},
        {"job_spec": "[" * 100_000},
    ],
)
def test_a_claim_that_does_not_fit_its_spec_is_refused(
    claimed: ClaimedRun, server: SimulatedServer, key: SigningKey, changes: dict[str, object]
) -> None:
    refused(msgspec.structs.replace(claimed, **changes), server, key)


def test_another_kind_of_statement_is_refused(
    claimed: ClaimedRun, server: SimulatedServer, key: SigningKey
) -> None:
    payload = json.loads(open_envelope(claimed.job_spec.encode(), server.key.public))
    payload["predicateType"] = "urn:edgeproof:decision:v1"
    changed = msgspec.structs.replace(claimed, job_spec=server.key.seal(canonical(payload)).decode())
    refused(changed, server, key)
