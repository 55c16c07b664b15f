"""Decisions that rest on what a compromised runner key signed: what is said of them, here and offline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.jobs import Withdrawal
from edgeproof.contract.receipts import Receipt
from edgeproof.lab.trust import RevokedKey


def words(withdrawal: Withdrawal) -> str:
    """Why a job's decision counts no more, for people."""
    key = PublicKey.from_base64(withdrawal.runner_key).fingerprint
    return (
        f"withdrawn on {withdrawal.at}: it rests on evidence of the runner key {key}, compromised since"
        f" {withdrawal.compromised_since} ({withdrawal.reason})"
    )


def revoked_of(withdrawals: Iterable[Withdrawal]) -> tuple[RevokedKey, ...]:
    """The keys that the withdrawals name, for a trust document."""
    return tuple(
        RevokedKey(
            public_key=one.runner_key, compromised_since=one.compromised_since, reason=one.reason[:500]
        )
        for one in withdrawals
    )


def rests_on_revoked(
    runner_keys: Iterable[str], receipts: Sequence[Receipt], revoked: Iterable[RevokedKey]
) -> str | None:
    """Why a decision counts no more, None when it does. ``runner_keys`` (base64) signed its evidence.

    The time that counts is the control plane's receipt. A decision from before there were receipts does not
    say when: nothing that a revoked key signed is believed then.
    """
    keys = set(runner_keys)
    for one in revoked:
        if one.public_key not in keys:
            continue
        since = datetime.fromisoformat(one.compromised_since)
        times = [receipt.received_at for receipt in receipts if receipt.runner_key == one.public_key]
        late = [at for at in times if datetime.fromisoformat(at) >= since]
        if late or not times:
            when = f"received {max(late)}" if late else "of which no receipt tells the time"
            return (
                f"it rests on evidence of the runner key {PublicKey.from_base64(one.public_key).fingerprint},"
                f" {when}; the key is compromised since {one.compromised_since} ({one.reason})"
            )
    return None
