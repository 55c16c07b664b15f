"""What an empty claim says of its runner."""

from __future__ import annotations

import httpx
import pytest

from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.runners import STANDING_HEADER, ClaimRequest


@pytest.mark.parametrize(
    ("header", "standing"),
    [
        (None, "active"),
        ("draining", "draining"),
        ("quarantined", "quarantined"),
        ("said by a later version", "active"),
    ],
)
async def test_an_empty_claim_tells_the_standing(header: str | None, standing: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(204, headers={} if header is None else {STANDING_HEADER: header})

    async with ControlPlaneClient("http://127.0.0.1:1", transport=httpx.MockTransport(answer)) as client:
        assert await client.claim_or_standing(ClaimRequest()) == standing
        assert await client.claim(ClaimRequest()) is None
