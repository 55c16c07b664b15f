"""Reads the control plane's own documents (envelopes, raw data, policies) back, whole and in memory."""

from __future__ import annotations

from edgeproof.contract.errors import Unavailable
from edgeproof.server.control_plane import ControlPlane


async def load_document(plane: ControlPlane, digest: str) -> bytes:
    """The bytes of a document that the database says is there.

    Raises ``Unavailable`` (``unavailable``) when the store does not have them.
    """
    size = await plane.artifacts.size(digest)
    if size is None:
        raise Unavailable("unavailable", f"the store has lost sha256:{digest}")
    return b"".join([block async for block in plane.artifacts.read(digest, 0, size)])
