"""Makes a full, really signed evidence set without measuring anything: for tests of what reads evidence.

Everything is derived from the arguments; keys too, so that two calls give the same bytes. Its numbers are
invented: it ships for tests alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgeproof.contract.canonical import canonical, round6, sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.policy import Policy
from edgeproof.contract.receipts import Receipt
from edgeproof.contract.requests import Precision
from edgeproof.contract.results import (
    AccuracyResult,
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
    RunConfig,
    RuntimeExtra,
    RuntimeResult,
    SourceModel,
    SystemInfo,
    WorkerRuntimeSummary,
)
from edgeproof.contract.samples import Block, PairSamples, RawQuality, RawSamples, SideQuality, SideSamples
from edgeproof.contract.statements import (
    SLSA_BUILD_TYPE,
    Binding,
    Build,
    BuildDefinition,
    Builder,
    BuildInternals,
    BuildMetadata,
    BuildParameters,
    BuildStatement,
    DuetPlan,
    EnvironmentSnapshot,
    EvidenceKind,
    EvidenceRef,
    ForgeConfig,
    JobSpec,
    JobSpecStatement,
    MeasuredArtifact,
    Measurement,
    MeasurementStatement,
    NoiseFloor,
    RunDetails,
    RunLimits,
    RuntimeConfig,
    resource,
)
from edgeproof.domain.measurement import (
    accuracy_metrics,
    backend_key,
    cold_start,
    compare_key,
    fps,
    summarise,
)
from edgeproof.domain.warmup import window_calls
from edgeproof.lab.chain import inputs_of
from edgeproof.lab.noise import FLOORED
from edgeproof.lab.policies import default_policy

NOW = "2026-01-02T03:04:05Z"
RECEIVED = "2026-01-02T03:04:06Z"
SHAPES: dict[str, tuple[int, ...]] = {"image": (1, 1, 8, 8)}
Role = Literal["baseline", "candidate"]


@dataclass(frozen=True)
class Scene:
    """What the invented device would have measured. ``ratio`` is candidate over baseline latency.

    ``accuracy`` are fractions of the labels that baseline and candidate get right (None: no labels).
    ``jitter`` is the relative spread between process pairs. With ``settled`` False no warm-up came to rest.
    ``noise_pct`` is the device's noise floor, None one that could not be found. ``numbers`` is what the
    results claim their numbers to be: to readers they shall look like a device's. ``receipts``: the control
    plane's notes on what it took are among the evidence. With ``forged`` False the candidate came as an
    artifact, which no run built.
    """

    job_id: str = "job_test"
    ratio: float = 0.5
    accuracy: tuple[float, float] | None = (0.98, 0.98)
    images: int = 200
    pairs: int = 8
    blocks: int = 8
    calls: int = 5
    jitter: float = 0.003
    settled: bool = True
    noise_pct: float | None = 0.5
    candidate_nonfinite: int = 0
    candidate_precision: Precision = "int8"
    numbers: Literal["measured", "estimated", "simulated"] = "measured"
    receipts: bool = False
    forged: bool = True
    seed: int = 1
    policy: Policy = field(default_factory=default_policy)


@dataclass(frozen=True)
class EvidenceSet:
    """``documents`` by digest; ``evidence`` lists them; the keys that signed them."""

    documents: Mapping[str, bytes]
    evidence: tuple[EvidenceRef, ...]
    control_plane: SigningKey
    runner: SigningKey

    def files(self) -> dict[str, bytes]:
        """The documents under the names that an evidence folder gives them, without a decision."""
        return {f"{one.kind}-{one.digest}.json": self.documents[one.digest] for one in self.evidence}


def key_for(name: str) -> SigningKey:
    """A key derived from ``name``: for tests only, its secret is no secret."""
    return SigningKey(hashlib.sha256(b"edgeproof-testing " + name.encode()).digest())


def make_evidence(
    scene: Scene | None = None,
    *,
    control_plane: SigningKey | None = None,
    runner: SigningKey | None = None,
) -> EvidenceSet:
    """A consistent evidence set of ``scene``, signed by the given keys or by derived ones."""
    return _Maker(
        scene or Scene(), control_plane or key_for("control plane"), runner or key_for("runner")
    ).make()


class _Maker:
    def __init__(self, scene: Scene, control_plane: SigningKey, runner: SigningKey) -> None:
        self._scene = scene
        self._control_plane = control_plane
        self._runner = runner
        self._documents: dict[str, bytes] = {}
        self._evidence: list[EvidenceRef] = []

    def make(self) -> EvidenceSet:
        self._keep("policy", canonical(self._scene.policy))
        baseline = self._build("baseline", "source", "fp32")
        precision = self._scene.candidate_precision
        candidate = (
            self._build("candidate", "int8_static", precision)
            if self._scene.forged
            else self._as_it_came(precision)
        )
        self._measure(baseline, candidate)
        return EvidenceSet(
            documents=self._documents,
            evidence=tuple(sorted(self._evidence, key=lambda one: (one.kind, one.digest))),
            control_plane=self._control_plane,
            runner=self._runner,
        )

    def _keep(self, kind: EvidenceKind, data: bytes) -> str:
        digest = sha256_hex(data)
        self._documents[digest] = data
        self._evidence.append(EvidenceRef(kind=kind, digest=digest))
        return digest

    def _seal(self, kind: EvidenceKind, binding: Binding, statement: object) -> str:
        """Sign what the runner hands in, and note its receipt if asked to; the envelope's digest."""
        digest = self._keep(kind, self._runner.seal(canonical(statement)))
        if self._scene.receipts:
            receipt = Receipt(
                schema_version="edgeproof-receipt-v1",
                job_id=binding.job_id,
                run_id=binding.run_id,
                attempt=binding.attempt,
                envelope=digest,
                runner_key=binding.runner_key,
                received_at=RECEIVED,
            )
            self._keep("receipt", canonical(receipt))
        return digest

    def _name(self, what: str) -> str:
        return sha256_hex(f"{self._scene.job_id} {self._scene.seed} {what}".encode())

    def _spec(self, run: str, config: ForgeConfig | RuntimeConfig) -> tuple[JobSpec, Binding]:
        policy_digest = self._evidence[0].digest
        spec = JobSpec(
            run_id=f"{self._scene.job_id}.{run}",
            job_id=self._scene.job_id,
            stage="forge" if isinstance(config, ForgeConfig) else "runtime",
            attempt=1,
            lease_digest=self._name(f"lease {run}"),
            runner_key=self._runner.public.base64,
            control_plane_key=self._control_plane.public.base64,
            model="digits",
            tasks=(run,),
            config=config,
            policy_digest=policy_digest,
            limits=RunLimits(max_seconds=600, max_memory_bytes=2 << 30, max_upload_bytes=512 << 20),
            issued_at=NOW,
            expires_at=NOW,
        )
        statement = JobSpecStatement(subject=inputs_of(config), predicate=spec)
        digest = self._keep("job-spec", self._control_plane.seal(canonical(statement)))
        return spec, Binding(
            job_id=spec.job_id,
            run_id=spec.run_id,
            attempt=1,
            lease_digest=spec.lease_digest,
            job_spec=digest,
            runner_key=spec.runner_key,
            nonce=self._name(f"nonce {run}"),
            boot_id="boot",
            created_at=NOW,
        )

    def _build(self, role: Role, preset: str, precision: Precision) -> MeasuredArtifact:
        source, artifact = self._name("source"), self._name(f"artifact {role}")
        calibration = self._name("calibration") if preset == "int8_static" else None
        config = ForgeConfig(
            role=role,
            backend="onnxruntime",
            target="cpu",
            preset=preset,
            precision=precision,
            source=source,
            source_name="digits",
            calibration=calibration,
            input_shapes=SHAPES,
            batch=1,
            height=8,
            width=8,
        )
        spec, binding = self._spec(f"forge-{role}", config)
        dependencies = [resource("source", source)]
        if calibration:
            dependencies.append(resource("calibration", calibration))
        metadata, manifest, summary = _papers(config, artifact)
        statement = BuildStatement(
            subject=(resource("model.onnx", artifact),),
            predicate=Build(
                buildDefinition=BuildDefinition(
                    buildType=SLSA_BUILD_TYPE,
                    externalParameters=BuildParameters(config=config),
                    internalParameters=BuildInternals(
                        binding=binding,
                        metadata=metadata,
                        manifest=manifest,
                        worker_runtime_summary=summary,
                        cached=None,
                        isolation="namespaces",
                    ),
                    resolvedDependencies=tuple(dependencies),
                ),
                runDetails=RunDetails(
                    builder=Builder(id=f"urn:edgeproof:runner:{self._runner.public.keyid}", version={}),
                    metadata=BuildMetadata(invocationId=f"{spec.run_id}/1", startedOn=NOW, finishedOn=NOW),
                ),
            ),
        )
        build = self._seal("build", binding, statement)
        return MeasuredArtifact(
            artifact=artifact, build=build, source=source, precision=precision, model_name="digits"
        )

    def _as_it_came(self, precision: Precision) -> MeasuredArtifact:
        artifact = self._name("artifact candidate")
        return MeasuredArtifact(
            artifact=artifact, build=None, source=artifact, precision=precision, model_name="digits"
        )

    def _measure(self, baseline: MeasuredArtifact, candidate: MeasuredArtifact) -> None:
        scene = self._scene
        policy = scene.policy
        config = RuntimeConfig(
            backend="onnxruntime",
            target="cpu",
            threads=1,
            baseline=baseline,
            candidate=candidate,
            dataset=self._name("dataset"),
            input_shapes=SHAPES,
            batch=1,
            height=8,
            width=8,
            plan=DuetPlan(
                looks=policy.latency.looks,
                confidence=policy.latency.confidence,
                gates={gate.metric: gate.margin_pct for gate in policy.latency.gates},
                blocks=scene.blocks,
                calls_per_block=scene.calls,
                repeats=2,
                load_difference=0.05,
                settle_calls=1,
                warmup_calls=1,
                warmup_windows=12,
                warmup_tolerance_pct=5.0,
            ),
            min_isolation=policy.min_isolation,
        )
        _, binding = self._spec("runtime", config)
        samples, quality = _samples(scene, config.plan), _quality(scene)
        environment = EnvironmentSnapshot(
            at=NOW,
            governor=None,
            frequency_mhz=(),
            temperature_c=None,
            throttle_count=None,
            load_1m=0.1,
            memory_available_bytes=1 << 30,
            swap_used_bytes=0,
            versions={"onnxruntime": "1.0"},
        )
        statement = MeasurementStatement(
            subject=(resource("baseline", baseline.artifact), resource("candidate", candidate.artifact)),
            predicate=Measurement(
                binding=binding,
                config=config,
                isolation="namespaces",
                baseline=_result(
                    scene,
                    baseline,
                    config,
                    tuple(p.baseline for p in samples.pairs),
                    quality,
                    quality.baseline,
                ),
                candidate=_result(
                    scene,
                    candidate,
                    config,
                    tuple(p.candidate for p in samples.pairs),
                    quality,
                    quality.candidate,
                ),
                raw_samples=self._keep("samples", canonical(samples)),
                raw_quality=self._keep("quality", canonical(quality)),
                noise=_noise(scene),
                environment_before=environment,
                environment_after=environment,
            ),
        )
        self._seal("measurement", binding, statement)


