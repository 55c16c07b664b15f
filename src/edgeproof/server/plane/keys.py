"""The control plane's secrets, made once and shared by every replica through the database.

Not here: what is signed with them. They never leave the process and never show in ``repr``.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from edgeproof.contract.envelope import SigningKey
from edgeproof.server.db.database import Database

_REMEMBERED: Final = 8192
"""Job specs come back with their results and again for the decision; some 1 MiB knows these."""


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """``signing`` signs job specs and decisions; the other two key HMACs of tokens and of nonces."""

    signing: SigningKey = field(repr=False)
    token_hmac: bytes = field(repr=False)
    challenge_hmac: bytes = field(repr=False)


async def load_keys(database: Database) -> ServerKeys:
    """Make the keys that are missing, then read back what is there: the first replica wins."""
    fresh = {
        "signing-key": SigningKey.generate().private_bytes(),
        "token-hmac": secrets.token_bytes(32),
        "challenge-hmac": secrets.token_bytes(32),
    }
    async with database.transaction() as connection:
        await connection.executemany(
            "INSERT INTO server_secrets (name, secret) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            sorted(fresh.items()),
        )
        rows = await connection.fetch("SELECT name, secret FROM server_secrets")
    kept: dict[str, bytes] = {row["name"]: row["secret"] for row in rows}
    return ServerKeys(
        signing=SigningKey(kept["signing-key"], remember=_REMEMBERED),
        token_hmac=kept["token-hmac"],
        challenge_hmac=kept["challenge-hmac"],
    )
