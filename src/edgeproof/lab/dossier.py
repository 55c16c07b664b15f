"""Documents in, a verified dossier or a refusal out: all that one decision rests on.

``assemble`` trusts nothing but the control plane's public key. A ``Dossier`` exists only once every
signature, every canonical form and every link of the chain held; what it does not say is whether the
decision made of it is right, which is ``verify``'s to recompute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from edgeproof.contract.canonical import decode_canonical, sha256_hex
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Policy
from edgeproof.contract.receipts import Receipt
from edgeproof.contract.samples import RawQuality, RawSamples
from edgeproof.contract.statements import (
    BuildStatement,
    EvidenceKind,
    EvidenceRef,
    ForgeConfig,
    JobSpec,
    JobSpecStatement,
    MeasuredArtifact,
    MeasurementStatement,
    RuntimeConfig,
    open_statement,
)
from edgeproof.lab.chain import check_build, check_isolation, check_measurement, check_spec
from edgeproof.lab.recompute import check_results

T = TypeVar("T")

_COUNTS: dict[EvidenceKind, int] = {
    "job-spec": 3,
    "build": 2,
    "measurement": 1,
    "samples": 1,
    "quality": 1,
    "policy": 1,
}
_WITHOUT_FORGE: dict[EvidenceKind, int] = {**_COUNTS, "job-spec": 2, "build": 1}
"""Where the candidate came as an artifact: no run built it. Which of the two it is, the runtime spec says."""


@dataclass(frozen=True)
class Dossier:
    """The verified evidence of one job. ``evidence`` is sorted by kind, then digest; ``received_at`` is the
    measurement's receipt time, None where there are no receipts. A candidate that came as an artifact has
    no spec and no build."""

    job_id: str
    policy: Policy
    policy_digest: str
    baseline_spec: JobSpecStatement
    candidate_spec: JobSpecStatement | None
    runtime_spec: JobSpecStatement
    baseline_build: BuildStatement
    candidate_build: BuildStatement | None
    measurement: MeasurementStatement
    samples: RawSamples
    quality: RawQuality
    received_at: str | None
    evidence: tuple[EvidenceRef, ...]


def assemble(
    documents: Mapping[str, bytes], evidence: Sequence[EvidenceRef], control_plane_key: PublicKey
) -> Dossier:
    """The dossier of exactly the ``evidence`` named, found in ``documents`` by digest.

    Raises ``Refused`` naming the first thing that does not hold: ``evidence_missing``,
    ``not_canonical``, ``statement_invalid``, ``key_unknown``, ``signature_invalid`` or ``chain_broken``.
    """
    by_kind = _sort_out(documents, evidence)
    specs = {
        digest: open_statement(data, control_plane_key, JobSpecStatement, what=f"job spec {digest}")
        for digest, data in by_kind["job-spec"]
    }
    for spec in specs.values():
        check_spec(spec, control_plane_key)
    baseline_spec = _only(specs, "baseline")
    runtime_spec = _only(specs, "runtime")
    job_id = runtime_spec[1].predicate.job_id
    runs = {spec.predicate.run_id for spec in specs.values()}
    _demand(len(runs) == len(specs), "two job specs name one run")
    policy_digest, policy_data = by_kind["policy"][0]
    for spec in specs.values():
        _demand(spec.predicate.job_id == job_id, "the job specs belong to different jobs")
        _demand(spec.predicate.policy_digest == policy_digest, "a job spec names another policy")
    policy = decode_canonical(policy_data, Policy, what="policy")

    runtime = runtime_spec[1].predicate.config
    if not isinstance(runtime, RuntimeConfig):
        raise Refused("chain_broken", "the runtime spec has no runtime configuration")
    builds = dict(by_kind["build"])
    baseline_build = _built(builds, runtime.baseline, baseline_spec, policy, "baseline")
    candidate_spec, candidate_build = None, None
    if runtime.candidate.build is None:
        _demand(len(specs) == 2, "a candidate that came as an artifact has a forge run")
        _demand(
            runtime.candidate.source == runtime.candidate.artifact,
            "a candidate that came as an artifact has another source",
        )
    else:
        candidate_spec = _only(specs, "candidate")
        candidate_build = _built(builds, runtime.candidate, candidate_spec, policy, "candidate")
    _demand(runtime.baseline.build != runtime.candidate.build, "both sides name one build")

    measurement = check_measurement(by_kind["measurement"][0][1], *runtime_spec, policy)
    samples_digest, samples_data = by_kind["samples"][0]
    quality_digest, quality_data = by_kind["quality"][0]
    _demand(measurement.predicate.raw_samples == samples_digest, "the measurement names other raw samples")
    _demand(measurement.predicate.raw_quality == quality_digest, "the measurement names other raw quality")
    samples = decode_canonical(samples_data, RawSamples, what="raw samples")
    quality = decode_canonical(quality_data, RawQuality, what="raw quality")
    check_results(measurement.predicate, samples, quality)
    specs_of_results = {by_kind["measurement"][0][0]: runtime_spec[1].predicate}
    for side, told in ((runtime.baseline, baseline_spec), (runtime.candidate, candidate_spec)):
        if side.build is not None and told is not None:
            specs_of_results[side.build] = told[1].predicate
    receipts = _receipts(by_kind["receipt"], specs_of_results)
    measured = receipts.get(by_kind["measurement"][0][0])
    return Dossier(
        job_id=job_id,
        policy=policy,
        policy_digest=policy_digest,
        baseline_spec=baseline_spec[1],
        candidate_spec=None if candidate_spec is None else candidate_spec[1],
        runtime_spec=runtime_spec[1],
        baseline_build=baseline_build,
        candidate_build=candidate_build,
        measurement=measurement,
        samples=samples,
        quality=quality,
        received_at=None if measured is None else measured.received_at,
        evidence=tuple(sorted(evidence, key=lambda one: (one.kind, one.digest))),
    )


def _sort_out(
    documents: Mapping[str, bytes], evidence: Sequence[EvidenceRef]
) -> dict[EvidenceKind, list[tuple[str, bytes]]]:
    by_kind: dict[EvidenceKind, list[tuple[str, bytes]]] = {kind: [] for kind in (*_COUNTS, "receipt")}
    _demand(len(set(evidence)) == len(evidence), "a piece of evidence is named twice")
    for reference in evidence:
        data = documents.get(reference.digest)
        if data is None:
            raise Refused("evidence_missing", f"{reference.kind} {reference.digest} is not there")
        _demand(sha256_hex(data) == reference.digest, f"{reference.kind} {reference.digest} has other bytes")
        by_kind[reference.kind].append((reference.digest, data))
    counts = _WITHOUT_FORGE if len(by_kind["job-spec"]) == _WITHOUT_FORGE["job-spec"] else _COUNTS
    for kind, count in counts.items():
        _demand(len(by_kind[kind]) == count, f"expected {count} of {kind}, found {len(by_kind[kind])}")
    # One for each result, or none: decisions were made before there were receipts.
    found, results = len(by_kind["receipt"]), counts["job-spec"]
    _demand(found in (0, results), f"expected {results} of receipt, found {found}")
    return by_kind


def _receipts(documents: Sequence[tuple[str, bytes]], specs: Mapping[str, JobSpec]) -> dict[str, Receipt]:
    """By the digest of the envelope that each is for; ``specs`` are the job specs of those envelopes."""
    receipts: dict[str, Receipt] = {}
    for digest, data in documents:
        receipt = decode_canonical(data, Receipt, what=f"receipt {digest}")
        spec = specs.get(receipt.envelope)
        if spec is None:
            raise Refused("chain_broken", f"receipt {digest} is for no result among the evidence")
        _demand(receipt.envelope not in receipts, "two receipts are for one result")
        told = (receipt.job_id, receipt.run_id, receipt.attempt, receipt.runner_key)
        _demand(
            told == (spec.job_id, spec.run_id, spec.attempt, spec.runner_key),
            f"receipt {digest} names another run or key than the result's job spec",
        )
        receipts[receipt.envelope] = receipt
    return receipts


def _only(specs: Mapping[str, JobSpecStatement], role: str) -> tuple[str, JobSpecStatement]:
    def role_of(spec: JobSpecStatement) -> str:
        config = spec.predicate.config
        return config.role if isinstance(config, ForgeConfig) else "runtime"

    found = [(digest, spec) for digest, spec in specs.items() if role_of(spec) == role]
    _demand(len(found) == 1, f"expected one {role} job spec, found {len(found)}")
    return found[0]


def _built(
    builds: Mapping[str, bytes],
    measured: MeasuredArtifact,
    spec: tuple[str, JobSpecStatement],
    policy: Policy,
    side: str,
) -> BuildStatement:
    """The build of one side, checked."""
    data = None if measured.build is None else builds.get(measured.build)
    if data is None:
        raise Refused("chain_broken", f"the {side}'s build {measured.build} is not among the evidence")
    build = check_build(data, *spec, measured)
    inside = build.predicate.buildDefinition.internalParameters
    check_isolation(inside.isolation, policy, f"the {side} was built")
    return build


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise Refused("chain_broken", message)
