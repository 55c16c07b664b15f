"""Plans an analysis: which runs a job needs, and what comes next once some of them have ended.

Everything is decided here and nothing is done: the server applies the actions. What is planned is a
function of the job's request, its policy and its runs, so it may be asked again at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import digest_of_uri
from edgeproof.contract.jobs import JobError, JobStatus, RunState
from edgeproof.contract.policy import Policy
from edgeproof.contract.requests import AnalyzeOptions, BuildChoice, Precision
from edgeproof.contract.runners import Needs
from edgeproof.contract.statements import (
    DuetPlan,
    ForgeConfig,
    MeasuredArtifact,
    RunLimits,
    RuntimeConfig,
    StageConfig,
)
from edgeproof.domain.contamination import SAME_LOAD
from edgeproof.domain.jobs import TERMINAL

SOURCE_PRESET: Final = "source"
STATIC_PRESET: Final = "int8_static"
BLOCKS: Final = 10
SETTLE_CALLS: Final = 3
WARMUP_CALLS: Final = 20
WARMUP_WINDOWS: Final = 12
WARMUP_TOLERANCE_PCT: Final = 5.0
REPEATS: Final = 10
LOAD_DIFFERENCE: Final = SAME_LOAD
RUNNER_CHOOSES: Final = 0
"""``threads`` and ``calls_per_block``: the device's physical cores, and enough calls for a block."""

_PRESET_OF_PRECISION: Final = {"fp32": "fp32", "fp16": "fp16", "int8": "int8_dynamic"}

Role = Literal["baseline", "candidate", "pair"]


@dataclass(frozen=True)
class Catalogue:
    """What may be asked for. ``presets`` maps each to the precision it makes, ``unknown`` for as it is."""

    backends: frozenset[str]
    targets: frozenset[str]
    presets: Mapping[str, Precision]


@dataclass(frozen=True)
class Side:
    """How one side's artifact comes to be. ``source`` and ``calibration`` are digests."""

    source: str
    source_name: str
    preset: str
    precision: Precision
    calibration: str | None


@dataclass(frozen=True)
class Built:
    """What a finished forge run made: artifact, envelope of its build, precision as its manifest says.

    Without a forge run: no build, and the precision that the caller says.
    """

    artifact: str
    build: str | None
    precision: Precision


@dataclass(frozen=True)
class Order:
    """An analyze request, understood: what is compared with what, and how.

    ``ready`` is a candidate that came as an artifact and no model: nothing is forged of it.
    """

    baseline: Side
    candidate: Side
    options: AnalyzeOptions
    dataset: str | None
    ready: Built | None = None

    def inputs(self) -> frozenset[str]:
        """Digests of all artifacts that the request names."""
        sides = (self.baseline, self.candidate)
        named = [one.source for one in sides] + [one.calibration for one in sides] + [self.dataset]
        return frozenset(digest for digest in named if digest is not None)


@dataclass(frozen=True)
class RunFacts:
    """How a run stands. ``built`` may be left out where the next step is not to measure it."""

    run_id: str
    stage: str
    role: str
    state: RunState
    failure: JobError | None = None
    built: Built | None = None


@dataclass(frozen=True)
class JobFacts:
    status: JobStatus
    cancel_requested: bool
    order: Order
    policy: Policy
    limits: RunLimits


@dataclass(frozen=True)
class Enqueue:
    """A run to add."""

    stage: str
    role: Role
    config: StageConfig
    needs: Needs
    limits: RunLimits
    runner: str | None


@dataclass(frozen=True)
class CancelRun:
    """A run that waits and shall not start."""

    run_id: str


@dataclass(frozen=True)
class FailJob:
    error: JobError


@dataclass(frozen=True)
class CancelJob:
    """No run is leased any more: the job is cancelled."""


@dataclass(frozen=True)
class Decide:
    """All evidence is there."""


Action = Enqueue | CancelRun | FailJob | CancelJob | Decide


