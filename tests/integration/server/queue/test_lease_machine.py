"""The lease's invariants under any order of claims (in batches, at once, late, forgetful), beats, uploads,
results, failures, expiry, reaping, cancelling, of batches of these, of draining, quarantine and release, and
of keys that are removed, found compromised, and listed again.

Against the real database. The model is a few dictionaries: who holds what, what has ended how, whose key is
good, and which decisions rest on whom.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import (
    FailRequest,
    HeartbeatBatch,
    HeartbeatItem,
    HeartbeatRequest,
    SubmitBatch,
    SubmitItem,
)
from edgeproof.domain.runs import Lease
from edgeproof.server.artifacts.artifacts import put_artifact
from edgeproof.server.fleet.runner_keys import allow_key
from edgeproof.server.fleet.runners import list_runners
from edgeproof.server.fleet.standing import set_standing
from edgeproof.server.jobs.advance import sweep
from edgeproof.server.jobs.cancel import cancel
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.queue.fail import fail
from edgeproof.server.queue.heartbeat import heartbeat, heartbeats
from edgeproof.server.queue.reap import Patience, reap
from edgeproof.server.queue.submit import submit_batch

from .claim_rules import ClaimRules
from .conftest import chunks_of

ENDED = {"completed", "failed", "cancelled"}


def lease_of(claimed: Any) -> Lease:
    return Lease(claimed.attempt, claimed.lease_token)


class LeaseMachine(ClaimRules):
    """``held`` maps a run to its live claim; ``outcomes`` and ``ended`` are what may never change again."""

    open_yard: Any

    claims = ClaimRules.claims

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.context: AbstractAsyncContextManager[Any] = type(self).open_yard()
        self.yard = self.runner.run(self.context.__aenter__())
        self.expired: set[str] = set()
        self.submitted: dict[str, tuple[Any, bytes]] = {}
        self.outcomes: dict[str, tuple[Any, ...]] = {}
        self.ended: dict[str, str] = {}
        self.jobs: list[str] = []
        self.workers = {False: self.yard.one, True: self.yard.two}
        self.admin = self.runner.run(self.make_admin())

    async def make_admin(self) -> Any:
        plane = self.yard.plane
        return await authenticate(plane, await create_principal(plane, "admin", "operator"))

    def teardown(self) -> None:
        try:
            self.runner.run(self.drain())
        finally:
            self.runner.run(self.context.__aexit__(None, None, None))
            self.runner.close()

    async def drain(self) -> None:
        """No accepted job is ever lost: whatever happened, working on ends every one."""
        for second, worker in self.workers.items():
            await allow_key(self.yard.plane, self.admin, worker.key.public)
            await self.stand(second, "active")
        for worker, claimed in list(self.held.values()):
            await worker.work(claimed)
        await self.workers[False].work_off()
        await sweep(self.yard.plane)
        rows = await self.yard.plane.database.pool.fetch("SELECT job_id, status FROM jobs")
        assert {row["job_id"] for row in rows} == set(self.jobs)
        assert all(row["status"] in ENDED for row in rows), rows
        assert await self.yard.plane.database.pool.fetchval("SELECT count(*) FROM run_queue") == 0

    @initialize(decided=st.booleans(), begun=st.booleans(), stolen=st.booleans(), second=st.booleans())
    def begin(self, decided: bool, begun: bool, stolen: bool, second: bool) -> None:
        """Without a job every rule is idle, and Hypothesis leaves rules out of many examples: what takes many
        steps has happened already in some."""
        if decided:
            self.analyze()
            self.work_off(second)
        self.analyze()
        if begun:
            self.work_once(second)
        if stolen:
            self.change_key(second, "find compromised")

    @rule()
    def analyze(self) -> None:
        if len(self.jobs) < 4:
            self.jobs.append(self.runner.run(self.yard.analyze()).job_id)

    def took(self, second: bool, worker: Any, claimed: Any) -> Any:
        assert claimed.run_id not in self.outcomes
        return super().took(second, worker, claimed)

    @rule(claim=claims)
    def upload(self, claim: Any) -> None:
        if claim is None:
            return
        worker, claimed = claim
        data = claimed.lease_token.encode()
        call = put_artifact(
            self.yard.plane,
            worker.principal,
            hashlib.sha256(data).hexdigest(),
            chunks_of(data),
            run_id=claimed.run_id,
            lease=lease_of(claimed),
        )
        if self.is_live(claim):
            self.runner.run(call)
        else:
            self.refused(call, {"stale_lease"})

    def is_live(self, claim: Any) -> bool:
        return self.held.get(claim[1].run_id, (None, None))[1] is claim[1]

    @rule(claim=claims)
    def beat(self, claim: Any) -> None:
        if claim is None:
            return
        worker, claimed = claim
        call = heartbeat(
            self.yard.plane, worker.principal, claimed.run_id, lease_of(claimed), HeartbeatRequest()
        )
        if self.is_live(claim) and claimed.run_id not in self.expired:
            self.runner.run(call)
        else:
            self.refused(call, {"stale_lease"})

    @rule(chosen=st.lists(claims, min_size=1, max_size=6), second=st.booleans())
    def beat_batch(self, chosen: list[Any], second: bool) -> None:
        worker = self.workers[second]
        real = [claim for claim in chosen if claim is not None]
        items = [HeartbeatItem(run_id=one.run_id, lease=lease_of(one).header()) for _, one in real]
        if not items:
            return
        call = heartbeats(self.yard.plane, worker.principal, HeartbeatBatch(items=tuple(items)))
        for claim, answer in zip(real, self.runner.run(call).items, strict=True):
            good = claim[0] is worker and self.is_live(claim) and claim[1].run_id not in self.expired
            assert (answer.problem is None) == good
            assert good or (answer.problem is not None and answer.problem.code == "stale_lease")

    @rule(chosen=st.lists(claims, min_size=1, max_size=4), second=st.booleans())
    def submit_batch(self, chosen: list[Any], second: bool) -> None:
        worker = self.workers[second]
        real = {claim[1].lease_token: claim for claim in chosen if claim is not None}
        items, expected = [], []
        for claim in real.values():
            claimed, made = claim[1], worker.answer(claim[1])
            live = claim[0] is worker and self.is_live(claim)
            again = claim[0] is worker and self.submitted.get(claimed.run_id) == (claimed, made.envelope)
            if live:
                self.runner.run(worker.upload(claimed, made))
            expected.append((claim, made.envelope, live, again))
            lease = lease_of(claimed).header()
            items.append(SubmitItem(run_id=claimed.run_id, lease=lease, envelope=made.envelope.decode()))
        if not items:
            return
        call = submit_batch(self.yard.plane, worker.principal, SubmitBatch(items=tuple(items)))
        answers = self.runner.run(call).items
        for ((_, claimed), envelope, live, again), answer in zip(expected, answers, strict=True):
            assert (answer.problem is None) == (live or again), answer
            if live:
                self.completed(worker, claimed, envelope)

    @rule(second=st.booleans(), standing=st.sampled_from(["active", "draining", "quarantined"]))
    def decide_on(self, second: bool, standing: str) -> None:
        self.runner.run(self.stand(second, standing))

    async def stand(self, second: bool, standing: Any) -> None:
        worker = self.workers[second]
        view = await set_standing(self.yard.plane, self.admin, worker.principal.runner_id, standing, "")
        self.standing[second] = standing
        assert view.held == sum(who is worker for who, _ in self.held.values())

    async def learn_standing(self) -> None:
        """The control plane quarantines by itself too; it never releases."""
        views = {one.runner_id: one.standing for one in await list_runners(self.yard.plane, self.admin)}
        for second, worker in self.workers.items():
            now = views[worker.principal.runner_id]
            assert now == self.standing[second] or now == "quarantined"
            self.standing[second] = now

    @rule(claim=claims, nonce=st.integers(0, 1))
    def submit(self, claim: Any, nonce: int) -> None:
        if claim is None:
            return
        worker, claimed = claim
        run_id = claimed.run_id
        made = worker.answer(claimed, nonce=nonce)
        if self.is_live(claim):
            self.runner.run(worker.upload(claimed, made))
            assert self.runner.run(worker.submit(claimed, made.envelope)).state == "COMPLETE"
            self.completed(worker, claimed, made.envelope)
        elif self.submitted.get(run_id) == (claimed, made.envelope):
            assert self.runner.run(worker.submit(claimed, made.envelope)).state == "COMPLETE"
        else:
            self.refused(worker.submit(claimed, made.envelope), {"stale_lease", "different_outcome"})

    def completed(self, worker: Any, claimed: Any, envelope: bytes) -> None:
        self.submitted[claimed.run_id] = (claimed, envelope)
        self.made_by[claimed.run_id] = worker.principal.runner_id
        self.release(claimed.run_id)

    @rule(second=st.booleans())
    def work_off(self, second: bool) -> None:
        """All that there is for it, so that jobs are decided, too."""
        while self.work_once(second):
            pass

    def work_once(self, second: bool) -> bool:
        worker = self.workers[second]
        claimed = self.runner.run(worker.claim())
        if claimed is None:
            return False
        self.took(second, worker, claimed)
        made = worker.answer(claimed)
        self.runner.run(worker.upload(claimed, made))
        assert self.runner.run(worker.submit(claimed, made.envelope)).state == "COMPLETE"
        self.completed(worker, claimed, made.envelope)
        return True

    @rule(claim=claims, retryable=st.booleans())
    def give_up(self, claim: Any, retryable: bool) -> None:
        if claim is None:
            return
        worker, claimed = claim
        request = FailRequest(code="stage_crashed", message="", fault="device", retryable=retryable)
        call = fail(self.yard.plane, worker.principal, claimed.run_id, lease_of(claimed), request)
        if self.is_live(claim):
            self.runner.run(call)
            self.release(claimed.run_id)
        else:
            try:
                self.runner.run(call)
            except Refused as error:
                assert error.code in {"stale_lease", "different_outcome"}
            else:
                # Only the very same failure, told again.
                assert self.outcomes[claimed.run_id][2] == lease_of(claimed).digest

    @rule(claim=claims)
    def expire(self, claim: Any) -> None:
        if claim is not None and self.is_live(claim):
            self.runner.run(self.yard.expire(claim[1].run_id))
            self.expired.add(claim[1].run_id)

    @rule()
    def reap(self) -> None:
        assert self.runner.run(reap(self.yard.plane, Patience(timedelta(0)))) == len(self.expired)
        for run_id in list(self.expired):
            self.release(run_id)

    @rule(which=st.integers(0, 2))
    def cancel(self, which: int) -> None:
        if which < len(self.jobs):
            call = cancel(self.yard.plane, self.yard.user, self.jobs[which])
            if self.ended.get(self.jobs[which]) in {"completed", "failed"}:
                self.refused(call, {"job_terminal"})
            else:
                self.runner.run(call)

    def release(self, run_id: str) -> None:
        super().release(run_id)
        self.expired.discard(run_id)

    def refused(self, call: Any, codes: set[str]) -> None:
        with pytest.raises(Refused) as refused:
            self.runner.run(call)
        assert refused.value.code in codes

    @invariant()
    def nothing_is_held_twice_lost_or_changed(self) -> None:
        self.runner.run(self.check())

    async def check(self) -> None:
        await self.learn_standing()
        await sweep(self.yard.plane)
        pool = self.yard.plane.database.pool
        runs = {row["run_id"] for row in await pool.fetch("SELECT run_id FROM runs")}
        queued = await pool.fetch("SELECT run_id, state, attempt, lease_digest FROM run_queue")
        ended = await pool.fetch("SELECT * FROM run_outcomes")
        waiting, outcomes = {row["run_id"] for row in queued}, {row["run_id"] for row in ended}
        assert waiting | outcomes == runs
        assert not waiting & outcomes
        leased = {row["run_id"]: row["lease_digest"] for row in queued if row["state"] == "CLAIMED"}
        assert leased == {run: lease_of(claimed).digest for run, (_, claimed) in self.held.items()}
        for row in ended:
            now = (row["state"], row["attempt"], row["lease_digest"], row["submission_digest"])
            assert self.outcomes.setdefault(row["run_id"], now) == now
        for row in await pool.fetch("SELECT job_id, status FROM jobs"):
            if row["status"] in ENDED:
                assert self.ended.setdefault(row["job_id"], row["status"]) == row["status"]
            else:
                assert row["job_id"] not in self.ended
        await self.check_keys()


def test_the_lease_invariants_hold_in_every_order(open_yard: Any) -> None:
    machine = type("Machine", (LeaseMachine,), {"open_yard": staticmethod(open_yard)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
