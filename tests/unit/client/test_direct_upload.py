"""The short cut past the control plane: taken where it is offered and safe, and never the only road."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from edgeproof.client.address import ServerAddress
from edgeproof.client.direct_upload import put_directly
from edgeproof.client.exchange import Exchange, RetryPolicy
from edgeproof.contract.errors import CODES, Refused
from edgeproof.contract.uploads import DirectUpload

ROUTE = "/api/artifacts/sha256/0"


async def chunks() -> AsyncIterator[bytes]:
    yield b"12345"


def offering(answer: DirectUpload | str, asked: list[str]) -> Exchange:
    """A control plane that answers the offer with ``answer``, an upload or a problem's code."""

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if isinstance(answer, str):
            problem = {
                "type": "", "title": "", "detail": "", "status": CODES[answer].status, "code": answer
            }  # fmt: skip
            return httpx.Response(CODES[answer].status, json=problem)
        return httpx.Response(200, content=msgspec.json.encode(answer))

    return Exchange(
        ServerAddress.parse("http://127.0.0.1:1"),
        "token",
        RetryPolicy(attempts=1),
        transport=httpx.MockTransport(respond),
    )


@pytest.mark.parametrize(
    "answer",
    [
        DirectUpload(),
        "not_found",
        "method_not_allowed",
        DirectUpload(url="http://store.example/x", upload_id="u", expires_seconds=1),  # not safe
        DirectUpload(url="http://127.0.0.1:1/x", upload_id="u", expires_seconds=1),  # nobody there
        DirectUpload(url="ftp://127.0.0.1/x", upload_id="u", expires_seconds=1),
    ],
)
async def test_what_is_not_offered_or_does_not_work_goes_the_usual_way(answer: DirectUpload | str) -> None:
    asked: list[str] = []
    assert await put_directly(offering(answer, asked), ROUTE, chunks, 5, {}, {}) is None
    assert asked == [f"{ROUTE}/direct"]


@pytest.mark.parametrize("code", ["quota_exceeded", "stale_lease", "body_too_large"])
async def test_what_would_be_refused_anyway_is_not_sent(code: str) -> None:
    with pytest.raises(Refused) as caught:
        await put_directly(offering(code, []), ROUTE, chunks, 5, {}, {})
    assert caught.value.code == code