def order_of(
    model_path: str | None, artifact_path: str | None, options: AnalyzeOptions, catalogue: Catalogue
) -> Order:
    """Understand a request.

    An ``artifact_path`` is the candidate as it is. Without a baseline, the source model as it is. A path is
    only a name: the provenance's digest beside it names the uploaded bytes.

    Raises:
        Refused: ``unknown_backend``, ``unknown_target``, ``unknown_precision``, ``unknown_preset``,
            ``calibration_required``, ``path_not_allowed``, ``invalid_request``.
    """
    if options.backend not in catalogue.backends:
        raise Refused("unknown_backend", f"{options.backend!r}; known: {_known(catalogue.backends)}")
    if options.target not in catalogue.targets:
        raise Refused("unknown_target", f"{options.target!r}; known: {_known(catalogue.targets)}")
    told = options.provenance or {}
    model_path = _beside_its_digest(model_path, told.get("source_model_sha256"))
    artifact_path = _beside_its_digest(artifact_path, told.get("artifact_sha256"))
    source_path = model_path or artifact_path
    if source_path is None:
        raise Refused("invalid_request", "one of model_path and artifact_path is required")
    name = told.get("model_name")
    asked = BuildChoice(
        model_path=model_path,
        artifact_path=artifact_path,
        precision=options.precision,
        preset=options.preset,
        calibration=options.calibration,
    )
    candidate = _side(asked, source_path, name, catalogue, default="fp32")
    baseline = _side(options.baseline or BuildChoice(), source_path, name, catalogue, default=SOURCE_PRESET)
    dataset = None if options.dataset is None else _digest(options.dataset, "dataset")
    ready = Built(candidate.source, None, candidate.precision) if model_path is None else None
    return Order(baseline=baseline, candidate=candidate, options=options, dataset=dataset, ready=ready)


def first_runs(job: JobFacts) -> list[Enqueue]:
    """The runs that a job which has none begins with."""
    return [action for action in advance(job, ()) if isinstance(action, Enqueue)]


def advance(job: JobFacts, runs: Sequence[RunFacts]) -> list[Action]:
    """What to do now. Empty: wait, or nothing is left to do."""
    if job.status in TERMINAL:
        return []
    waiting: list[Action] = [CancelRun(run.run_id) for run in runs if run.state == "PENDING"]
    leased = any(run.state == "CLAIMED" for run in runs)
    if job.cancel_requested:
        return waiting if leased else [*waiting, CancelJob()]
    for run in runs:
        if run.state == "FAILED" and run.failure is not None:
            return [*waiting, FailJob(run.failure)]
    by_role = {run.role: run for run in runs}
    missing: list[Action] = []
    if "baseline" not in by_role:
        missing.append(_forge(job, "baseline", job.order.baseline))
    ready = job.order.ready
    if ready is None and "candidate" not in by_role:
        missing.append(_forge(job, "candidate", job.order.candidate))
    if missing:
        return missing
    if "pair" in by_role:
        return [Decide()] if by_role["pair"].state == "COMPLETE" else []
    baseline, candidate = by_role["baseline"].built, ready or by_role["candidate"].built
    return [] if baseline is None or candidate is None else [_runtime(job, baseline, candidate)]


def measurement_needs(job: JobFacts) -> Needs:
    """What measuring will demand, as far as it is known before the builds: a model taken as it is may turn
    out to demand a precision more."""
    baseline, candidate = job.order.baseline, job.order.candidate
    return _needs(job, "runtime", {baseline.precision, candidate.precision}, baseline, candidate)


def duet_plan(policy: Policy, options: AnalyzeOptions) -> DuetPlan:
    """The measuring protocol that ``policy`` demands, with the caller's counts."""
    return DuetPlan(
        looks=policy.latency.looks,
        confidence=policy.latency.confidence,
        gates={gate.metric: gate.margin_pct for gate in policy.latency.gates},
        blocks=BLOCKS,
        calls_per_block=RUNNER_CHOOSES if options.runs is None else options.runs,
        repeats=REPEATS,
        load_difference=LOAD_DIFFERENCE,
        settle_calls=SETTLE_CALLS,
        warmup_calls=WARMUP_CALLS if options.warmup is None else options.warmup,
        warmup_windows=WARMUP_WINDOWS,
        warmup_tolerance_pct=WARMUP_TOLERANCE_PCT,
    )


def _forge(job: JobFacts, role: Literal["baseline", "candidate"], side: Side) -> Enqueue:
    options = job.order.options
    config = ForgeConfig(
        role=role,
        backend=options.backend,
        target=options.target,
        preset=side.preset,
        precision=side.precision,
        source=side.source,
        source_name=side.source_name,
        calibration=side.calibration,
        input_shapes=options.input_shapes or {},
        batch=options.batch,
        height=options.height,
        width=options.width,
    )
    needs = _needs(job, "forge", {side.precision}, side)
    return Enqueue("forge", role, config, needs, _limits(job), options.runner)


