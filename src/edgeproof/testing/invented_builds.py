"""The papers of a build that never ran: metadata, manifest and summary of one artifact."""

from __future__ import annotations

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
from edgeproof.testing.scene import NOW, SHAPES


def invented_papers(
    config: ForgeConfig, artifact: str
) -> tuple[ForgeMetadata, ForgeManifest, WorkerRuntimeSummary]:
    identity = BuildIdentity(
        build_id=f"digits-onnxruntime-{config.preset}-{artifact[:12]}",
        timestamp=NOW,
        preset_name=config.preset,
        backend=config.backend,
        target=config.target,
    )
    source = SourceModel(path="digits.onnx", format="onnx", sha256=config.source)
    preset = PresetSnapshot(
        name=config.preset, backend=config.backend, target=config.target, build_options={}, metadata={}
    )
    metadata = ForgeMetadata(
        schema_version="0.1.0",
        build=identity,
        source_model=source,
        artifacts=(
            BuiltArtifact(
                path="model.onnx", format="onnx", role="deployment_model", sha256=artifact, size_bytes=1000
            ),
        ),
        handoff=Handoff(consumer="runtime", ready=True),
        lab_compat=LabCompat(
            profile_ready=True,
            runtime=LabRuntimeProfile(
                engine=config.backend,
                device=config.target,
                precision=config.precision,
                engine_path="model.onnx",
                runtime_artifact_path="model.onnx",
                requested_batch=config.batch,
                requested_height=config.height,
                requested_width=config.width,
            ),
        ),
        preset_snapshot=preset,
    )
    manifest = ForgeManifest(
        schema_version="inferedgeforge-manifest-v1",
        build=identity,
        source_model=source,
        artifact=ManifestArtifact(
            path="model.onnx",
            format="onnx",
            role="deployment_model",
            sha256=artifact,
            model_path="digits.onnx",
            model_name="digits",
            precision=config.precision,
        ),
        runtime=ManifestRuntime(
            engine=config.backend,
            device=config.target,
            precision=config.precision,
            model_path="digits.onnx",
            artifact_path="model.onnx",
            batch=config.batch,
            height=config.height,
            width=config.width,
            input_shapes=config.input_shapes or SHAPES,
        ),
        preset_snapshot=preset,
        tool=ManifestTool(
            inferedgeforge_version="0.1.0",
            python_version="3.11.0",
            versions={},
            calibration_sha256=config.calibration,
        ),
    )
    summary = WorkerRuntimeSummary(
        source_model_path="digits.onnx",
        source_model_sha256=config.source,
        backend=config.backend,
        target=config.target,
        precision=config.precision,
        artifact_path="model.onnx",
        artifact_sha256=artifact,
        artifact_type="onnx",
        preset_name=config.preset,
        build_id=identity.build_id,
        batch=config.batch,
        height=config.height,
        width=config.width,
        metadata_path="metadata.json",
        manifest_path="manifest.json",
    )
    return metadata, manifest, summary
