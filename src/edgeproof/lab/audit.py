"""Checks an audit log as the control plane hands it out: every entry, every link, every signature.

What it cannot see: that the newest seals were taken away together with their entries. Whoever keeps an
earlier head finds that too (``expect``). Nor that the control plane wrote something untrue.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from edgeproof.contract.audit import AUDIT_DOMAIN, EMPTY_HEAD, AuditSeal, chain, entry_digest, seal_parts
from edgeproof.contract.envelope import PublicKey, domain_bytes


@dataclass(frozen=True)
class Head:
    """The chain after ``seal``; ``head`` is hexadecimal."""

    seal: int
    head: str


@dataclass
class AuditCheck:
    """Fed with all seals in order; ``faults`` says in words what does not hold."""

    key: PublicKey
    expect: Head | None = None
    faults: list[str] = field(default_factory=list)
    seals: int = 0
    entries: int = 0
    head: bytes = EMPTY_HEAD

    def seal(self, told: AuditSeal) -> None:
        """The next seal."""
        number = self.seals + 1
        if told.seal != number:
            self.faults.append(f"seal {number} is missing: {told.seal} follows {self.seals}")
        self.entries += len(told.entry_ids)
        self._entries(told)
        try:
            linked = chain(self.head, (bytes.fromhex(one) for one in told.digests))
            stated = bytes.fromhex(told.head)
            signature = base64.b64decode(told.signature, validate=True)
        except (ValueError, binascii.Error):
            self.faults.append(f"seal {told.seal} is malformed")
            self.seals = told.seal
            return
        if linked != stated:
            self.faults.append(
                f"seal {told.seal} does not continue the chain: digests or their order changed"
            )
        if told.count != self.entries:
            self.faults.append(f"seal {told.seal} counts {told.count} entries; {self.entries} lead up to it")
        parts = seal_parts(told.seal, told.at, told.count, stated)
        if not self.key.verify(signature, domain_bytes(AUDIT_DOMAIN, *parts)):
            self.faults.append(f"seal {told.seal} does not have the control plane's signature")
        if self.expect is not None and self.expect.seal == told.seal and self.expect.head != told.head:
            self.faults.append(f"seal {told.seal} has the head {told.head}, not {self.expect.head}")
        # Continued from what is stated, so that one fault is told once.
        self.seals, self.entries, self.head = told.seal, told.count, stated

    def end(self, stray: tuple[int, ...]) -> None:
        """After the last seal; ``stray`` as ``AuditPage`` tells it."""
        self.faults.extend(f"entry {one} was put in behind the seals" for one in stray)
        if self.expect is not None and self.seals < self.expect.seal:
            self.faults.append(f"the log ends at seal {self.seals}: seal {self.expect.seal} was removed")

    def _entries(self, told: AuditSeal) -> None:
        if len(told.digests) != len(told.entry_ids):
            self.faults.append(f"seal {told.seal} names {len(told.entry_ids)} entries and other digests")
            return
        present = {entry.entry_id: entry for entry in told.entries}
        for entry_id, digest in zip(told.entry_ids, told.digests, strict=True):
            entry = present.get(entry_id)
            if entry is None:
                self.faults.append(f"entry {entry_id} was removed (seal {told.seal})")
            elif entry_digest(entry).hex() != digest:
                self.faults.append(f"entry {entry_id} was altered (seal {told.seal})")
