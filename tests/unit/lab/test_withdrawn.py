"""Offline: a decision that rests on a revoked runner key says so, by the receipt's time and no other."""

from __future__ import annotations

import pytest

from edgeproof.contract.jobs import Withdrawal
from edgeproof.lab.trust import RevokedKey, Trust, load_trust, trust_document
from edgeproof.lab.verify import verify
from edgeproof.lab.withdrawn import revoked_of, words
from edgeproof.testing.evidence import Scene, key_for, make_evidence
from edgeproof.testing.folder import make_folder

SCENE = Scene(images=4, calls=1, blocks=1, receipts=True)
MADE = make_evidence(SCENE)
KEY, RUNNER = MADE.control_plane.public, MADE.runner.public
RECEIVED = "2026-01-02T03:04:06Z"


def revoked(since: str, key: str = RUNNER.base64) -> RevokedKey:
    return RevokedKey(public_key=key, compromised_since=since, reason="stolen")


def withdrawn(scene: Scene, *keys: RevokedKey) -> str | None:
    (decision,) = verify(make_folder(scene).files, KEY, keys).decisions
    return decision.withdrawn


@pytest.mark.parametrize("since", ["2020-01-01T00:00:00Z", RECEIVED, "2026-01-02T03:04:06.000000Z"])
def test_what_was_received_since_the_compromise_counts_no_more(since: str) -> None:
    why = withdrawn(SCENE, revoked(since))
    assert why is not None
    assert RUNNER.fingerprint in why
    assert "stolen" in why


@pytest.mark.parametrize("since", ["2026-01-02T03:04:06.000001Z", "2030-01-01T00:00:00Z"])
def test_what_was_received_before_stands(since: str) -> None:
    assert withdrawn(SCENE, revoked(since)) is None


def test_another_runners_key_changes_nothing() -> None:
    assert withdrawn(SCENE, revoked("2020-01-01T00:00:00Z", key_for("a stranger").public.base64)) is None


def test_without_a_receipt_nothing_of_a_revoked_key_is_believed() -> None:
    why = withdrawn(Scene(images=4, calls=1, blocks=1), revoked("2099-01-01T00:00:00Z"))
    assert why is not None
    assert "no receipt" in why


def test_a_trust_document_carries_revoked_keys_and_is_as_before_without() -> None:
    listed = (revoked("2026-01-01T00:00:00Z"),)
    assert load_trust(trust_document(KEY, listed)) == Trust(KEY, listed)
    assert b"revoked" not in trust_document(KEY)
    assert trust_document(KEY, listed * 2) == trust_document(KEY, listed)


def test_a_withdrawal_says_why_and_gives_the_key_to_revoke() -> None:
    told = Withdrawal(
        at=RECEIVED, by="admin-1", reason="stolen", runner_key=RUNNER.base64,
        compromised_since="2026-01-01T00:00:00Z", signed_decision="deployable",
    )  # fmt: skip
    assert "stolen" in words(told)
    assert RUNNER.fingerprint in words(told)
    assert revoked_of([told]) == (revoked("2026-01-01T00:00:00Z"),)
