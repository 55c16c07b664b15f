"""Reads the control plane's own documents (envelopes, raw data, policies) back, whole and in memory."""

from __future__ import annotations

from typing import Final

from edgeproof.contract.errors import Unavailable
from edgeproof.server.control_plane import ControlPlane
from edgeproof.server.database import Connection

_BODY: Final = "SELECT body FROM artifacts WHERE digest = $1 AND body IS NOT NULL"


async def load_document(plane: ControlPlane, digest: str, connection: Connection | None = None) -> bytes:
    """The bytes of a document that the database says is there; ``connection`` is the caller's, if it has one.

    Raises ``Unavailable`` (``unavailable``) when the store does not have them.
    """
    body: bytes | None = await (connection or plane.database.pool).fetchval(_BODY, digest)
    if body is not None:
        return body
    size = await plane.artifacts.size(digest)
    if size is None:
        raise Unavailable("unavailable", f"the store has lost sha256:{digest}")
    return b"".join([block async for block in plane.artifacts.read(digest, 0, size)])
