"""Composes the statements that the runner's key signs, from a job spec and what the child handed over.

The key never signs bytes that it did not compose: everything that a statement claims about the lease,
the inputs and the artifacts is taken from the spec or hashed here, and a child's claim that
contradicts them is refused (``result_invalid``).
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import NamedTuple

from edgeproof.contract.canonical import canonical
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.runners import Isolation
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
    ForgeConfig,
    JobSpec,
    Measurement,
    MeasurementStatement,
    Resource,
    RunDetails,
    RuntimeConfig,
    resource,
)
from edgeproof.runner.stage import ForgeDone, RuntimeDone


class Attestor(NamedTuple):
    """Who signs, for which lease. ``job_spec`` is the SHA-256 of the spec's envelope bytes."""

    key: SigningKey
    spec: JobSpec
    job_spec: str
    boot_id: str
    isolation: Isolation

    def binding(self) -> Binding:
        """A fresh nonce, and this device's clock: nothing of it comes from the child."""
        return Binding(
            job_id=self.spec.job_id,
            run_id=self.spec.run_id,
            attempt=self.spec.attempt,
            lease_digest=self.spec.lease_digest,
            job_spec=self.job_spec,
            runner_key=self.key.public.base64,
            nonce=secrets.token_hex(32),
            boot_id=self.boot_id,
            created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )


def build_envelope(attestor: Attestor, config: ForgeConfig, done: ForgeDone, artifact: str) -> bytes:
    """``artifact`` is the SHA-256 of the built file as hashed by the runner."""
    _demand(done.metadata.source_model.sha256 == config.source, "another source model")
    _demand(done.manifest.source_model.sha256 == config.source, "another source model")
    _demand(done.manifest.artifact.sha256 == artifact, "another artifact")
    _demand([one.sha256 for one in done.metadata.artifacts] == [artifact], "another artifact")
    _demand(done.summary.artifact_sha256 == artifact, "another artifact")
    _demand(done.summary.source_model_sha256 == config.source, "another source model")
    _demand(done.manifest.tool.calibration_sha256 == config.calibration, "another calibration set")
    dependencies: list[Resource] = [resource("source", config.source)]
    if config.calibration is not None:
        dependencies.append(resource("calibration", config.calibration))
    statement = BuildStatement(
        subject=(resource(done.manifest.artifact.path, artifact),),
        predicate=Build(
            buildDefinition=BuildDefinition(
                buildType=SLSA_BUILD_TYPE,
                externalParameters=BuildParameters(config=config),
                internalParameters=BuildInternals(
                    binding=attestor.binding(),
                    metadata=done.metadata,
                    manifest=done.manifest,
                    worker_runtime_summary=done.summary,
                    cached=done.cached,
                    isolation=attestor.isolation,
                ),
                resolvedDependencies=tuple(dependencies),
            ),
            runDetails=RunDetails(
                builder=Builder(
                    id=f"urn:edgeproof:runner:{attestor.key.public.keyid}", version=done.versions
                ),
                metadata=BuildMetadata(
                    invocationId=f"{attestor.spec.run_id}/{attestor.spec.attempt}",
                    startedOn=done.started_at,
                    finishedOn=done.finished_at,
                ),
            ),
        ),
    )
    return _sealed(attestor, statement)


def measurement_envelope(
    attestor: Attestor, config: RuntimeConfig, done: RuntimeDone, samples: str, quality: str
) -> bytes:
    """``samples`` and ``quality`` are the SHA-256 of the raw documents as hashed by the runner."""
    for side, result in ((config.baseline, done.baseline), (config.candidate, done.candidate)):
        _demand(result.extra.runtime_artifact_sha256 == side.artifact, "another artifact")
        _demand(result.extra.source_model_sha256 == side.source, "another source model")
        _demand((result.backend, result.target) == (config.backend, config.target), "another backend")
    statement = MeasurementStatement(
        subject=(
            resource("baseline", config.baseline.artifact),
            resource("candidate", config.candidate.artifact),
        ),
        predicate=Measurement(
            binding=attestor.binding(),
            config=config,
            isolation=attestor.isolation,
            baseline=done.baseline,
            candidate=done.candidate,
            raw_samples=samples,
            raw_quality=quality,
            noise=done.noise,
            environment_before=done.environment_before,
            environment_after=done.environment_after,
        ),
    )
    return _sealed(attestor, statement)


def _sealed(attestor: Attestor, statement: BuildStatement | MeasurementStatement) -> bytes:
    try:
        return attestor.key.seal(canonical(statement))
    except ValueError as error:
        raise StageFailed("result_invalid", str(error), fault="backend") from error


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise StageFailed("result_invalid", f"the stage reports {what} than its spec names", fault="backend")
