"""The papers of a build: ``metadata.json``, ``manifest.json`` and the worker runtime summary (seed 000).

Pure. Paths in them are names relative to the build's folder, never paths of this machine.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

import edgeproof
from edgeproof.contract.results import (
    BuildIdentity,
    BuiltArtifact,
    ForgeManifest,
    ForgeMetadata,
    Handoff,
    LabCompat,
    LabRuntimeProfile,
    ManifestArtifact,
    ManifestRuntime,
    ManifestTool,
    PresetSnapshot,
    SourceModel,
    WorkerRuntimeSummary,
)
from edgeproof.contract.statements import ForgeConfig
from edgeproof.domain.input_shapes import image_axes
from edgeproof.forge.port import BuiltModel
from edgeproof.forge.presets import Preset

METADATA_NAME = "metadata.json"
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class BuildFacts:
    """All that the papers say of one build. ``source_name`` and ``artifact_name`` are bare file names."""

    config: ForgeConfig
    preset: Preset
    build_id: str
    built_at: str
    source_name: str
    model_name: str
    artifact_name: str
    artifact_format: str
    artifact_sha256: str
    artifact_size: int
    built: BuiltModel
    versions: dict[str, str]


def forge_metadata(facts: BuildFacts) -> ForgeMetadata:
    """``metadata.json``."""
    config = facts.config
    return ForgeMetadata(
        schema_version="0.1.0",
        build=_identity(facts),
        source_model=_source(facts),
        artifacts=(
            BuiltArtifact(
                path=facts.artifact_name,
                format=facts.artifact_format,
                role="deployment_model",
                sha256=facts.artifact_sha256,
                size_bytes=facts.artifact_size,
            ),
        ),
        handoff=Handoff(consumer="runtime", ready=True),
        lab_compat=LabCompat(
            profile_ready=True,
            runtime=LabRuntimeProfile(
                engine=config.backend,
                device=config.target,
                precision=facts.built.precision,
                engine_path=facts.artifact_name,
                runtime_artifact_path=facts.artifact_name,
                requested_batch=config.batch,
                requested_height=config.height,
                requested_width=config.width,
            ),
        ),
        preset_snapshot=_snapshot(facts),
    )


def forge_manifest(facts: BuildFacts) -> ForgeManifest:
    """``manifest.json``. ``runtime.input_shapes`` are the shapes to feed, resolved."""
    batch, height, width = image_axes(facts.built.input_shapes)
    return ForgeManifest(
        schema_version="inferedgeforge-manifest-v1",
        build=_identity(facts),
        source_model=_source(facts),
        artifact=ManifestArtifact(
            path=facts.artifact_name,
            format=facts.artifact_format,
            role="deployment_model",
            sha256=facts.artifact_sha256,
            model_path=facts.source_name,
            model_name=facts.model_name,
            precision=facts.built.precision,
        ),
        runtime=ManifestRuntime(
            engine=facts.config.backend,
            device=facts.config.target,
            precision=facts.built.precision,
            model_path=facts.source_name,
            artifact_path=facts.artifact_name,
            batch=batch,
            height=height,
            width=width,
            input_shapes=facts.built.input_shapes,
        ),
        preset_snapshot=_snapshot(facts),
        tool=ManifestTool(
            inferedgeforge_version=edgeproof.__version__,
            python_version=platform.python_version(),
            versions=facts.versions,
            calibration_sha256=facts.config.calibration if facts.preset.needs_calibration else None,
        ),
    )


def worker_runtime_summary(facts: BuildFacts) -> WorkerRuntimeSummary:
    """Forge's compact hand-over."""
    batch, height, width = image_axes(facts.built.input_shapes)
    return WorkerRuntimeSummary(
        source_model_path=facts.source_name,
        source_model_sha256=facts.config.source,
        backend=facts.config.backend,
        target=facts.config.target,
        precision=facts.built.precision,
        artifact_path=facts.artifact_name,
        artifact_sha256=facts.artifact_sha256,
        artifact_type=facts.artifact_format,
        preset_name=facts.preset.name,
        build_id=facts.build_id,
        batch=batch,
        height=height,
        width=width,
        metadata_path=METADATA_NAME,
        manifest_path=MANIFEST_NAME,
    )


def _identity(facts: BuildFacts) -> BuildIdentity:
    return BuildIdentity(
        build_id=facts.build_id,
        timestamp=facts.built_at,
        preset_name=facts.preset.name,
        backend=facts.config.backend,
        target=facts.config.target,
    )


def _source(facts: BuildFacts) -> SourceModel:
    return SourceModel(path=facts.source_name, format="onnx", sha256=facts.config.source)


def _snapshot(facts: BuildFacts) -> PresetSnapshot:
    preset = facts.preset
    return PresetSnapshot(
        name=preset.name,
        backend=preset.backend,
        target=preset.target,
        build_options=facts.built.build_options,
        metadata={
            "description": preset.description,
            "machine_bound": "true" if preset.machine_bound else "false",
        },
    )
