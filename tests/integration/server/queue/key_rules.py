"""The part of the lease state machine that is about keys: removed, found compromised, and listed again."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from edgeproof.contract.errors import Refused
from edgeproof.server.fleet.runner_keys import allow_key
from edgeproof.server.plane.principals import authenticate
from edgeproof.server.plane.runner_token import RunnerToken, seal_token
from edgeproof.server.queue.revoke import end_unlisted_leases, remove_key

from .conftest import enlist

# A removal uses up no attempt, within bounds.
ATTEMPTS_LEFT = """
SELECT q.run_id FROM run_queue q JOIN runs USING (run_id) JOIN jobs j USING (job_id)
WHERE q.run_id = ANY($1::text[])
    AND q.attempt < q.max_attempts + CASE WHEN q.max_attempts < 2 * $2 THEN 1 ELSE 0 END
    AND j.cancel_requested_at IS NULL AND j.status IN ('queued', 'running')
"""
WAITING = "SELECT run_id FROM run_queue WHERE run_id = ANY($1::text[]) AND state = 'PENDING'"
DECIDED_RUNS = "SELECT run_id, job_id FROM runs JOIN jobs USING (job_id) WHERE status = 'completed'"
CLASSES = """
SELECT (SELECT count(*) FROM requirement_classes) AS all_of_them,
    (SELECT count(*) FROM runner_classes WHERE runner_id = $1) AS its_own
"""


class KeyRules(RuleBasedStateMachine):
    """``good`` says whose key is; ``made_by`` maps a run to the runner whose result it has, and what rests on
    ``compromised`` ones is withdrawn. The machine itself knows who holds what."""

    runner: asyncio.Runner
    yard: Any
    admin: Any

    def __init__(self) -> None:
        super().__init__()
        self.workers: dict[bool, Any] = {}
        self.held: dict[str, tuple[Any, Any]] = {}
        self.standing: dict[bool, str] = {False: "active", True: "active"}
        self.good: dict[bool, bool] = {False: True, True: True}
        self.made_by: dict[str, str] = {}
        self.compromised: set[str] = set()

    def release(self, run_id: str) -> None:
        del self.held[run_id]

    @rule(second=st.booleans(), what=st.sampled_from(["remove", "find compromised", "list"]))
    def change_key(self, second: bool, what: str) -> None:
        """Removing what was removed, and listing what is listed, changes nothing."""
        if what == "list":
            self.runner.run(self.list_again(second))
            return
        self.runner.run(self.take_off(second, timedelta(days=1) if what == "find compromised" else None))
        self.good[second] = False
        if what == "find compromised":
            self.runner.run(self.replace_compromised(second))

    async def list_again(self, second: bool) -> None:
        view = await allow_key(self.yard.plane, self.admin, self.workers[second].key.public)
        assert view.state == "good"
        self.good[second] = True

    async def replace_compromised(self, second: bool) -> None:
        """Such a key never comes back; its runner does, with another one."""
        worker = self.workers[second]
        self.compromised.add(worker.principal.runner_id)
        with pytest.raises(Refused, match="conflict"):
            await allow_key(self.yard.plane, self.admin, worker.key.public)
        assert not await self.lets_in(worker)
        self.workers[second] = await enlist(self.yard.plane)
        self.good[second], self.standing[second] = True, "active"

    async def take_off(self, second: bool, ago: timedelta | None) -> None:
        """The key's leases end at once, and no other's; their runs wait again, or have ended for good."""
        worker, plane = self.workers[second], self.yard.plane
        mine = {run_id for run_id, (who, _) in self.held.items() if who is worker}
        assert self.good[second] or not mine
        configured = plane.settings.max_attempts
        rows = await plane.database.pool.fetch(ATTEMPTS_LEFT, list(mine), configured)
        left = {row["run_id"] for row in rows}
        since = None if ago is None else await plane.database.now() - ago
        removed = await remove_key(plane, self.admin, worker.key.public, "taken off", since)
        assert removed.leases_ended == len(mine)
        assert await end_unlisted_leases(plane) == 0
        waiting = {row["run_id"] for row in await plane.database.pool.fetch(WAITING, list(mine))}
        assert waiting == left
        for run_id in mine:
            self.release(run_id)

    async def lets_in(self, worker: Any) -> bool:
        """Whether the token that the runner was given opens anything."""
        plane, principal = self.yard.plane, worker.principal
        token = RunnerToken(
            runner_id=principal.runner_id, public_key=principal.public_key, expires_at=int(time.time()) + 900
        )
        try:
            found = await authenticate(plane, seal_token(plane.keys.token_hmac, token))
        except Refused as error:
            assert error.code == "key_not_allowed"
            return False
        assert found == principal
        return True

    async def check_keys(self) -> None:
        """Only a good key opens anything and fits anything; what rests on a compromised one is withdrawn."""
        pool = self.yard.plane.database.pool
        for second, worker in self.workers.items():
            assert await self.lets_in(worker) == self.good[second]
            (classes,) = await pool.fetch(CLASSES, worker.principal.runner_id)
            assert classes["its_own"] == (classes["all_of_them"] if self.good[second] else 0)
        decided = await pool.fetch(DECIDED_RUNS)
        doubtful = {row["job_id"] for row in decided if self.made_by.get(row["run_id"]) in self.compromised}
        withdrawn = {row["job_id"] for row in await pool.fetch("SELECT job_id FROM job_withdrawals")}
        assert withdrawn == doubtful
