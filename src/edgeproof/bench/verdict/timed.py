"""A whole measurement as a runner does it, by the clock."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Final

from edgeproof.bench.verdict.traces import Condition, TimedDuet
from edgeproof.bench.verdict.trials import plan_of, verdict_of
from edgeproof.contract.jobs import Progress
from edgeproof.contract.statements import MeasuredArtifact, RuntimeConfig
from edgeproof.lab.looks import decided
from edgeproof.lab.policies import default_policy
from edgeproof.runtime.duet import RuntimeInputs, measure

BACKEND: Final = "onnxruntime"


async def time_duet(
    model: str, baseline: Path, candidate: Path, workspace: Path, *, threads: int, condition: Condition
) -> TimedDuet | None:
    """From the first process to the look that decided; None if the device had to be waited for.

    The outputs' comparison on random inputs is part of it; building and transfer are not.
    """
    policy = default_policy()
    plan = plan_of(policy)
    waited = False

    def on_progress(progress: Progress) -> None:
        nonlocal waited
        waited = waited or progress.message == "waiting for the device"

    config = RuntimeConfig(
        backend=BACKEND,
        target="cpu",
        threads=threads,
        baseline=_side(baseline),
        candidate=_side(candidate),
        dataset=None,
        input_shapes={},
        batch=None,
        height=None,
        width=None,
        plan=plan,
        min_isolation="none",
    )
    started = time.monotonic()
    done = await measure(
        config,
        RuntimeInputs(baseline, candidate, None),
        workspace,
        enough=lambda pairs: decided(pairs, plan),
        on_progress=on_progress,
    )
    seconds = time.monotonic() - started
    if waited:
        return None
    return TimedDuet(
        at=done.environment_before.at,
        condition=condition,
        model=model,
        candidate=candidate.stem,
        seconds=round(seconds, 3),
        pairs=len(done.samples.pairs),
        verdict=verdict_of(done.samples.pairs, policy),
    )


def _side(path: Path) -> MeasuredArtifact:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return MeasuredArtifact(
        artifact=digest, build=digest, source=digest, precision="fp32", model_name=path.stem
    )