def _noise(scene: Scene) -> NoiseFloor:
    return NoiseFloor(
        conditions=sha256_hex(b"conditions"),
        background=0.0,
        pairs=8,
        floor_pct={} if scene.noise_pct is None else dict.fromkeys(FLOORED, scene.noise_pct),
        measured_at=NOW,
    )


def _papers(config: ForgeConfig, artifact: str) -> tuple[ForgeMetadata, ForgeManifest, WorkerRuntimeSummary]:
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


def _samples(scene: Scene, plan: DuetPlan) -> RawSamples:
    count = plan.calls_per_block or scene.calls
    draw = random.Random(scene.seed)
    window = window_calls(plan.warmup_calls)
    warm = (1_200_000,) * (2 * window)
    restless = tuple((1 << 30) >> index for index in range(plan.warmup_windows) for _ in range(window))

    def side(scale: float) -> SideSamples:
        process = scale * (1 + draw.gauss(0, scene.jitter))

        def block(at: int) -> Block:
            calls = tuple(int(1_000_000 * process * (1 + draw.gauss(0, 0.01))) for _ in range(count))
            return Block(
                at_ns=at,
                settle_ns=(1_100_000,) * plan.settle_calls,
                samples_ns=calls,
                load=0.0,
                wait=0.0,
                flags=(),
            )

        return SideSamples(
            load_ns=20_000_000,
            first_ns=3_000_000,
            warmup_ns=warm if scene.settled else restless,
            settled=scene.settled,
            blocks=tuple(block(index * 10_000_000) for index in range(plan.blocks)),
            peak_rss_bytes=80 << 20,
        )

    return RawSamples(
        schema_version="edgeproof-samples-v1",
        unit="ns",
        pairs=tuple(
            PairSamples(
                index=index,
                first="candidate" if index % 2 else "baseline",
                baseline=side(1.0),
                candidate=side(scene.ratio),
            )
            for index in range(scene.pairs)
        ),
    )


