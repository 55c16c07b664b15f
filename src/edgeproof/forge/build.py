"""The use case of the forge stage: build one artifact, or fetch it from the cache, and write its papers.

Synchronous: it runs in a child process of its own, which the runner can kill. It checks that its inputs
are the ones the job spec names, and signs nothing.
"""

from __future__ import annotations

import errno
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import edgeproof
from edgeproof.contract.canonical import canonical
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.jobs import Progress
from edgeproof.contract.results import ForgeManifest, ForgeMetadata, WorkerRuntimeSummary
from edgeproof.contract.statements import CacheOrigin, ForgeConfig
from edgeproof.forge.cache import BuildCache, BuildRecord, build_key, file_sha256
from edgeproof.forge.metadata import (
    MANIFEST_NAME,
    METADATA_NAME,
    BuildFacts,
    forge_manifest,
    forge_metadata,
    worker_runtime_summary,
)
from edgeproof.forge.port import BuildOrder, Toolchain
from edgeproof.forge.presets import PRESETS, Preset
from edgeproof.forge.toolchains import load_toolchain


@dataclass(frozen=True)
class ForgeInputs:
    """Local files: the source model and, for int8 static, the calibration set."""

    source: Path
    calibration: Path | None


@dataclass(frozen=True)
class ForgeOutcome:
    """A finished build. ``artifact`` lies in the build's folder, beside both JSON files.

    ``started_at`` and ``finished_at`` are of this call; on a cache hit ``metadata.build`` and ``cached``
    tell of the build that really ran.
    """

    artifact: Path
    metadata: ForgeMetadata
    manifest: ForgeManifest
    summary: WorkerRuntimeSummary
    cached: CacheOrigin | None
    versions: dict[str, str]
    started_at: str
    finished_at: str


def build(
    config: ForgeConfig,
    inputs: ForgeInputs,
    workspace: Path,
    cache: BuildCache | None,
    *,
    now: Callable[[], datetime],
    on_progress: Callable[[Progress], None],
) -> ForgeOutcome:
    """Build what ``config`` asks for into a folder of its own in ``workspace``.

    On any error the folder is gone again. Raises ``StageFailed``; its codes are those of
    ``contract.errors`` under "analyze requests" and "what a stage can find".
    """
    started_at = _utc(now())
    preset = _preset(config)
    toolchain = load_toolchain(config.backend)
    _check_digest(inputs.source, config.source, "source model")
    if preset.needs_calibration:
        if inputs.calibration is None or config.calibration is None:
            raise StageFailed("calibration_required", f"preset {preset.name} needs a calibration set")
        _check_digest(inputs.calibration, config.calibration, "calibration set")
    stem = _stem(config.source_name)
    folder = workspace / f"{stem}__{config.target}__{config.backend}__{preset.name}"
    folder.mkdir(parents=True)
    try:
        return _build_into(
            folder,
            stem,
            config,
            inputs,
            preset,
            toolchain,
            cache,
            started_at,
            now=now,
            on_progress=on_progress,
        )
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, MemoryError):
            raise StageFailed("memory_limit", "the build ran out of memory") from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StageFailed("disk_full", "no space is left to build in", fault="device") from error
        raise


def _build_into(
    folder: Path,
    stem: str,
    config: ForgeConfig,
    inputs: ForgeInputs,
    preset: Preset,
    toolchain: Toolchain,
    cache: BuildCache | None,
    started_at: str,
    *,
    now: Callable[[], datetime],
    on_progress: Callable[[Progress], None],
) -> ForgeOutcome:
    versions = {**toolchain.versions(), "edgeproof": edgeproof.__version__}
    key = build_key(config, preset, versions, f"{sys.platform}-{platform.machine()}")
    build_id = f"{stem}-{config.backend}-{preset.name}-{key[:12]}"
    artifact = folder / f"{stem}.{toolchain.artifact_format}"
    record = cache.fetch(key, artifact) if cache is not None else None
    cached = CacheOrigin(build_id=record.build_id, built_at=record.built_at) if record else None
    if record is None:
        record = _run(toolchain, config, inputs, preset, artifact, build_id, now, on_progress)
        if cache is not None:
            cache.store(key, artifact, record)
    facts = BuildFacts(
        config=config,
        preset=preset,
        build_id=record.build_id,
        built_at=record.built_at,
        source_name=_source_name(config.source_name),
        model_name=stem,
        artifact_name=artifact.name,
        artifact_format=toolchain.artifact_format,
        artifact_sha256=record.artifact_sha256,
        artifact_size=artifact.stat().st_size,
        built=record.built(),
        versions=versions,
    )
    outcome = ForgeOutcome(
        artifact=artifact,
        metadata=forge_metadata(facts),
        manifest=forge_manifest(facts),
        summary=worker_runtime_summary(facts),
        cached=cached,
        versions=versions,
        started_at=started_at,
        finished_at=_utc(now()),
    )
    (folder / METADATA_NAME).write_bytes(canonical(outcome.metadata))
    (folder / MANIFEST_NAME).write_bytes(canonical(outcome.manifest))
    return outcome


def _run(
    toolchain: Toolchain,
    config: ForgeConfig,
    inputs: ForgeInputs,
    preset: Preset,
    artifact: Path,
    build_id: str,
    now: Callable[[], datetime],
    on_progress: Callable[[Progress], None],
) -> BuildRecord:
    scratch = artifact.parent / "scratch"
    scratch.mkdir()
    order = BuildOrder(
        preset=preset,
        source=inputs.source,
        calibration=inputs.calibration if preset.needs_calibration else None,
        input_shapes=config.input_shapes,
        batch=config.batch,
        height=config.height,
        width=config.width,
        artifact=artifact,
        scratch=scratch,
    )
    built = toolchain.build(order, on_progress)
    shutil.rmtree(scratch)
    return BuildRecord(
        build_id=build_id,
        built_at=_utc(now()),
        artifact_sha256=file_sha256(artifact),
        precision=built.precision,
        input_shapes=built.input_shapes,
        build_options=built.build_options,
    )


def _preset(config: ForgeConfig) -> Preset:
    preset = PRESETS.get(config.preset)
    if preset is None:
        raise StageFailed("unknown_preset", f"{config.preset!r}; there are {', '.join(PRESETS)}")
    if config.backend != preset.backend:
        raise StageFailed(
            "unknown_backend", f"preset {preset.name} is for {preset.backend}, not {config.backend!r}"
        )
    if config.target != preset.target:
        raise StageFailed(
            "unknown_target", f"preset {preset.name} is for {preset.target}, not {config.target!r}"
        )
    return preset


def _check_digest(path: Path, expected: str, what: str) -> None:
    if (found := file_sha256(path)) != expected:
        raise StageFailed("artifact_digest_mismatch", f"the {what} is {found}, the job spec names {expected}")


def _source_name(name: str) -> str:
    """The bare file name, of a path in either spelling, with nothing that could mean another place."""
    bare = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(name.replace("\\", "/")).name)[:100]
    return bare.lstrip(".") or "model.onnx"


def _stem(name: str) -> str:
    return _source_name(name).removesuffix(".onnx") or "model"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
