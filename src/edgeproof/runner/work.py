"""One run, from an accepted job spec to a signed envelope and the artifacts it names."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.jobs import Progress
from edgeproof.contract.runners import ISOLATION_ORDER
from edgeproof.contract.samples import RawQuality, RawSamples
from edgeproof.contract.statements import ForgeConfig, NoiseFloor, RuntimeConfig
from edgeproof.runner.attest import Attestor, build_envelope, measurement_envelope
from edgeproof.runner.build_cache import LentBuilds
from edgeproof.runner.handover import left_document, left_file
from edgeproof.runner.home import DISK_FULL, RunnerHome
from edgeproof.runner.inputs import Fetch, InputCache, file_digest
from edgeproof.runner.noise import RememberedNoise
from edgeproof.runner.stage import QUALITY_FILE, SAMPLES_FILE, ForgeDone, RuntimeDone, Task
from edgeproof.runner.supervisor import run_stage

_log = logging.getLogger(__name__)

_RAW_BYTES: Final = 256 << 20


class Product(NamedTuple):
    """A signed envelope, and the files it names by digest, which must be uploaded before it."""

    envelope: bytes
    files: dict[str, Path]


class Work(Protocol):
    """Does what ``attestor.spec`` says, in ``workspace``. Raises ``StageFailed``."""

    async def __call__(
        self,
        attestor: Attestor,
        home: RunnerHome,
        workspace: Path,
        fetch: Fetch,
        on_progress: Callable[[Progress], None],
    ) -> Product: ...


async def do_work(
    attestor: Attestor,
    home: RunnerHome,
    workspace: Path,
    fetch: Fetch,
    on_progress: Callable[[Progress], None],
) -> Product:
    """Do what ``attestor.spec`` says, in ``workspace``. Raises ``StageFailed``.

    On a full disk all that is only kept to be quicker goes, and it is done once more, with inputs not kept.
    """
    cache = InputCache(home.inputs, home.cache_bytes // 2)

    async def cached(digest: str, target: Path) -> None:
        await cache.place(digest, fetch, target)

    try:
        return await _done(attestor, home, workspace, cached, on_progress)
    except (StageFailed, OSError) as error:
        if not _is_full(error) or not await asyncio.to_thread(_make_room, home, workspace):
            raise
        _log.warning("done once more without the caches, for want of space: %s", error)
    return await _done(attestor, home, workspace, fetch, on_progress)


async def _done(
    attestor: Attestor,
    home: RunnerHome,
    workspace: Path,
    place: Fetch,
    on_progress: Callable[[Progress], None],
) -> Product:
    config = attestor.spec.config
    if isinstance(config, RuntimeConfig):
        _demand_isolation(attestor, config)
    names: dict[str, str] = {}
    for role, digest in _inputs_of(config).items():
        names[role] = f"input-{role}"
        await place(digest, workspace / names[role])
    builds = LentBuilds(home.builds, home.cache_bytes // 2)
    lent = (
        await asyncio.to_thread(builds.lend, config, workspace) if isinstance(config, ForgeConfig) else None
    )
    noise = RememberedNoise(home)
    outcome = await run_stage(
        Task(config=config, inputs=names, build_cache=lent, noise=noise.read()),
        workspace,
        hide=home.hidden,
        level=attestor.isolation,
        limits=attestor.spec.limits,
        on_progress=on_progress,
    )
    if isinstance(config, ForgeConfig) and isinstance(outcome, ForgeDone):
        return await asyncio.to_thread(_built, attestor, config, outcome, workspace, builds)
    if isinstance(config, RuntimeConfig) and isinstance(outcome, RuntimeDone):
        product = await asyncio.to_thread(_measured, attestor, config, outcome, workspace)
        if outcome.drawn is not None:
            _note(noise, outcome.drawn)
        return product
    raise StageFailed("result_invalid", "the stage answered for another stage", fault="backend")


def _is_full(error: StageFailed | OSError) -> bool:
    return error.code == "disk_full" if isinstance(error, StageFailed) else error.errno in DISK_FULL


def _make_room(home: RunnerHome, workspace: Path) -> bool:
    """Empty the caches, and the workspace. False where nothing was kept, or it cannot be made anew."""
    if not home.empty_caches():
        return False
    try:
        shutil.rmtree(workspace)
        workspace.mkdir(mode=0o700)
    except OSError as error:
        _log.warning("the workspace could not be emptied: %s", error)
        return False
    return True


def _note(noise: RememberedNoise, drawn: NoiseFloor) -> None:
    """A floor that cannot be noted costs the next measurement's time, not this one's result."""
    try:
        noise.remember(drawn)
    except OSError as error:
        _log.warning("a noise floor could not be noted: %s", error)


def _built(
    attestor: Attestor, config: ForgeConfig, done: ForgeDone, workspace: Path, builds: LentBuilds
) -> Product:
    artifact = left_file(workspace, done.artifact, attestor.spec.limits.max_upload_bytes)
    digest = file_digest(artifact)
    builds.check_origin(config, done.cached, digest)
    envelope = build_envelope(attestor, config, done, digest)
    builds.keep(config, workspace, artifact, digest)
    return Product(envelope, {digest: artifact})


def _measured(attestor: Attestor, config: RuntimeConfig, done: RuntimeDone, workspace: Path) -> Product:
    bound = min(attestor.spec.limits.max_upload_bytes, _RAW_BYTES)
    samples, quality = workspace / SAMPLES_FILE, workspace / QUALITY_FILE
    digests = (
        sha256_hex(left_document(samples, RawSamples, bound)),
        sha256_hex(left_document(quality, RawQuality, bound)),
    )
    envelope = measurement_envelope(attestor, config, done, *digests)
    return Product(envelope, dict(zip(digests, (samples, quality), strict=True)))


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
