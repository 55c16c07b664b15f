"""The operator's fleet: the runners' keys on the allowlist, and one runner in full."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgeproof.contract.base import Wire
from edgeproof.contract.ids import Base64Key, IdText, UtcTime
from edgeproof.contract.jobs import RunState
from edgeproof.contract.runners import Needs, RunnerView

KeyName = Annotated[str, Meta(min_length=44, max_length=71)]
"""A key: its base64, or its fingerprint ``sha256:<hex>`` when it is listed already."""

KeySource = Literal["admin", "enrolment", "static"]
KeyState = Literal["good", "rotated_out", "removed", "compromised"]


class RunnerKeyView(Wire, frozen=True, kw_only=True):
    """One key and its history. ``source`` is who listed it: an admin, an enrolment token, or the static list
    of the configuration. ``runner_id`` is None until it has registered; ``good_until`` ends a rotated-out
    key. ``compromised_since``: its results from then on count for nothing."""

    public_key: Base64Key
    fingerprint: str
    state: KeyState
    source: KeySource
    added_by: str
    added_at: UtcTime
    runner_id: str | None
    good_until: UtcTime | None
    removed_at: UtcTime | None
    removed_by: str | None
    reason: str | None
    compromised_since: UtcTime | None


class RunnerKeyList(Wire, frozen=True, kw_only=True):
    """``GET /api/runners/keys``: oldest first, removed ones too."""

    keys: tuple[RunnerKeyView, ...]


class AddKeyRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/runners/keys``."""

    public_key: Base64Key


class RemoveKeyRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/runners/keys/remove``. With ``compromised_since``, decisions that rest on evidence which
    the key signed and the server received since then need review again."""

    key: KeyName
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    compromised_since: UtcTime | None = None


class RemovedKey(Wire, frozen=True, kw_only=True):
    """What the removal did at once: leases that ended; and the decisions (job ids) that are withdrawn for the
    key, those of an earlier call too."""

    key: RunnerKeyView
    leases_ended: int
    withdrawn: tuple[str, ...]


class RotateKeyRequest(Wire, frozen=True, kw_only=True):
    """``POST /api/runners/keys/rotate``: ``new`` is good from now on, ``old`` for ``overlap_seconds`` more.
    The runner keeps its id and its history."""

    old: KeyName
    new: Base64Key
    overlap_seconds: Annotated[int, Meta(ge=0, le=90 * 86_400)] = 86_400


class RotatedKey(Wire, frozen=True, kw_only=True):
    old: RunnerKeyView
    new: RunnerKeyView


class HeldRun(Wire, frozen=True, kw_only=True):
    """A run under a runner's lease; ``status_text`` is what the runner says that it does."""

    run_id: IdText
    job_id: IdText
    stage: str
    attempt: int
    lease_expires_at: UtcTime
    status_text: str | None = None


class FittingClass(Wire, frozen=True, kw_only=True):
    """A kind of run that a runner can do; ``pending`` are those that wait."""

    class_id: int
    needs: Needs
    pending: int


class RunnerDetail(Wire, frozen=True, kw_only=True):
    """``GET /api/runners/{runner_id}``: ``outcomes`` counts its finished runs by state.

    ``classes`` are up to 200 kinds of run that it can do, those of which most wait first.
    """

    runner: RunnerView
    keys: tuple[RunnerKeyView, ...]
    holding: tuple[HeldRun, ...]
    outcomes: dict[RunState, int]
    classes: tuple[FittingClass, ...] = ()
