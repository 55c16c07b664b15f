"""What no registered runner at work has: for runs that wait, and for a measurement still to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from edgeproof.contract.errors import EdgeproofError, Refused
from edgeproof.contract.runners import Capabilities, Needs
from edgeproof.domain.jobs import TERMINAL
from edgeproof.domain.requirements import Lack, class_digest, lacking_everything, lacks
from edgeproof.lab.plan import JobFacts, measurement_needs
from edgeproof.server.db.rows import Row
from edgeproof.server.jobs.job_facts import order_in, policies_of
from edgeproof.server.plane.control_plane import ControlPlane

Kind = tuple[int | str, str | None]
"""A class, by its id or its digest, and the runner that is named."""

_NEEDS: Final = "SELECT class_id, needs FROM requirement_classes WHERE class_id = ANY($1::integer[])"
_RUNNERS: Final = """
SELECT runner_id, runners.capabilities, standing FROM good_runners JOIN runners USING (runner_id)
"""
_MET: Final = """
SELECT digest, runner FROM unnest($1::text[], $2::text[]) AS wanted (digest, runner)
WHERE EXISTS (
    SELECT FROM requirement_classes c JOIN runner_classes USING (class_id)
    JOIN good_runners USING (runner_id) JOIN runners USING (runner_id)
    WHERE c.digest = wanted.digest AND standing = 'active'
        AND (wanted.runner IS NULL OR runner_id = wanted.runner)
)
"""


async def measurements_to_come(
    plane: ControlPlane, jobs: Sequence[Row]
) -> dict[str, tuple[str | None, Needs]]:
    """By job: the runner that is named for its measurement, and what that will demand.

    ``jobs`` have runs, none of which is the measurement, and the columns ``job_id``, ``status``,
    ``cancel_requested_at``, ``input_summary`` and ``policy_digest``.
    """
    jobs = [job for job in jobs if job["status"] not in TERMINAL and job["cancel_requested_at"] is None]
    if not jobs:
        return {}
    try:
        async with plane.database.pool.acquire() as connection:
            policies = await policies_of(plane, connection, {job["policy_digest"] for job in jobs})
    except EdgeproofError:
        # A policy of another release, or away: its job is shown all the same.
        return {}
    found: dict[str, tuple[str | None, Needs]] = {}
    for job in jobs:
        try:
            order = order_in(job["input_summary"])
        except (Refused, LookupError, TypeError):
            # So is one of another release, or damaged.
            continue
        policy = policies[job["policy_digest"]]
        facts = JobFacts(job["status"], False, order, policy, plane.settings.default_limits)
        found[job["job_id"]] = order.options.runner, measurement_needs(facts)
    return found


async def lacking(
    plane: ControlPlane, unmet: Sequence[Kind], to_come: Sequence[tuple[str | None, Needs]]
) -> dict[Kind, tuple[str, ...]]:
    """What the registered runner that comes nearest lacks, and what it has instead.

    ``unmet`` are classes by their ids, which have no fitting runner; of ``to_come``, by the digests of their
    classes, those are left out that have one.
    """
    pool = plane.database.pool
    wanted: dict[Kind, Needs] = {(class_digest(needs), named): needs for named, needs in to_come}
    if wanted:
        met = await pool.fetch(_MET, [digest for digest, _ in wanted], [named for _, named in wanted])
        for row in met:
            del wanted[row["digest"], row["runner"]]
    if unmet:
        rows = await pool.fetch(_NEEDS, list({class_id for class_id, _ in unmet}))
        needs_of = {row["class_id"]: msgspec.convert(row["needs"], Needs) for row in rows}
        wanted |= {kind: needs_of[kind[0]] for kind in unmet}
    return await _lacking(plane, wanted) if wanted else {}


async def _lacking(plane: ControlPlane, wanted: Mapping[Kind, Needs]) -> dict[Kind, tuple[str, ...]]:
    rows = await plane.database.pool.fetch(_RUNNERS)
    runners = {row["runner_id"]: msgspec.convert(row["capabilities"], Capabilities) for row in rows}
    idle = {
        row["runner_id"]: (f"the release of {row['runner_id']}, which is {row['standing']}",)
        for row in rows
        if row["standing"] != "active"
    }
    found: dict[Kind, tuple[str, ...]] = {}
    for kind, needs in wanted.items():
        _, named = kind
        if named is not None and named not in runners:
            found[kind] = (f"the runner {named}, which has no good key any more",)
            continue
        near = [
            (lacks(needs, able), idle.get(runner, ()))
            for runner, able in runners.items()
            if named in (None, runner)
        ]
        found[kind] = _nearest(near) if near else lacking_everything(needs)
    return found


def _nearest(runners: Sequence[tuple[tuple[Lack, ...], tuple[str, ...]]]) -> tuple[str, ...]:
    """Of each: what it lacks, and why it does not work though it might."""
    told, idle = min(runners, key=lambda one: (sum(lack.share for lack in one[0]), len(one[1])))
    return (*map(str, told), *idle)
