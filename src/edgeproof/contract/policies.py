"""The operator's policies as the HTTP API lists and shows them."""

from __future__ import annotations

from edgeproof.contract.base import Wire
from edgeproof.contract.ids import Digest, UtcTime
from edgeproof.contract.policy import Policy


class PolicyInfo(Wire, frozen=True, kw_only=True):
    """One kept policy. ``digest`` is that of its canonical bytes, as a job spec and a decision name it."""

    name: str
    version: int
    digest: Digest
    added_by: str
    added_at: UtcTime


class PolicyList(Wire, frozen=True, kw_only=True):
    """``GET /api/policies``: by name, newest version first."""

    policies: tuple[PolicyInfo, ...]


class PolicyView(Wire, frozen=True, kw_only=True):
    """``GET /api/policies/{name}`` and the answer to ``POST /api/policies``."""

    info: PolicyInfo
    policy: Policy
