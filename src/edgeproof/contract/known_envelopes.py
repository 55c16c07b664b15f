"""Which envelopes are known to be well signed, so that a process need not check its own signature again.

Only what a key itself sealed or verified comes in here (``SigningKey``, ``open_envelope``).
"""

from __future__ import annotations

import hashlib
import threading


class KnownEnvelopes:
    """At most ``size`` envelopes of one key; the one longest here goes first. Threads may share it.

    An envelope is known by the SHA-256 of its own bytes, taken anew at each question: whoever alters one,
    in the database or on the way, asks for another digest and gets its signature checked.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._digests: dict[bytes, None] = {}
        self._lock = threading.Lock()

    def add(self, envelope: bytes) -> None:
        digest = hashlib.sha256(envelope).digest()
        with self._lock:
            self._digests[digest] = None
            while len(self._digests) > self._size:
                del self._digests[next(iter(self._digests))]

    def __contains__(self, envelope: bytes) -> bool:
        return hashlib.sha256(envelope).digest() in self._digests
