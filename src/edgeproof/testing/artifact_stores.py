"""What every ``ArtifactStore`` must do: one suite, run against each implementation on an empty store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from edgeproof.contract.errors import EdgeproofError
from edgeproof.server.storage.artifact_store import ArtifactStore

Check = Callable[[ArtifactStore], Awaitable[None]]

SMALL: Final = b"a small artifact"
LARGE: Final = os.urandom(9 << 20)
"""More than any store takes in one piece."""
ABSENT: Final = "0" * 64


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def altered(data: bytes) -> bytes:
    """As many bytes, of which the last one is another, whichever it was."""
    return data[:-1] + bytes([data[-1] ^ 1])


async def pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def keep(store: ArtifactStore, data: bytes) -> str:
    async with store.receive(pieces(data), max_bytes=len(data)) as received:
        assert (received.digest, received.size) == (sha256(data), len(data))
        await received.keep()
        return received.digest


async def read(store: ArtifactStore, digest: str, start: int, end: int) -> bytes:
    return b"".join([block async for block in store.read(digest, start, end)])


async def kept(store: ArtifactStore) -> set[str]:
    return {digest async for digest in store.kept()}


async def code_of(work: Awaitable[object]) -> str:
    try:
        await work
    except EdgeproofError as error:
        return error.code
    return "no error"


async def what_was_kept_reads_back_whole_and_in_part(store: ArtifactStore) -> None:
    for data in (SMALL, LARGE):
        digest = await keep(store, data)
        assert await store.size(digest) == len(data)
        assert await read(store, digest, 0, len(data)) == data
        assert await read(store, digest, 3, 11) == data[3:11]
        assert await read(store, digest, len(data) - 1, len(data)) == data[-1:]


async def an_empty_artifact_is_one(store: ArtifactStore) -> None:
    digest = await keep(store, b"")
    assert await store.size(digest) == 0
    assert await read(store, digest, 0, 0) == b""


async def what_was_not_kept_is_not_there(store: ArtifactStore) -> None:
    for data in (SMALL, LARGE):
        async with store.receive(pieces(data), max_bytes=len(data)) as received:
            assert await store.size(received.digest) is None
        assert await store.size(sha256(data)) is None
        assert await code_of(read(store, sha256(data), 0, 1)) == "not_found"
    assert await kept(store) == set()
    assert await store.sweep(0) == 0


async def more_than_allowed_is_refused_and_leaves_nothing(store: ArtifactStore) -> None:
    async def take(data: bytes) -> None:
        async with store.receive(pieces(data), max_bytes=len(data) - 1):
            raise AssertionError("it was taken")

    for data in (SMALL, LARGE):
        assert await code_of(take(data)) == "body_too_large"
    assert (await kept(store), await store.sweep(0)) == (set(), 0)


async def a_sender_that_breaks_off_leaves_nothing(store: ArtifactStore) -> None:
    async def breaking(data: bytes) -> AsyncIterator[bytes]:
        async for piece in pieces(data):
            yield piece
        raise ConnectionResetError("gone")

    for data in (SMALL, LARGE):
        try:
            async with store.receive(breaking(data), max_bytes=len(data) + 1):
                raise AssertionError("it was taken")
        except ConnectionResetError:
            pass
    assert (await kept(store), await store.sweep(0)) == (set(), 0)


async def keeping_again_and_deleting_again_are_harmless(store: ArtifactStore) -> None:
    for data in (SMALL, LARGE):
        assert await keep(store, data) == await keep(store, data)
        for _ in range(2):
            await store.delete(sha256(data))
            assert await store.size(sha256(data)) is None
    await store.delete(ABSENT)


async def everything_kept_is_told(store: ArtifactStore) -> None:
    digests = {await keep(store, bytes([number])) for number in range(20)}
    assert await kept(store) == digests
    gone = min(digests)
    await store.delete(gone)
    assert await kept(store) == digests - {gone}


async def nothing_was_uploaded_where_nothing_was_offered(store: ArtifactStore) -> None:
    async def adopt() -> None:
        async with store.adopt("nobody-offered-this", max_bytes=100):
            raise AssertionError("it was taken")

    assert await code_of(adopt()) == "not_found"


async def a_name_that_is_no_digest_is_never_a_path(store: ArtifactStore) -> None:
    for name in ("../../etc/passwd", "A" * 64, ""):
        try:
            await store.size(name)
        except ValueError:
            continue
        raise AssertionError(f"{name!r} was looked for")


CHECKS: Final[tuple[Check, ...]] = (
    what_was_kept_reads_back_whole_and_in_part,
    an_empty_artifact_is_one,
    what_was_not_kept_is_not_there,
    more_than_allowed_is_refused_and_leaves_nothing,
    a_sender_that_breaks_off_leaves_nothing,
    keeping_again_and_deleting_again_are_harmless,
    everything_kept_is_told,
    nothing_was_uploaded_where_nothing_was_offered,
    a_name_that_is_no_digest_is_never_a_path,
)
