"""Uploads straight to the object store: offered here, checked here, the bytes never pass here.

Nothing is remembered between the two steps: the name under which bytes are put is made of who may put them,
which digest they shall have and a random id, so nobody can finish another's upload or under another digest.
"""

from __future__ import annotations

import secrets
from typing import Final

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import ArtifactInfo
from edgeproof.contract.uploads import DirectUpload
from edgeproof.domain.runs import Lease
from edgeproof.server.artifacts.artifacts import take_in, upload_limit
from edgeproof.server.plane.control_plane import ControlPlane, Principal

LIFETIME_SECONDS: Final = 900
"""How long a URL takes bytes. It ends no upload that has begun."""


async def offer_upload(
    plane: ControlPlane,
    principal: Principal,
    digest: str,
    size: int,
    *,
    run_id: str | None = None,
    lease: Lease | None = None,
) -> DirectUpload:
    """Where to put ``size`` bytes. Raises as ``put_artifact`` does, as far as can be said beforehand."""
    limit = await upload_limit(plane, principal, run_id, lease)
    if size > limit:
        raise Refused("body_too_large", f"an artifact here has at most {limit} bytes")
    upload_id = secrets.token_hex(16)
    url = await plane.artifacts.offer(_name(principal, digest, upload_id), LIFETIME_SECONDS)
    if url is None:
        return DirectUpload()
    return DirectUpload(url=url, upload_id=upload_id, expires_seconds=LIFETIME_SECONDS)


async def finish_upload(
    plane: ControlPlane,
    principal: Principal,
    digest: str,
    upload_id: str,
    *,
    run_id: str | None = None,
    lease: Lease | None = None,
) -> ArtifactInfo:
    """Read back what was put, and keep it if it has the digest. Raises as ``put_artifact``; ``not_found``
    when nothing was put, or it was finished already."""
    limit = await upload_limit(plane, principal, run_id, lease)
    name = _name(principal, digest, upload_id)
    async with plane.artifacts.adopt(name, max_bytes=limit) as received:
        return await take_in(plane, principal, digest, received, run_id, lease)


def _name(principal: Principal, digest: str, upload_id: str) -> str:
    return sha256_hex(f"{principal.principal_id}\0{digest}\0{upload_id}".encode())
