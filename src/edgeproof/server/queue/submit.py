"""A runner hands in a signed result, or many; an operator or a job's owner does by hand.

Whoever holds a lease's token may deliver what its runner signed: the signature says whose result it is.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import EdgeproofError, Refused
from edgeproof.contract.runners import SubmitAnswers, SubmitBatch, SubmitResponse, SubmittedRun
from edgeproof.contract.sigstore_bundle import envelope_in, is_bundle
from edgeproof.domain.runs import Lease, parse_lease
from edgeproof.server.jobs.advance import advance_soon
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import require
from edgeproof.server.queue.deliver import Answer, Delivery, Taken, deliver

GATHERED_BYTES: Final = 64 << 10
"""Larger envelopes go alone: nobody else shall wait until they are verified."""

_HOLDER: Final = """
SELECT held.runner_id, coalesce(held.runner_key, runners.public_key) AS public_key
FROM (
    SELECT run_id, runner_id, runner_key, attempt, lease_digest FROM run_queue WHERE run_id = $1
    UNION ALL
    SELECT run_id, runner_id, runner_key, attempt, lease_digest FROM run_outcomes WHERE run_id = $1
) held
JOIN runs USING (run_id) JOIN jobs USING (job_id) JOIN runners USING (runner_id)
WHERE attempt = $2 AND lease_digest = $3 AND (owner_id = $4 OR $5)
"""


async def submit(
    plane: ControlPlane, principal: Principal, run_id: str, lease: Lease, envelope: bytes
) -> SubmitResponse:
    """Store a signed result as the run's only outcome and advance its job.

    ``envelope`` is a DSSE envelope's canonical bytes, or a key-based Sigstore bundle around one: the same
    envelope again, in either form, gives the same answer. A lease that has expired but was not reaped is
    still good. The lease's runner delivers, or by hand the job's owner or an admin.

    Raises ``Refused`` as ``deliver`` answers, and ``forbidden`` and ``keyless_not_supported``. Nothing is
    stored then.
    """
    runner, by_hand = principal, None
    if principal.kind != "runner":
        runner, by_hand = await _lease_holder(plane, principal, run_id, lease), principal.principal_id
    one = _delivery(runner, run_id, lease, envelope, by_hand)
    taken: Taken
    if len(envelope) > GATHERED_BYTES:
        (found,) = await deliver(plane, [one])
        if isinstance(found, EdgeproofError):
            raise found
        taken = found
    else:
        taken = await plane.deliveries.ask(one, partial(deliver, plane))
    if taken.advancing is not None:
        await advance_soon(plane, taken.advancing)
    return taken.answer


async def submit_batch(plane: ControlPlane, principal: Principal, batch: SubmitBatch) -> SubmitAnswers:
    """One answer for each item, in their order; one item's trouble is not the others'.

    Raises ``Refused`` (``forbidden``).
    """
    require(principal, "runner")
    answers: dict[int, Answer] = {}
    deliveries: dict[int, Delivery] = {}
    for number, item in enumerate(batch.items):
        try:
            # A lone surrogate has no bytes; what was signed had some.
            envelope = item.envelope.encode("utf-8", "surrogatepass")
            deliveries[number] = _delivery(principal, item.run_id, parse_lease(item.lease), envelope)
        except EdgeproofError as error:
            answers[number] = error
    told = await deliver(plane, list(deliveries.values()))
    answers |= dict(zip(deliveries, told, strict=True))
    for job_id in dict.fromkeys(one.advancing for one in told if isinstance(one, Taken) and one.advancing):
        await advance_soon(plane, job_id)
    return SubmitAnswers(
        items=tuple(_shown(item.run_id, answers[number]) for number, item in enumerate(batch.items))
    )


def _shown(run_id: str, answer: Answer) -> SubmittedRun:
    if isinstance(answer, EdgeproofError):
        return SubmittedRun(run_id=run_id, problem=answer.problem())
    return SubmittedRun(run_id=run_id, answer=answer.answer)


def _delivery(
    runner: Principal, run_id: str, lease: Lease, envelope: bytes, by_hand: str | None = None
) -> Delivery:
    """Raises ``Refused`` (``envelope_invalid``, ``keyless_not_supported``, ``key_unknown``)."""
    if is_bundle(envelope):
        envelope = envelope_in(envelope, PublicKey.from_base64(runner.public_key or "").keyid)
    return Delivery(runner, run_id, lease, envelope, by_hand)


async def _lease_holder(plane: ControlPlane, principal: Principal, run_id: str, lease: Lease) -> Principal:
    """The runner whose lease token ``principal`` brings; only for the job's owner and for admins."""
    require(principal, "user", "admin")
    row = await plane.database.pool.fetchrow(
        _HOLDER, run_id, lease.attempt, lease.digest, principal.principal_id, principal.kind == "admin"
    )
    if row is None:
        raise Refused("stale_lease", f"run {run_id}, attempt {lease.attempt}")
    return Principal(row["runner_id"], "runner", row["runner_id"], row["public_key"])