def _runtime(job: JobFacts, baseline: Built, candidate: Built) -> Enqueue:
    options, order = job.order.options, job.order
    config = RuntimeConfig(
        backend=options.backend,
        target=options.target,
        threads=RUNNER_CHOOSES if options.threads is None else options.threads,
        baseline=_measured(order.baseline, baseline),
        candidate=_measured(order.candidate, candidate),
        dataset=order.dataset,
        input_shapes=options.input_shapes or {},
        batch=options.batch,
        height=options.height,
        width=options.width,
        plan=duet_plan(job.policy, options),
        min_isolation=job.policy.min_isolation,
    )
    precisions = {baseline.precision, candidate.precision}
    needs = _needs(job, "runtime", precisions, order.baseline, order.candidate)
    return Enqueue("runtime", "pair", config, needs, _limits(job), options.runner)


def _measured(side: Side, built: Built) -> MeasuredArtifact:
    return MeasuredArtifact(
        artifact=built.artifact,
        build=built.build,
        source=side.source,
        precision=built.precision,
        model_name=side.source_name,
    )


def _needs(job: JobFacts, stage: str, precisions: set[Precision], *sides: Side) -> Needs:
    """An ``unknown`` precision demands nothing: the model is taken as it is.

    What the request demands of the device counts for every run, as the device that it names does.
    """
    asked = job.order.options
    labels = asked.runner_labels or {}
    return Needs(
        stage=stage,
        backend=asked.backend,
        target=asked.target,
        precisions=tuple(sorted(precisions - {"unknown"})),
        min_memory_bytes=asked.min_memory_bytes or 0,
        min_isolation=job.policy.min_isolation,
        device_class=asked.device_class,
        min_vram_bytes=asked.min_vram_bytes or 0,
        quantizations=tuple(sorted({side.preset for side in sides if _is_quantized(side)})),
        labels={key: (one,) if isinstance(one, str) else one for key, one in labels.items()},
    )


def _is_quantized(side: Side) -> bool:
    """A preset that makes int8 is a quantisation scheme; of a model taken as it is none is known."""
    return side.precision == "int8" and side.preset != SOURCE_PRESET


def _limits(job: JobFacts) -> RunLimits:
    asked = job.order.options.limits
    if asked is None:
        return job.limits
    return RunLimits(
        max_seconds=job.limits.max_seconds if asked.max_seconds is None else asked.max_seconds,
        max_memory_bytes=(
            job.limits.max_memory_bytes if asked.max_memory_bytes is None else asked.max_memory_bytes
        ),
        max_upload_bytes=job.limits.max_upload_bytes,
    )


def _side(choice: BuildChoice, source_path: str, name: object, catalogue: Catalogue, *, default: str) -> Side:
    source = _digest(choice.artifact_path or choice.model_path or source_path, "model")
    as_it_is = choice.artifact_path is not None and choice.precision == "unknown"
    said = None if as_it_is else _precision(choice.precision)
    calibration = choice.calibration
    if choice.artifact_path is not None:
        if choice.preset not in (None, SOURCE_PRESET):
            raise Refused("invalid_request", "artifact_path is measured as it is: it takes no preset")
        preset = SOURCE_PRESET
    elif choice.preset is not None:
        preset = choice.preset
    elif said == "int8" and calibration is not None:
        preset = STATIC_PRESET
    else:
        preset = default if said is None else _PRESET_OF_PRECISION[said]
    if preset not in catalogue.presets:
        raise Refused("unknown_preset", f"{preset!r}; known: {_known(catalogue.presets)}")
    if preset == STATIC_PRESET and calibration is None:
        raise Refused("calibration_required", f"preset {preset} needs options.calibration")
    if preset != STATIC_PRESET and calibration is not None:
        raise Refused("invalid_request", f"calibration data has no use with preset {preset}")
    made = catalogue.presets[preset]
    return Side(
        source=source,
        source_name=name[:200] if isinstance(name, str) and name else source[:12],
        preset=preset,
        precision=said if made == "unknown" and said is not None else made,
        calibration=None if calibration is None else _digest(calibration, "calibration"),
    )


def _precision(text: str | None) -> Precision | None:
    match text:
        case None | "fp32" | "fp16" | "int8":
            return text
        case _:
            raise Refused("unknown_precision", f"{text!r}; known: fp16, fp32, int8")


def _beside_its_digest(path: str | None, told: object) -> str | None:
    if path is None or digest_of_uri(path) is not None or not isinstance(told, str):
        return path
    named = f"sha256:{told.lower()}"
    return path if digest_of_uri(named) is None else named


def _digest(path: str, what: str) -> str:
    digest = digest_of_uri(path)
    if digest is None:
        raise Refused("path_not_allowed", f"{what}: name an uploaded artifact as sha256:<hex>, not a path")
    return digest


def _known(names: frozenset[str] | Mapping[str, Precision]) -> str:
    return ", ".join(sorted(names))
