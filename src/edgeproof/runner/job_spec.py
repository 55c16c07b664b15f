"""Bytes from a claim in, a job spec that this runner may act on out, or a refusal.

What is *not* checked: ``expires_at``. The lease is the server's to judge by its own clock; a device
whose clock is a day off must neither refuse good work nor accept old (DESIGN invariants).
"""

from __future__ import annotations

from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import ClaimedRun
from edgeproof.contract.statements import JobSpec, JobSpecStatement, open_statement
from edgeproof.domain.runs import Lease, same_digest


def accept(claimed: ClaimedRun, control_plane: PublicKey, own: PublicKey) -> JobSpec:
    """Raises ``Refused`` (``job_spec_refused``) unless the spec is signed, whole and meant for us now."""
    try:
        statement = open_statement(
            claimed.job_spec.encode(), control_plane, JobSpecStatement, what="job spec"
        )
    except Refused as error:
        raise Refused("job_spec_refused", error.detail) from error
    except UnicodeEncodeError as error:
        raise Refused("job_spec_refused", "the job spec is not text") from error
    spec = statement.predicate
    lease = Lease(claimed.attempt, claimed.lease_token)
    demands = {
        "control plane key": spec.control_plane_key == control_plane.base64,
        "runner key": spec.runner_key == own.base64,
        "run": spec.run_id == claimed.run_id and spec.job_id == claimed.job_id,
        "attempt": spec.attempt == claimed.attempt,
        "lease": same_digest(spec.lease_digest, lease.digest),
        "stage": spec.stage == claimed.stage == spec.config.__struct_config__.tag,
    }
    for what, holds in demands.items():
        if not holds:
            raise Refused("job_spec_refused", f"the job spec names another {what} than the claim")
    return spec
