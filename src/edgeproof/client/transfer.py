"""Artifacts in both directions, streamed: the digest is checked here as well as by the server.

A download appears under its final name only when it is whole; what a broken one left is resumed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from edgeproof.client.direct_upload import DIRECT_BYTES, put_directly
from edgeproof.client.exchange import Exchange, decoded, may_repeat
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import EdgeproofError, Refused, Unavailable
from edgeproof.contract.jobs import ArtifactInfo
from edgeproof.contract.runners import LEASE_HEADER
from edgeproof.domain.runs import Lease

CHUNK_BYTES: Final = 256 << 10
BINARY: Final = {"Content-Type": "application/octet-stream"}


def artifact_path(digest: str) -> str:
    return f"/api/artifacts/sha256/{digest}"


def under_lease(run_id: str | None, lease: Lease | None) -> tuple[dict[str, str], dict[str, str]]:
    """Query and headers by which a runner shows under which lease it reads or writes."""
    query = {} if run_id is None else {"run_id": run_id}
    headers = {} if lease is None else {LEASE_HEADER: lease.header()}
    return query, headers


async def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in a thread. Raises ``Refused`` when it cannot be read."""
    try:
        return await asyncio.to_thread(_digest_of_file, path)
    except OSError as error:
        raise Refused("invalid_request", f"{path} cannot be read: {error.strerror}") from error


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def upload_file(
    exchange: Exchange, path: Path, digest: str, *, run_id: str | None = None, lease: Lease | None = None
) -> ArtifactInfo:
    """Streams the file that has this digest; repeated when the connection breaks.

    Raises ``Refused``: ``artifact_digest_mismatch``, ``invalid_request`` for a file that cannot be read.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Refused("invalid_request", f"{path} cannot be read: {error.strerror}") from error

    async def chunks() -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk

    query, headers = under_lease(run_id, lease)
    if size >= DIRECT_BYTES:
        taken = await put_directly(exchange, artifact_path(digest), chunks, size, query, headers)
        if taken is not None:
            return taken
    response = await exchange.send(
        "PUT",
        artifact_path(digest),
        body=chunks,
        headers={**BINARY, **headers, "Content-Length": str(size)},
        query=query,
        idempotent=True,
    )
    return decoded(response, ArtifactInfo)


async def upload_bytes(
    exchange: Exchange, data: bytes, *, run_id: str | None = None, lease: Lease | None = None
) -> ArtifactInfo:
    """As ``upload_file``, for what fits in memory."""
    query, headers = under_lease(run_id, lease)
    response = await exchange.send(
        "PUT",
        artifact_path(sha256_hex(data)),
        body=data,
        headers={**BINARY, **headers},
        query=query,
        idempotent=True,
    )
    return decoded(response, ArtifactInfo)


async def download_file(
    exchange: Exchange, digest: str, path: Path, *, run_id: str | None = None, lease: Lease | None = None
) -> None:
    """Fetches an artifact to ``path``; once anew when what an earlier attempt left turns out to be damaged.

    Raises ``Refused`` (``artifact_digest_mismatch``) when the bytes are not those named; nothing is
    then left at ``path``.
    """
    partial = path.with_name(f".{path.name}.{digest[:16]}.part")
    query, headers = under_lease(run_id, lease)
    try:
        resumed = await _fill(exchange, artifact_path(digest), partial, query, headers)
        found = await asyncio.to_thread(_digest_of_file, partial)
        if found != digest and resumed:
            partial.unlink()
            await _fill(exchange, artifact_path(digest), partial, query, headers)
            found = await asyncio.to_thread(_digest_of_file, partial)
        if found != digest:
            partial.unlink()
            raise Refused("artifact_digest_mismatch", f"asked for {digest}, got bytes of {found}")
        await asyncio.to_thread(_settle, partial, path)
    except OSError as error:
        # What could not be finished for want of space must not go on taking it.
        partial.unlink(missing_ok=True)
        raise Unavailable("disk_full" if error.errno == 28 else "internal_error", str(error)) from error


async def _fill(
    exchange: Exchange, route: str, partial: Path, query: dict[str, str], headers: dict[str, str]
) -> bool:
    """Appends to ``partial`` until the answer ended, going on where a broken attempt stopped.

    Whether some of it is not of the last answer.
    """
    attempt = 0
    while True:
        have = partial.stat().st_size if partial.exists() else 0
        ask = {**headers, "Range": f"bytes={have}-"} if have else headers
        try:
            async with exchange.stream("GET", route, headers=ask, query=query) as response:
                resumed = response.status_code == 206
                with partial.open("ab" if resumed else "wb") as file:
                    await _append(response, file)
            return resumed
        except EdgeproofError as error:
            if error.code == "range_not_satisfiable":
                return True
            advanced = partial.exists() and partial.stat().st_size > have
            attempt, asked = 0 if advanced else attempt + 1, error.retry_after
            if attempt >= exchange.retry.attempts or not may_repeat(error, idempotent=True):
                raise
        await exchange.retry.pause(attempt, asked)


async def _append(response: httpx.Response, file: BinaryIO) -> None:
    async for chunk in response.aiter_bytes(CHUNK_BYTES):
        await asyncio.to_thread(file.write, chunk)


def _settle(partial: Path, path: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


async def fetch_bytes(
    exchange: Exchange,
    digest: str,
    *,
    max_bytes: int,
    run_id: str | None = None,
    lease: Lease | None = None,
) -> bytes:
    """A small artifact into memory, at most ``max_bytes``, its digest checked."""
    query, headers = under_lease(run_id, lease)
    attempt = 0
    while True:
        try:
            data = await _bounded_body(exchange, artifact_path(digest), max_bytes, query, headers)
            break
        except EdgeproofError as error:
            attempt, asked = attempt + 1, error.retry_after
            if attempt >= exchange.retry.attempts or not may_repeat(error, idempotent=True):
                raise
        await exchange.retry.pause(attempt - 1, asked)
    if sha256_hex(data) != digest:
        raise Refused("artifact_digest_mismatch", f"asked for {digest}, got bytes of {sha256_hex(data)}")
    return data


async def _bounded_body(
    exchange: Exchange, route: str, max_bytes: int, query: dict[str, str], headers: dict[str, str]
) -> bytes:
    data = bytearray()
    async with exchange.stream("GET", route, headers=headers, query=query) as response:
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > max_bytes:
                raise Refused("body_too_large", f"the artifact has more than {max_bytes} bytes")
    return bytes(data)
