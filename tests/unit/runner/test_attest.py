"""The key signs only what the spec and our own hashes say: a child that claims otherwise is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.statements import (
    BuildStatement,
    ForgeConfig,
    JobSpecStatement,
    MeasurementStatement,
    RuntimeConfig,
    open_statement,
)
from edgeproof.lab.chain import check_binding, check_build
from edgeproof.runner.attest import Attestor, build_envelope, measurement_envelope
from edgeproof.runner.stage import ForgeDone, RuntimeDone
from edgeproof.testing.evidence import EvidenceSet, make_evidence

OTHER = sha256_hex(b"other")
EVIDENCE: EvidenceSet = make_evidence()


def documents(kind: str) -> list[bytes]:
    return [EVIDENCE.documents[one.digest] for one in EVIDENCE.evidence if one.kind == kind]


def spec_of(digest: str) -> JobSpecStatement:
    key = EVIDENCE.control_plane.public
    return open_statement(EVIDENCE.documents[digest], key, JobSpecStatement, what="spec")


def attestor_for(digest: str) -> Attestor:
    return Attestor(
        key=EVIDENCE.runner,
        spec=spec_of(digest).predicate,
        job_spec=digest,
        boot_id="boot",
        isolation="rlimit",
    )


def a_build() -> tuple[Attestor, ForgeConfig, ForgeDone, str]:
    """A quantised build: what its child handed over, and the artifact's digest."""
    for envelope in documents("build"):
        build = open_statement(envelope, EVIDENCE.runner.public, BuildStatement, what="build")
        definition = build.predicate.buildDefinition
        config, inside = definition.externalParameters.config, definition.internalParameters
        if config.calibration is not None:
            break
    done = ForgeDone(
        artifact="model.onnx",
        metadata=inside.metadata,
        manifest=inside.manifest,
        summary=inside.worker_runtime_summary,
        cached=None,
        versions={"onnxruntime": "1"},
        started_at="2026-01-02T03:04:05Z",
        finished_at="2026-01-02T03:04:06Z",
    )
    return attestor_for(inside.binding.job_spec), config, done, build.subject[0].digest.sha256


def a_measurement() -> tuple[Attestor, RuntimeConfig, RuntimeDone]:
    (envelope,) = documents("measurement")
    key = EVIDENCE.runner.public
    measured = open_statement(envelope, key, MeasurementStatement, what="measurement").predicate
    done = RuntimeDone(
        baseline=measured.baseline,
        candidate=measured.candidate,
        noise=measured.noise,
        environment_before=measured.environment_before,
        environment_after=measured.environment_after,
    )
    return attestor_for(measured.binding.job_spec), measured.config, done


def changed(value: Any, path: str, new: object) -> Any:
    """``value`` with the field at the dotted ``path`` replaced, in tuples too (by index)."""
    name, _, rest = path.partition(".")
    if isinstance(value, tuple):
        at = int(name)
        return (*value[:at], changed(value[at], rest, new) if rest else new, *value[at + 1 :])
    inner = changed(getattr(value, name), rest, new) if rest else new
    return msgspec.structs.replace(value, **{name: inner})


def test_an_honest_build_holds_in_the_chain() -> None:
    attestor, config, done, artifact = a_build()
    envelope = build_envelope(attestor, config, done, artifact)
    (envelope_measured,) = documents("measurement")
    measured = open_statement(
        envelope_measured, EVIDENCE.runner.public, MeasurementStatement, what="measurement"
    )
    side = measured.predicate.config.candidate
    statement = check_build(envelope, attestor.job_spec, spec_of(attestor.job_spec), side)
    assert statement.predicate.buildDefinition.internalParameters.isolation == "rlimit"


def test_every_signature_has_a_nonce_of_its_own() -> None:
    attestor = a_build()[0]
    assert attestor.binding().nonce != attestor.binding().nonce


@pytest.mark.parametrize(
    "path",
    [
        "metadata.source_model.sha256",
        "metadata.artifacts.0.sha256",
        "manifest.source_model.sha256",
        "manifest.artifact.sha256",
        "manifest.tool.calibration_sha256",
        "summary.artifact_sha256",
        "summary.source_model_sha256",
    ],
)
def test_a_build_that_claims_another_digest_is_refused(path: str) -> None:
    attestor, config, done, artifact = a_build()
    with pytest.raises(StageFailed) as caught:
        build_envelope(attestor, config, changed(done, path, OTHER), artifact)
    assert (caught.value.code, caught.value.fault) == ("result_invalid", "backend")


def test_a_build_whose_file_is_another_is_refused() -> None:
    attestor, config, done, _ = a_build()
    with pytest.raises(StageFailed, match="another artifact"):
        build_envelope(attestor, config, done, OTHER)


def test_a_build_without_or_with_two_artifacts_is_refused() -> None:
    attestor, config, done, artifact = a_build()
    for artifacts in ((), done.metadata.artifacts * 2):
        with pytest.raises(StageFailed, match="another artifact"):
            build_envelope(attestor, config, changed(done, "metadata.artifacts", artifacts), artifact)


def test_an_honest_measurement_is_bound_to_its_lease() -> None:
    attestor, config, done = a_measurement()
    envelope = measurement_envelope(attestor, config, done, "1" * 64, "2" * 64)
    key = EVIDENCE.runner.public
    measured = open_statement(envelope, key, MeasurementStatement, what="measurement").predicate
    check_binding(measured.binding, attestor.job_spec, attestor.spec, "measurement")
    assert (measured.raw_samples, measured.raw_quality) == ("1" * 64, "2" * 64)
    assert measured.config == config


@pytest.mark.parametrize("side", ["baseline", "candidate"])
@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("extra.runtime_artifact_sha256", OTHER),
        ("extra.source_model_sha256", OTHER),
        ("backend", "another"),
        ("target", "another"),
    ],
)
def test_a_measurement_of_something_else_is_refused(side: str, path: str, new: str) -> None:
    attestor, config, done = a_measurement()
    with pytest.raises(StageFailed) as caught:
        measurement_envelope(attestor, config, changed(done, f"{side}.{path}", new), "1" * 64, "2" * 64)
    assert (caught.value.code, caught.value.fault) == ("result_invalid", "backend")


def test_a_number_that_json_cannot_carry_is_refused() -> None:
    attestor, config, done = a_measurement()
    worse = changed(done, "environment_after.swap_used_bytes", 1 << 60)
    with pytest.raises(StageFailed, match="not canonically encodable"):
        measurement_envelope(attestor, config, worse, "1" * 64, "2" * 64)
