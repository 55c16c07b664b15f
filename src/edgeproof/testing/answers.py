"""What a runner would hand in for a job spec, without building or measuring anything: for tests of the queue.

The statements are really signed and fit their spec; the numbers are a ``Scene``'s, hence invented.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeproof.contract.canonical import canonical, decode_canonical, sha256_hex
from edgeproof.contract.envelope import SigningKey, peek_payload
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
    EnvironmentSnapshot,
    ForgeConfig,
    JobSpec,
    JobSpecStatement,
    Measurement,
    MeasurementStatement,
    RunDetails,
    RuntimeConfig,
    resource,
)
from edgeproof.testing.invented_builds import invented_papers
from edgeproof.testing.invented_measurements import (
    invented_noise,
    invented_quality,
    invented_result,
    invented_samples,
)
from edgeproof.testing.scene import NOW, Scene

_ENVIRONMENT = EnvironmentSnapshot(
    at=NOW,
    governor=None,
    frequency_mhz=(),
    temperature_c=None,
    throttle_count=None,
    load_1m=0.1,
    memory_available_bytes=1 << 30,
    swap_used_bytes=0,
    versions={},
)


@dataclass(frozen=True)
class Answer:
    """A signed envelope, and the artifacts to upload before it is submitted."""

    envelope: bytes
    uploads: tuple[bytes, ...]


def answer(
    job_spec: bytes,
    runner: SigningKey,
    scene: Scene | None = None,
    *,
    nonce: int = 0,
    built: bytes | None = None,
) -> Answer:
    """The answer to a job spec; another ``nonce`` gives another, as good, answer.

    ``built`` is the artifact that a build made; by default each job has another.
    """
    _, payload = peek_payload(job_spec)
    spec = decode_canonical(payload, JobSpecStatement, what="job spec").predicate
    return answer_to(spec, sha256_hex(job_spec), runner, scene, nonce=nonce, built=built)


def answer_to(
    spec: JobSpec,
    spec_digest: str,
    runner: SigningKey,
    scene: Scene | None = None,
    *,
    nonce: int = 0,
    built: bytes | None = None,
) -> Answer:
    """As ``answer``, to a job spec that the caller has opened; the digest is its envelope's."""
    binding = Binding(
        job_id=spec.job_id,
        run_id=spec.run_id,
        attempt=spec.attempt,
        lease_digest=spec.lease_digest,
        job_spec=spec_digest,
        runner_key=runner.public.base64,
        nonce=sha256_hex(f"nonce {nonce}".encode()),
        boot_id="boot",
        created_at=NOW,
    )
    return answer_under(spec, binding, runner, scene, built)


def answer_under(
    spec: JobSpec,
    binding: Binding,
    runner: SigningKey,
    scene: Scene | None = None,
    built: bytes | None = None,
) -> Answer:
    """As ``answer``, with the caller's nonce, boot and time."""
    if isinstance(spec.config, ForgeConfig):
        return _build(spec, spec.config, binding, runner, built)
    return _measurement(spec.config, binding, runner, scene or Scene())


def _build(
    spec: JobSpec, config: ForgeConfig, binding: Binding, runner: SigningKey, built: bytes | None
) -> Answer:
    artifact = built or f"artifact of {config.role} for {spec.job_id}".encode()
    digest = sha256_hex(artifact)
    metadata, manifest, summary = invented_papers(config, digest)
    dependencies = [resource("source", config.source)]
    if config.calibration is not None:
        dependencies.append(resource("calibration", config.calibration))
    statement = BuildStatement(
        subject=(resource("model.onnx", digest),),
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
                builder=Builder(id=f"urn:edgeproof:runner:{runner.public.keyid}", version={}),
                metadata=BuildMetadata(
                    invocationId=f"{spec.run_id}/{spec.attempt}", startedOn=NOW, finishedOn=NOW
                ),
            ),
        ),
    )
    return Answer(runner.seal(canonical(statement)), (artifact,))


def _measurement(config: RuntimeConfig, binding: Binding, runner: SigningKey, scene: Scene) -> Answer:
    samples, quality = invented_samples(scene, config.plan), invented_quality(scene)
    raw_samples, raw_quality = canonical(samples), canonical(quality)
    baseline, candidate = config.baseline, config.candidate
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
                tuple(pair.baseline for pair in samples.pairs),
                quality,
                quality.baseline,
            ),
            candidate=invented_result(
                scene,
                candidate,
                config,
                tuple(pair.candidate for pair in samples.pairs),
                quality,
                quality.candidate,
            ),
            raw_samples=sha256_hex(raw_samples),
            raw_quality=sha256_hex(raw_quality),
            noise=invented_noise(scene),
            environment_before=_ENVIRONMENT,
            environment_after=_ENVIRONMENT,
        ),
    )
    return Answer(runner.seal(canonical(statement)), (raw_samples, raw_quality))
