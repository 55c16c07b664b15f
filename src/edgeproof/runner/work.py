"""One run, from an accepted job spec to a signed envelope and the artifacts it names."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.jobs import Progress
from edgeproof.contract.runners import ISOLATION_ORDER
from edgeproof.contract.statements import ForgeConfig, RuntimeConfig
from edgeproof.runner.attest import Attestor, build_envelope, measurement_envelope
from edgeproof.runner.build_cache import LentBuilds
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.inputs import Fetch, InputCache, file_digest
from edgeproof.runner.stage import QUALITY_FILE, SAMPLES_FILE, ForgeDone, RuntimeDone, Task
from edgeproof.runner.supervisor import run_stage


class Product(NamedTuple):
    """A signed envelope, and the files it names by digest, which must be uploaded before it."""

    envelope: bytes
    files: dict[str, Path]


async def do_work(
    attestor: Attestor,
    home: RunnerHome,
    workspace: Path,
    fetch: Fetch,
    on_progress: Callable[[Progress], None],
) -> Product:
    """Do what ``attestor.spec`` says, in ``workspace``. Raises ``StageFailed``."""
    config = attestor.spec.config
    wanted = _inputs_of(config)
    if isinstance(config, RuntimeConfig):
        _demand_isolation(attestor, config)
    cache = InputCache(home.inputs)
    names: dict[str, str] = {}
    for role, digest in wanted.items():
        names[role] = f"input-{role}"
        cached = await cache.get(digest, fetch)
        await asyncio.to_thread(shutil.copyfile, cached, workspace / names[role])
    builds = LentBuilds(home.builds)
    lent = builds.lend(config, workspace) if isinstance(config, ForgeConfig) else None
    outcome = await run_stage(
        Task(config=config, inputs=names, build_cache=lent),
        workspace,
        hide=home.root,
        level=attestor.isolation,
        limits=attestor.spec.limits,
        on_progress=on_progress,
    )
    if isinstance(config, ForgeConfig) and isinstance(outcome, ForgeDone):
        artifact = _inside(workspace, outcome.artifact)
        digest = file_digest(artifact)
        builds.keep(config, workspace, artifact, digest)
        return Product(build_envelope(attestor, config, outcome, digest), {digest: artifact})
    if isinstance(config, RuntimeConfig) and isinstance(outcome, RuntimeDone):
        samples, quality = workspace / SAMPLES_FILE, workspace / QUALITY_FILE
        digests = sha256_hex(samples.read_bytes()), sha256_hex(quality.read_bytes())
        envelope = measurement_envelope(attestor, config, outcome, *digests)
        return Product(envelope, dict(zip(digests, (samples, quality), strict=True)))
    raise StageFailed("result_invalid", "the stage answered for another stage", fault="backend")


def _inputs_of(config: ForgeConfig | RuntimeConfig) -> dict[str, str]:
    if isinstance(config, ForgeConfig):
        wanted = {"source": config.source, "calibration": config.calibration}
    else:
        wanted = {
            "baseline": config.baseline.artifact,
            "candidate": config.candidate.artifact,
            "dataset": config.dataset,
        }
    return {role: digest for role, digest in wanted.items() if digest is not None}


def _demand_isolation(attestor: Attestor, config: RuntimeConfig) -> None:
    if ISOLATION_ORDER.index(attestor.isolation) < ISOLATION_ORDER.index(config.min_isolation):
        raise StageFailed(
            "isolation_unavailable",
            f"the policy demands {config.min_isolation}, this runner offers {attestor.isolation}",
            fault="device",
        )


def _inside(workspace: Path, name: str) -> Path:
    """A regular file of the workspace: a child must not have us sign or upload anything else."""
    path = Path(name) if Path(name).is_absolute() else workspace / name
    if path.is_symlink() or not path.is_file() or not path.resolve().is_relative_to(workspace):
        raise StageFailed("result_invalid", "the stage names a file outside its workspace", fault="backend")
    return path
