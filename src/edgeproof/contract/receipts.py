"""The control plane's note on a result that it took: when, from whose key, under which attempt.

A decision names these notes among its evidence, so that its signature covers them and states the time
against which each runner's key was allowed, while its own payload has no time (DESIGN decision 9).
"""

from __future__ import annotations

from typing import Literal

from edgeproof.contract.base import Signed
from edgeproof.contract.ids import Base64Key, Digest, IdText, UtcTime


class Receipt(Signed, frozen=True, kw_only=True):
    """``edgeproof-receipt-v1``: at ``received_at``, by the database's clock, ``runner_key`` was allowed and
    the envelope with the digest ``envelope`` became the run's only outcome."""

    schema_version: Literal["edgeproof-receipt-v1"]
    job_id: IdText
    run_id: IdText
    attempt: int
    envelope: Digest
    runner_key: Base64Key
    received_at: UtcTime
