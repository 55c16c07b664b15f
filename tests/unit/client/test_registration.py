"""The challenge is answered for the pinned server only, and covers all that it must."""

from __future__ import annotations

import base64
import hashlib

import httpx
import msgspec
import pytest

from edgeproof.client.registration import proof
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.envelope import SigningKey, domain_bytes
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import Health
from edgeproof.contract.runners import Capabilities, RegisterResponse

URL = "http://127.0.0.1:1"
CAPABILITIES = Capabilities(device_class="linux-x86_64", cpu_count=1, memory_bytes=1, isolation="none")


class Server:
    """Challenges, checks the proof as the seed of trust says, and hands out a token."""

    def __init__(self, key: SigningKey, claimed: SigningKey | None = None, spent: int = 0) -> None:
        """The first ``spent`` proofs have come before."""
        self.key = key
        self.spent = spent
        self.claimed = claimed or key
        self.proved = False

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            health = Health(status="ok", service="s", version="0", server_key=self.key.public.base64)
            return httpx.Response(200, content=msgspec.json.encode(health))
        header = request.headers.get("edgeproof-proof")
        if header is None:
            problem = Refused("challenge_required", nonce="n.o-nce").problem()
            return httpx.Response(401, content=msgspec.json.encode(problem))
        self._check(header, await request.aread())
        if self.spent:
            self.spent -= 1
            return httpx.Response(401, content=msgspec.json.encode(Refused("challenge_invalid").problem()))
        response = RegisterResponse(
            runner_id="runner-1",
            token="r1.token",
            expires_at="2026-01-01T00:00:00Z",
            server_key=self.claimed.public.base64,
        )
        return httpx.Response(200, content=msgspec.json.encode(response))

    def _check(self, header: str, body: bytes) -> None:
        nonce, _, signature = header.rpartition(".")
        runner = RUNNER.public
        parts = (
            self.key.public.keyid.encode(),
            URL.encode(),
            nonce.encode(),
            runner.raw,
            hashlib.sha256(body).digest(),
        )
        message = domain_bytes("edgeproof-register-v1", *parts)
        self.proved = nonce == "n.o-nce" and runner.verify(base64.urlsafe_b64decode(signature), message)


RUNNER = SigningKey.generate()


def client(server: Server, pin: str = "") -> ControlPlaneClient:
    return ControlPlaneClient(URL + pin, transport=httpx.MockTransport(server.answer))


async def test_the_proof_holds_and_the_token_is_adopted() -> None:
    server = Server(SigningKey.generate())
    api = client(server, f"#{server.key.public.fingerprint}")
    assert (await api.register(RUNNER, CAPABILITIES)).server_key == server.key.public.base64
    assert server.proved
    assert api.token == "r1.token"


async def test_a_proof_that_came_twice_or_too_late_is_made_anew_once() -> None:
    assert (await client(Server(RUNNER, spent=1)).register(RUNNER, CAPABILITIES)).token == "r1.token"
    server = Server(RUNNER, spent=3)
    with pytest.raises(Refused) as caught:
        await client(server).register(RUNNER, CAPABILITIES)
    assert caught.value.code == "challenge_invalid"
    assert server.spent == 1


async def test_another_key_than_the_pinned_one_gets_no_proof() -> None:
    server = Server(SigningKey.generate())
    api = client(server, f"#{SigningKey.generate().public.fingerprint}")
    with pytest.raises(Refused) as caught:
        await api.register(RUNNER, CAPABILITIES)
    assert caught.value.code == "server_key_mismatch"
    assert not server.proved
    with pytest.raises(Refused):
        await api.health()


async def test_a_registration_that_names_another_key_than_health_is_refused() -> None:
    api = client(Server(SigningKey.generate(), claimed=SigningKey.generate()))
    with pytest.raises(Refused) as caught:
        await api.register(RUNNER, CAPABILITIES)
    assert caught.value.code == "server_key_mismatch"
    assert api.token is None


def test_every_part_of_the_proof_changes_it() -> None:
    base = ("k", "http://127.0.0.1", "n", b"body")
    proofs = {proof(RUNNER, *base)}
    for index, other in enumerate(("K", "http://127.0.0.2", "N", b"BODY")):
        changed = [*base]
        changed[index] = other
        proofs.add(proof(RUNNER, *changed))  # type: ignore[arg-type]  # a list of mixed parts
    assert len(proofs) == 5
