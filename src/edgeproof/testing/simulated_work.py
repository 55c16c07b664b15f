"""``SimulatedWork``: a runner's work without building or measuring anything, for tests of all around it.

It fetches its inputs, reports progress, takes a little time, and hands in a really signed answer with
invented numbers (``answers``). It goes where ``runner.work.do_work`` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.jobs import Progress
from edgeproof.lab.chain import inputs_of
from edgeproof.runner.attest import Attestor
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.inputs import Fetch, InputCache
from edgeproof.runner.work import Product
from edgeproof.testing.answers import answer_under
from edgeproof.testing.evidence import Scene


class SimulatedWork:
    """``seconds`` is how long each of a run's ``steps`` takes."""

    def __init__(self, *, steps: int = 3, seconds: float = 0.02, scene: Scene | None = None) -> None:
        self._steps = steps
        self._seconds = seconds
        self._scene = scene

    async def __call__(
        self,
        attestor: Attestor,
        home: RunnerHome,
        workspace: Path,
        fetch: Fetch,
        on_progress: Callable[[Progress], None],
    ) -> Product:
        cache = InputCache(home.inputs, home.cache_bytes)
        for number, digest in enumerate(
            sorted({one.digest.sha256 for one in inputs_of(attestor.spec.config)})
        ):
            await cache.place(digest, fetch, workspace / f"input-{number}")
        for step in range(1, self._steps + 1):
            await asyncio.sleep(self._seconds)
            on_progress(Progress(completed=step, total=self._steps, unit="steps"))
        made = answer_under(attestor.spec, attestor.binding(), attestor.key, self._scene)
        files = {}
        for number, data in enumerate(made.uploads):
            path = workspace / f"output-{number}"
            path.write_bytes(data)
            files[sha256_hex(data)] = path
        return Product(made.envelope, files)
