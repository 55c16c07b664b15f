"""Reads the control plane's own documents (envelopes, raw data, policies) back, whole and in memory."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from edgeproof.contract.errors import Unavailable
from edgeproof.server.db.database import Connection
from edgeproof.server.plane.control_plane import ControlPlane

_BODIES: Final = "SELECT digest, body FROM artifacts WHERE digest = ANY($1::text[]) AND body IS NOT NULL"


async def load_document(plane: ControlPlane, digest: str, connection: Connection | None = None) -> bytes:
    """The bytes of a document that the database says is there; ``connection`` is the caller's, if it has one.

    Raises ``Unavailable`` (``unavailable``) when the store does not have them.
    """
    return (await load_documents(plane, [digest], connection))[digest]


async def load_documents(
    plane: ControlPlane, digests: Collection[str], connection: Connection | None = None
) -> dict[str, bytes]:
    """By digest, as ``load_document``."""
    if not digests:
        return {}
    rows = await (connection or plane.database.pool).fetch(_BODIES, list(digests))
    found: dict[str, bytes] = {row["digest"]: row["body"] for row in rows}
    return {digest: found.get(digest) or await _from_store(plane, digest) for digest in digests}


async def _from_store(plane: ControlPlane, digest: str) -> bytes:
    size = await plane.artifacts.size(digest)
    if size is None:
        raise Unavailable("unavailable", f"the store has lost sha256:{digest}")
    return b"".join([block async for block in plane.artifacts.read(digest, 0, size)])
