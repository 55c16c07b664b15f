"""Makes a full, really signed evidence set without measuring anything: for tests of what reads evidence.

Everything is derived from the arguments; keys too, so that two calls give the same bytes. Its numbers are
invented: it ships for tests alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgeproof.contract.canonical import canonical, sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.receipts import Receipt
from edgeproof.contract.requests import Precision
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
    RunDetails,
    RunLimits,
    RuntimeConfig,
    resource,
)
from edgeproof.lab.chain import inputs_of
from edgeproof.testing.invented_builds import invented_papers
from edgeproof.testing.invented_measurements import (
    invented_noise,
    invented_quality,
    invented_result,
    invented_samples,
)
from edgeproof.testing.scene import NOW, SHAPES, Scene

__all__ = ["NOW", "EvidenceSet", "Scene", "key_for", "make_evidence"]

RECEIVED = "2026-01-02T03:04:06Z"
Role = Literal["baseline", "candidate"]


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
        metadata, manifest, summary = invented_papers(config, artifact)
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
        samples, quality = invented_samples(scene, config.plan), invented_quality(scene)
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
                baseline=invented_result(
                    scene,
                    baseline,
                    config,
                    tuple(p.baseline for p in samples.pairs),
                    quality,
                    quality.baseline,
                ),
                candidate=invented_result(
                    scene,
                    candidate,
                    config,
                    tuple(p.candidate for p in samples.pairs),
                    quality,
                    quality.candidate,
                ),
                raw_samples=self._keep("samples", canonical(samples)),
                raw_quality=self._keep("quality", canonical(quality)),
                noise=invented_noise(scene),
                environment_before=environment,
                environment_after=environment,
            ),
        )
        self._seal("measurement", binding, statement)
