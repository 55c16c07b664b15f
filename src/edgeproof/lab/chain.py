"""The links between one job spec and what its runner signed, each checked by itself.

A link that does not hold is ``Refused`` (``chain_broken``) with words that name it.
"""

from __future__ import annotations

from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Policy
from edgeproof.contract.runners import ISOLATION_ORDER, Isolation
from edgeproof.contract.statements import (
    Binding,
    Build,
    BuildStatement,
    ForgeConfig,
    JobSpec,
    JobSpecStatement,
    MeasuredArtifact,
    MeasurementStatement,
    Resource,
    RuntimeConfig,
    StageConfig,
    open_statement,
    resource,
)


def inputs_of(config: StageConfig) -> tuple[Resource, ...]:
    """The subjects of a job spec: the artifacts that its run reads."""
    if isinstance(config, ForgeConfig):
        named = [("source", config.source), ("calibration", config.calibration)]
    else:
        named = [
            ("baseline", config.baseline.artifact),
            ("candidate", config.candidate.artifact),
            ("dataset", config.dataset),
        ]
    return tuple(resource(name, digest) for name, digest in named if digest is not None)


def check_spec(statement: JobSpecStatement, control_plane_key: PublicKey) -> None:
    """What a job spec must say of itself."""
    spec = statement.predicate
    _demand(spec.control_plane_key == control_plane_key.base64, "a job spec names another control plane")
    stage = "forge" if isinstance(spec.config, ForgeConfig) else "runtime"
    _demand(spec.stage == stage, f"a job spec of stage {spec.stage} configures {stage}")
    _demand(statement.subject == inputs_of(spec.config), "a job spec's subjects are not its inputs")


def check_binding(binding: Binding, spec_digest: str, spec: JobSpec, what: str) -> None:
    """The statement was made for that spec, under its lease, by the runner it names."""
    _demand(binding.job_spec == spec_digest, f"the {what} was made for another job spec")
    _demand(binding.job_id == spec.job_id, f"the {what} belongs to another job")
    _demand(binding.run_id == spec.run_id, f"the {what} belongs to another run")
    _demand(binding.attempt == spec.attempt, f"the {what} belongs to another attempt")
    _demand(binding.lease_digest == spec.lease_digest, f"the {what} was made under another lease")
    _demand(binding.runner_key == spec.runner_key, f"the {what} names another runner's key")


def check_build(
    envelope: bytes, spec_digest: str, spec: JobSpecStatement, side: MeasuredArtifact
) -> BuildStatement:
    """The build that the spec asked for, whose subject is the artifact that was measured."""
    told = spec.predicate
    statement = open_statement(
        envelope, PublicKey.from_base64(told.runner_key), BuildStatement, what=f"build for run {told.run_id}"
    )
    check_opened_build(statement, spec_digest, spec, side)
    return statement


def check_opened_build(
    statement: BuildStatement, spec_digest: str, spec: JobSpecStatement, side: MeasuredArtifact
) -> None:
    """As ``check_build``, of a statement whose signature by the spec's runner key has held."""
    told = spec.predicate
    build = statement.predicate
    config = build.buildDefinition.externalParameters.config
    inside = build.buildDefinition.internalParameters
    check_binding(inside.binding, spec_digest, told, f"{config.role}'s build")
    _demand(config == told.config, f"the {config.role}'s build has another configuration than its job spec")
    _demand(config.source == side.source, f"the {config.role}'s build starts from another source model")
    _demand(config.precision == side.precision or side.precision == inside.manifest.artifact.precision,
            f"the {config.role}'s build has another precision")  # fmt: skip
    _demand(
        [one.digest.sha256 for one in statement.subject] == [side.artifact],
        f"the {config.role}'s build made another artifact",
    )
    expected = [resource("source", config.source)]
    if config.calibration is not None:
        expected.append(resource("calibration", config.calibration))
    _demand(
        list(build.buildDefinition.resolvedDependencies) == expected,
        f"the {config.role}'s build names other inputs than its job spec",
    )
    _check_manifests(build, config, side)
    _demand(
        build.runDetails.metadata.invocationId == f"{told.run_id}/{told.attempt}",
        f"the {config.role}'s build names another invocation",
    )


def _check_manifests(build: Build, config: ForgeConfig, side: MeasuredArtifact) -> None:
    inside = build.buildDefinition.internalParameters
    sources = {inside.metadata.source_model.sha256, inside.manifest.source_model.sha256,
               inside.worker_runtime_summary.source_model_sha256}  # fmt: skip
    artifacts = {inside.manifest.artifact.sha256, inside.worker_runtime_summary.artifact_sha256,
                 *(one.sha256 for one in inside.metadata.artifacts)}  # fmt: skip
    _demand(sources == {config.source}, f"the {config.role}'s manifest names another source model")
    _demand(artifacts == {side.artifact}, f"the {config.role}'s manifest names another artifact")
    _demand(
        inside.manifest.tool.calibration_sha256 == config.calibration,
        f"the {config.role}'s manifest names another calibration set",
    )


def check_measurement(
    envelope: bytes, spec_digest: str, spec: JobSpecStatement, policy: Policy
) -> MeasurementStatement:
    """The measurement that the spec asked for, by the policy's plan and isolation."""
    told = spec.predicate
    statement = open_statement(
        envelope, PublicKey.from_base64(told.runner_key), MeasurementStatement, what="measurement"
    )
    measured = statement.predicate
    check_binding(measured.binding, spec_digest, told, "measurement")
    config = measured.config
    _demand(config == told.config, "the measurement has another configuration than its job spec")
    expected: tuple[Resource, ...] = (
        resource("baseline", config.baseline.artifact),
        resource("candidate", config.candidate.artifact),
    )
    _demand(statement.subject == expected, "the measurement's subjects are not the artifacts measured")
    _check_plan(config, policy)
    check_isolation(measured.isolation, policy, "the pair was measured")
    return statement


def check_isolation(level: Isolation, policy: Policy, what: str) -> None:
    """``what`` says in words what was done at that level."""
    _demand(
        ISOLATION_ORDER.index(level) >= ISOLATION_ORDER.index(policy.min_isolation),
        f"{what} at isolation {level}, but the policy demands {policy.min_isolation}",
    )


def _check_plan(config: RuntimeConfig, policy: Policy) -> None:
    plan = config.plan
    gates = {gate.metric: gate.margin_pct for gate in policy.latency.gates}
    _demand(plan.looks == policy.latency.looks, "the plan's looks are not the policy's")
    _demand(plan.confidence == policy.latency.confidence, "the plan's confidence is not the policy's")
    _demand(plan.gates == gates, "the plan's gates are not the policy's")


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise Refused("chain_broken", message)
