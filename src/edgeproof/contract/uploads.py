"""Uploads that go straight to the object store; the control plane checks the digest before they count."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgeproof.contract.base import Wire
from edgeproof.contract.ids import IdText


class DirectUploadRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/artifacts/sha256/{digest}/direct``; ``size`` in bytes."""

    size: Annotated[int, Meta(ge=0)]


class DirectUpload(Wire, frozen=True, kw_only=True):
    """``url`` takes one PUT of the bytes within ``expires_seconds``, without any header of ours; None: this
    control plane's store takes none, send the bytes to the control plane. ``upload_id`` then finishes it."""

    url: str | None = None
    upload_id: IdText | None = None
    expires_seconds: int = 0
