"""The part of the lease state machine that is about claims: one by one, in batches, at once, numbered, late,
and by runners that have forgotten what they hold."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, multiple, rule

from edgeproof.contract.runners import ClaimRequest
from edgeproof.server.queue.claim import claim_runs

from .key_rules import KeyRules


class ClaimRules(KeyRules):
    """``numbers`` counts the claims of each runner's process; ``numbered`` has the numbers of live leases."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.spent: set[str] = set()
        self.numbers: dict[str, int] = {}
        self.numbered: dict[str, int] = {}

    def release(self, run_id: str) -> None:
        super().release(run_id)
        self.numbered.pop(run_id, None)

    def leases_of(self, worker: Any) -> list[str]:
        return [run_id for run_id, (who, _) in self.held.items() if who is worker]

    @rule(target=claims, second=st.booleans())
    def claim(self, second: bool) -> Any:
        worker = self.workers[second]
        claimed = self.runner.run(worker.claim())
        return None if claimed is None else self.took(second, worker, claimed)

    @rule(target=claims, second=st.booleans(), count=st.integers(2, 64))
    def claim_batch(self, second: bool, count: int) -> Any:
        worker = self.workers[second]
        request = ClaimRequest(max_runs=count)
        runs = self.runner.run(claim_runs(self.yard.plane, worker.principal, request)).runs
        assert len(runs) <= count
        assert sum(claimed.stage == "runtime" for claimed in runs) <= 1
        return multiple(*(self.took(second, worker, claimed) for claimed in runs))

    @rule(target=claims, order=st.lists(st.booleans(), min_size=2, max_size=5))
    def claim_at_once(self, order: list[bool]) -> Any:
        """Served together as far as they can be."""
        workers = [self.workers[second] for second in order]

        async def all_claim() -> list[Any]:
            return await asyncio.gather(*(worker.claim() for worker in workers))

        answers = zip(order, workers, self.runner.run(all_claim()), strict=True)
        return multiple(
            *(
                self.took(second, worker, claimed)
                for second, worker, claimed in answers
                if claimed is not None
            )
        )

    @rule(target=claims, second=st.booleans(), kept=st.integers(0, 7))
    def claim_anew(self, second: bool, kept: int) -> Any:
        """What the runner does not name ends at once, and only of its own; whatever its standing."""
        worker = self.workers[second]
        mine = self.leases_of(worker)
        holding = tuple(run_id for place, run_id in enumerate(mine) if kept >> place & 1)
        name = worker.principal.runner_id
        number = self.numbers[name] = self.numbers.get(name, 0) + 1
        claimed = self.runner.run(worker.claim(holding=holding, number=number))
        for run_id in mine:
            if run_id not in holding:
                self.release(run_id)
        if claimed is None:
            return None
        taken = self.took(second, worker, claimed)
        self.numbered[claimed.run_id] = number
        return taken

    @rule(second=st.booleans(), back=st.integers(0, 3))
    def claim_late(self, second: bool, back: int) -> None:
        """Of an earlier number than a lease that lives, or of the same: it ends nothing and gets nothing."""
        worker = self.workers[second]
        live = [self.numbered[run_id] for run_id in self.leases_of(worker) if run_id in self.numbered]
        if live:
            number = max(1, max(live) - back)
            assert self.runner.run(worker.claim(holding=(), number=number)) is None

    def took(self, second: bool, worker: Any, claimed: Any) -> Any:
        assert self.standing[second] == "active", "a runner that is held back got work"
        assert self.good[second], "a removed key got work"
        measuring = [one for who, one in self.held.values() if who is worker and one.stage == "runtime"]
        assert claimed.stage != "runtime" or not measuring, "two measurements at once"
        assert claimed.run_id not in self.held, "two live leases on one run"
        assert claimed.lease_token not in self.spent
        self.spent.add(claimed.lease_token)
        self.held[claimed.run_id] = (worker, claimed)
        return worker, claimed
