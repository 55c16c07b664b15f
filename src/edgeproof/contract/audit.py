"""The audit log's messages and its chain: who did what to keys, leases, results and decisions.

An entry's digest covers its canonical bytes, the chain folds digests one after the other, and a seal is the
control plane's signature over the chain so far. Pure; checking a whole log is ``lab.audit``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from edgeproof.contract.base import Wire
from edgeproof.contract.ids import Base64Key, UtcTime

AUDIT_DOMAIN: Final = "edgeproof-audit-v1"
EMPTY_HEAD: Final = bytes(32)
"""The chain before the first entry."""


class AuditEntry(Wire, frozen=True, kw_only=True):
    """One act. ``actor`` is a principal's id, a runner's id, or ``control-plane``; ``subject`` what it was
    done to: a run, a job, a key's fingerprint. ``data`` holds texts and whole numbers only."""

    entry_id: int
    at: UtcTime
    actor: str
    act: str
    subject: str
    data: dict[str, Any]


class AuditSeal(Wire, frozen=True, kw_only=True):
    """A stretch of the log as it was sealed, and its entries as they are now.

    ``entry_ids`` and ``digests`` (hexadecimal SHA-256) are in the order of the chain; ``count`` is that of
    all entries up to here, ``head`` (hexadecimal) the chain after the last of them. ``signature`` is base64,
    over ``seal_parts`` in the domain ``edgeproof-audit-v1``.
    """

    seal: int
    at: UtcTime
    entry_ids: tuple[int, ...]
    digests: tuple[str, ...]
    count: int
    head: str
    signature: str
    entries: tuple[AuditEntry, ...]


class AuditPage(Wire, frozen=True, kw_only=True):
    """``GET /api/audit/seals``: seals in order. The last page, whose ``next_after`` is None, also tells the
    ``unsealed`` tail and the ids of ``stray`` entries, which no seal covers though one should."""

    server_key: Base64Key
    seals: tuple[AuditSeal, ...]
    next_after: int | None
    unsealed: tuple[AuditEntry, ...] = ()
    stray: tuple[int, ...] = ()


class AuditList(Wire, frozen=True, kw_only=True):
    """``GET /api/audit``: newest first; ``next_before`` is None on the last page."""

    entries: tuple[AuditEntry, ...]
    next_before: Annotated[int, Meta(ge=1)] | None = None


def entry_digest(entry: AuditEntry) -> bytes:
    """SHA-256 of the entry's RFC 8785 bytes, as an array in the order of its fields.

    Without floats and with ASCII keys, sorted msgspec JSON has the same bytes as RFC 8785 (a test compares
    them), at a tenth of the time: the log grows with every lease.
    """
    fields = [entry.entry_id, entry.at, entry.actor, entry.act, entry.subject, entry.data]
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).digest()


def chain(head: bytes, digests: Iterable[bytes]) -> bytes:
    """``head`` continued by each digest: SHA-256 of head ‖ digest."""
    for digest in digests:
        head = hashlib.sha256(head + digest).digest()
    return head


def seal_parts(seal: int, at: str, count: int, head: bytes) -> tuple[bytes, ...]:
    """What a seal's signature covers."""
    return seal.to_bytes(8, "big"), at.encode("ascii"), count.to_bytes(8, "big"), head