def _quality(scene: Scene) -> RawQuality:
    count = scene.images
    labels = tuple(index % 10 for index in range(count))

    def predict(right: float) -> tuple[int, ...]:
        wrong = round(count * (1 - right))
        return tuple((label + 1) % 10 if index < wrong else label for index, label in enumerate(labels))

    rights = scene.accuracy or (1.0, 1.0)
    baseline, candidate = predict(rights[0]), predict(rights[1])
    agree = [one == other for one, other in zip(baseline, candidate, strict=True)]
    return RawQuality(
        schema_version="edgeproof-quality-v1",
        samples=count,
        labels=labels if scene.accuracy else None,
        groups=None,
        baseline=SideQuality(predictions=baseline, nonfinite=0),
        candidate=SideQuality(predictions=candidate, nonfinite=scene.candidate_nonfinite),
        cosine=tuple(round6(0.999 if same else 0.2) for same in agree),
        max_abs_error=tuple(round6(0.05 if same else 4.0) for same in agree),
        relative_error=tuple(round6(0.04 if same else 1.3) for same in agree),
    )


def _result(
    scene: Scene,
    side: MeasuredArtifact,
    config: RuntimeConfig,
    sides: tuple[SideSamples, ...],
    quality: RawQuality,
    outputs: SideQuality,
) -> RuntimeResult:
    latency = summarise(sides)
    metrics = accuracy_metrics(quality.labels, outputs)
    accuracy = (
        AccuracyResult(task="classification", metrics=metrics, samples=quality.samples) if metrics else None
    )
    return RuntimeResult(
        schema_version="edgeproof-runtime-result-v1",
        runtime_role="runtime-result",
        model=side.model_name,
        backend=config.backend,
        target=config.target,
        precision=side.precision,
        batch=config.batch,
        height=config.height,
        width=config.width,
        input_shapes=config.input_shapes or SHAPES,
        mean_ms=latency.mean,
        p50_ms=latency.p50,
        p95_ms=latency.p95,
        p99_ms=latency.p99,
        latency_ms=latency,
        fps_value=fps(latency.mean, config.batch),
        timestamp=NOW,
        success=True,
        status="success",
        compare_key=compare_key(
            side.model_name, config.batch, config.height, config.width, side.precision, config.threads or 1
        ),
        backend_key=backend_key(config.backend, config.target),
        runtime_artifact_path="model.onnx",
        artifact_size_bytes=1000,
        peak_memory_bytes=max(one.peak_rss_bytes for one in sides),
        cold_start=cold_start(sides),
        run_config=RunConfig(
            warmup=config.plan.settle_calls,
            runs=len(sides[0].blocks[0].samples_ns),
            blocks=config.plan.blocks,
            pairs=len(sides),
            threads=config.threads or 1,
            mode="duet",
            task="classification",
            input_source="random" if config.dataset is None else "dataset",
        ),
        system=SystemInfo(
            os="Linux",
            python="3.11",
            machine="x86_64",
            cpu_model="invented",
            cpu_count_logical=2,
            memory_bytes=1 << 30,
        ),
        accuracy=accuracy,
        extra=RuntimeExtra(
            runtime_artifact_sha256=side.artifact,
            source_model_sha256=side.source,
            input_mode="random" if config.dataset is None else "dataset",
            measurement=scene.numbers,
        ),
    )
