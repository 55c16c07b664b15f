"""Puts a large file straight into the object store, where the control plane offers that.

It is a short cut and never the only road: whatever does not work here is sent to the control plane instead.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec

from edgeproof.client.address import is_loopback
from edgeproof.client.exchange import CONNECT_SECONDS, JSON, READ_SECONDS, Exchange, decoded
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import ArtifactInfo
from edgeproof.contract.uploads import DirectUpload, DirectUploadRequest

_log = logging.getLogger(__name__)

DIRECT_BYTES: Final = 8 << 20
"""Below this the two more round trips cost more than the way round."""
_NOT_OFFERED: Final = frozenset({"not_found", "method_not_allowed"})


async def put_directly(
    exchange: Exchange,
    route: str,
    chunks: Callable[[], AsyncIterator[bytes]],
    size: int,
    query: dict[str, str],
    headers: dict[str, str],
) -> ArtifactInfo | None:
    """``route`` is the artifact's. None when the bytes must go to the control plane. Raises ``Refused`` where
    that would refuse them too."""
    offered = await _ask(exchange, f"{route}/direct", query, headers, DirectUploadRequest(size=size))
    if offered is None or offered.url is None or not await _put(offered.url, chunks, size):
        return None
    try:
        response = await exchange.send(
            "POST", f"{route}/direct/{offered.upload_id}", headers=headers, query=query, idempotent=True
        )
    except Refused as error:
        # Finished before, and the answer was lost; or swept. Sending the bytes again is harmless.
        if error.code == "not_found":
            return None
        raise
    return decoded(response, ArtifactInfo)


async def _ask(
    exchange: Exchange,
    route: str,
    query: dict[str, str],
    headers: dict[str, str],
    request: DirectUploadRequest,
) -> DirectUpload | None:
    try:
        response = await exchange.send(
            "POST",
            route,
            body=msgspec.json.encode(request),
            headers={**JSON, **headers},
            query=query,
            idempotent=True,
        )
    except Refused as error:
        if error.code in _NOT_OFFERED:  # an older control plane
            return None
        raise
    return decoded(response, DirectUpload)


async def _put(url: str, chunks: Callable[[], AsyncIterator[bytes]], size: int) -> bool:
    """Nothing of ours goes along: the URL alone says what may be done."""
    parts = urlsplit(url)
    loopback = is_loopback(parts.hostname or "")
    if parts.scheme != "https" and not loopback:
        _log.warning("the object store is offered over %s, not used", parts.scheme)
        return False
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    try:
        async with httpx.AsyncClient(timeout=timeout, trust_env=not loopback) as client:
            answer = await client.put(url, content=chunks(), headers={"Content-Length": str(size)})
    except httpx.HTTPError as error:
        _log.warning("the object store cannot be reached: %s", str(error) or type(error).__name__)
        return False
    if not answer.is_success:
        _log.warning("the object store answered %s", answer.status_code)
    return answer.is_success
