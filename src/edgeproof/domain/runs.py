"""The run's state machine, the lease's rules and the retry rule.

A lease is a claim's right to a run. It is *expired* once the database's clock passes its expiry, but
*stale* only when the run was reaped or claimed again: a submit under an expired lease that nobody
reaped is still good, a heartbeat is not (DESIGN decision 6).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final, NamedTuple

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import RunState

TRANSITIONS: Final[dict[RunState, frozenset[RunState]]] = {
    "PENDING": frozenset({"CLAIMED", "CANCELLED"}),
    "CLAIMED": frozenset({"COMPLETE", "FAILED", "CANCELLED", "PENDING"}),
    "COMPLETE": frozenset(),
    "FAILED": frozenset(),
    "CANCELLED": frozenset(),
}
TERMINAL: Final = frozenset(state for state, after in TRANSITIONS.items() if not after)

MAX_ATTEMPTS: Final = 3
DEFAULT_PRIORITY: Final = 100


class Lease(NamedTuple):
    """What the header ``Edgeproof-Lease`` carries."""

    attempt: int
    token: str

    def header(self) -> str:
        return f"{self.attempt}.{self.token}"

    @property
    def digest(self) -> str:
        """SHA-256 of the token: the only form of it that is stored, signed or published."""
        return hashlib.sha256(self.token.encode()).hexdigest()


def new_lease(attempt: int) -> Lease:
    """A lease with a fresh 256-bit token."""
    return Lease(attempt, secrets.token_hex(32))


def parse_lease(header: str | None) -> Lease:
    """Raises ``Refused`` (``stale_lease``) for a missing or malformed header."""
    attempt, _, token = (header or "").partition(".")
    well_formed = attempt.isdigit() and len(attempt) < 10 and len(token) == 64
    if not (well_formed and (header or "").isascii()):
        raise Refused("stale_lease", "the Edgeproof-Lease header is missing or malformed")
    return Lease(int(attempt), token)


def same_digest(one: str, other: str) -> bool:
    """Constant-time comparison of two hexadecimal digests."""
    return hmac.compare_digest(one, other)


def after_lease_ended(
    attempt: int, max_attempts: int, *, retryable: bool, cancel_requested: bool
) -> RunState:
    """Where a claimed run goes when its lease ends without a result."""
    if cancel_requested:
        return "CANCELLED"
    return "PENDING" if retryable and attempt < max_attempts else "FAILED"


def attempts_more(max_attempts: int, configured: int) -> int:
    """How many more attempts a run gets for one that ended by nobody's doing (handed back, its runner's key
    removed, given in an answer that nobody heard): one, until it has twice as many as were ``configured``.

    A run that is handed back again and again must end some time.
    """
    return 1 if max_attempts < 2 * configured else 0
