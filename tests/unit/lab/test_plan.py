"""Planning: what a request means, which runs it needs, and what comes next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError
from edgeproof.contract.requests import AnalyzeOptions
from edgeproof.contract.runners import Needs
from edgeproof.contract.statements import ForgeConfig, RunLimits, RuntimeConfig
from edgeproof.domain.requirements import class_digest
from edgeproof.lab.plan import (
    Action,
    Built,
    CancelJob,
    CancelRun,
    Catalogue,
    Decide,
    Enqueue,
    FailJob,
    JobFacts,
    Order,
    RunFacts,
    advance,
    measurement_needs,
    order_of,
)
from edgeproof.lab.policies import default_policy
from edgeproof.lab.worker_request import options_of

MODEL, OTHER, DATA, CALIBRATION = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
CATALOGUE = Catalogue(
    backends=frozenset({"onnxruntime"}),
    targets=frozenset({"cpu"}),
    presets={
        "source": "unknown",
        "fp32": "fp32",
        "fp16": "fp16",
        "int8_dynamic": "int8",
        "int8_static": "int8",
    },
)
LIMITS = RunLimits(max_seconds=600, max_memory_bytes=2 << 30, max_upload_bytes=512 << 20)
ERROR = JobError(code="build_failed", message="no", stage="forge")


def uri(digest: str) -> str:
    return f"sha256:{digest}"


def order(model: str | None = MODEL, artifact: str | None = None, **options: Any) -> Order:
    return order_of(
        uri(model) if model else None, uri(artifact) if artifact else None, options_of(options), CATALOGUE
    )


def job(**options: Any) -> JobFacts:
    return JobFacts("running", False, order(**options), default_policy(), LIMITS)


def run(role: str, state: Any, **facts: Any) -> RunFacts:
    stage = "runtime" if role == "pair" else "forge"
    if role != "pair" and state == "COMPLETE":
        facts.setdefault("built", Built(artifact=role[0] * 64, build=role[1] * 64, precision="fp32"))
    return RunFacts(run_id=f"run-{role}", stage=stage, role=role, state=state, **facts)


def only(actions: list[Action]) -> Action:
    (action,) = actions
    return action


@pytest.mark.parametrize(
    ("options", "preset", "precision"),
    [
        ({}, "fp32", "fp32"),
        ({"precision": "fp32"}, "fp32", "fp32"),
        ({"precision": "fp16"}, "fp16", "fp16"),
        ({"precision": "int8"}, "int8_dynamic", "int8"),
        ({"precision": "int8", "calibration": uri(CALIBRATION)}, "int8_static", "int8"),
        ({"preset": "fp16", "precision": "int8"}, "fp16", "fp16"),
        ({"preset": "source"}, "source", "unknown"),
        ({"preset": "source", "precision": "int8"}, "source", "int8"),
    ],
)
def test_the_candidates_preset(options: dict[str, Any], preset: str, precision: str) -> None:
    candidate = order(**options).candidate
    assert (candidate.preset, candidate.precision) == (preset, precision)


def test_without_a_baseline_it_is_the_source_as_it_is() -> None:
    baseline = order(precision="int8").baseline
    assert (baseline.source, baseline.preset, baseline.calibration) == (MODEL, "source", None)


def test_a_baseline_may_be_another_model_or_another_build_of_the_same() -> None:
    other = order(baseline={"model_path": uri(OTHER)}).baseline
    assert (other.source, other.preset) == (OTHER, "source")
    built = order(baseline={"precision": "fp16"}).baseline
    assert (built.source, built.preset) == (MODEL, "fp16")
    artifact = order(baseline={"artifact_path": uri(OTHER), "precision": "int8"}).baseline
    assert (artifact.source, artifact.preset, artifact.precision) == (OTHER, "source", "int8")


def test_an_artifact_is_the_candidate_as_it_is() -> None:
    alone = order(model=None, artifact=OTHER)
    assert (alone.candidate.source, alone.candidate.preset) == (OTHER, "source")
    assert alone.baseline.source == OTHER
    beside = order(artifact=OTHER)
    assert (beside.candidate.source, beside.baseline.source) == (OTHER, MODEL)


@pytest.mark.parametrize(
    ("model", "artifact", "options", "code"),
    [
        (MODEL, None, {"backend": "tensorrt"}, "unknown_backend"),
        (MODEL, None, {"target": "jetson"}, "unknown_target"),
        (MODEL, None, {"precision": "fp8"}, "unknown_precision"),
        (MODEL, None, {"precision": "unknown"}, "unknown_precision"),
        (MODEL, None, {"preset": "best"}, "unknown_preset"),
        (MODEL, None, {"preset": "int8_static"}, "calibration_required"),
        (MODEL, None, {"baseline": {"preset": "int8_static"}}, "calibration_required"),
        (MODEL, None, {"precision": "fp16", "calibration": uri(CALIBRATION)}, "invalid_request"),
        (MODEL, OTHER, {"preset": "fp16"}, "invalid_request"),
        (None, None, {}, "invalid_request"),
        (MODEL, None, {"baseline": {"model_path": "../model.onnx"}}, "path_not_allowed"),
    ],
)
def test_what_is_refused(model: str | None, artifact: str | None, options: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        order(model, artifact, **options)
    assert refused.value.code == code


def test_a_path_is_refused_not_opened() -> None:
    with pytest.raises(Refused, match="path_not_allowed"):
        order_of("model.onnx", None, AnalyzeOptions(), CATALOGUE)


def test_an_order_names_all_its_inputs() -> None:
    asked = order(
        precision="int8",
        calibration=uri(CALIBRATION),
        dataset=uri(DATA),
        baseline={"model_path": uri(OTHER)},
    )
    assert asked.inputs() == {MODEL, OTHER, DATA, CALIBRATION}


def test_first_both_sides_are_built() -> None:
    actions = advance(job(precision="fp16", runner="runner-1"), [])
    roles = [(action.stage, action.role) for action in actions if isinstance(action, Enqueue)]
    assert roles == [("forge", "baseline"), ("forge", "candidate")]
    baseline, candidate = actions
    assert isinstance(baseline, Enqueue)
    assert isinstance(candidate, Enqueue)
    assert isinstance(candidate.config, ForgeConfig)
    assert (candidate.config.preset, candidate.config.source) == ("fp16", MODEL)
    assert candidate.needs.precisions == ("fp16",)
    assert baseline.needs.precisions == ()
    assert candidate.runner == "runner-1"
    assert candidate.limits == LIMITS


def test_what_is_demanded_of_the_device_counts_for_every_run() -> None:
    facts = job(
        device_class="linux-aarch64",
        min_memory_bytes=8 << 30,
        min_vram_bytes=24 << 30,
        runner_labels={"site": "lab", "board": ["b1", "b2"]},
    )
    built = [run("baseline", "COMPLETE"), run("candidate", "COMPLETE")]
    planned = [*advance(facts, []), *advance(facts, built)]
    assert len(planned) == 3
    for action in planned:
        assert isinstance(action, Enqueue)
        needs = action.needs
        assert (needs.device_class, needs.min_memory_bytes, needs.min_vram_bytes) == (
            "linux-aarch64",
            8 << 30,
            24 << 30,
        )
        assert needs.labels == {"site": ("lab",), "board": ("b1", "b2")}


def test_what_is_not_demanded_is_not_in_the_class() -> None:
    for action in advance(job(), []):
        assert isinstance(action, Enqueue)
        bare = Needs(
            stage="forge",
            backend="onnxruntime",
            target="cpu",
            precisions=action.needs.precisions,
            min_isolation=action.needs.min_isolation,
        )
        assert class_digest(action.needs) == class_digest(bare)


@pytest.mark.parametrize(
    ("options", "built", "measured"),
    [
        ({"precision": "int8"}, {"candidate": ("int8_dynamic",)}, ("int8_dynamic",)),
        (
            {"precision": "int8", "baseline": {"preset": "int8_static", "calibration": uri(CALIBRATION)}},
            {"baseline": ("int8_static",), "candidate": ("int8_dynamic",)},
            ("int8_dynamic", "int8_static"),
        ),
        ({"precision": "fp16"}, {}, ()),
        # Of a model taken as it is nobody has said how it was quantised.
        ({"preset": "source", "precision": "int8"}, {}, ()),
    ],
)
def test_an_int8_build_needs_its_scheme_where_it_is_made_and_where_it_runs(
    options: dict[str, Any], built: dict[str, tuple[str, ...]], measured: tuple[str, ...]
) -> None:
    facts = job(**options)
    for action in advance(facts, []):
        assert isinstance(action, Enqueue)
        assert action.needs.quantizations == built.get(action.role, ())
    pair = only(advance(facts, [run("baseline", "COMPLETE"), run("candidate", "COMPLETE")]))
    assert isinstance(pair, Enqueue)
    assert pair.needs.quantizations == measured


@pytest.mark.parametrize("baseline", [{}, {"precision": "fp32"}])
def test_what_the_measurement_will_demand_is_known_before_the_builds(baseline: dict[str, str]) -> None:
    facts = job(baseline=baseline, precision="int8", min_memory_bytes=1 << 30, runner_labels={"site": "lab"})
    int8, fp32 = (Built(name * 64, None, name) for name in ("int8", "fp32"))
    sides = [run("baseline", "COMPLETE", built=fp32), run("candidate", "COMPLETE", built=int8)]
    planned = only(advance(facts, sides))
    assert isinstance(planned, Enqueue)
    # Of a model taken as it is, its build tells the precision.
    precisions = ("fp32", "int8") if baseline else ("int8",)
    assert measurement_needs(facts) == msgspec.structs.replace(planned.needs, precisions=precisions)


def test_a_missing_side_alone_is_planned_again() -> None:
    action = only(advance(job(), [run("baseline", "CLAIMED")]))
    assert isinstance(action, Enqueue)
    assert action.role == "candidate"


def test_then_the_pair_is_measured_as_the_policy_demands() -> None:
    facts = job(dataset=uri(DATA), threads=3, runs=7, warmup=0, batch=2)
    action = only(advance(facts, [run("baseline", "COMPLETE"), run("candidate", "COMPLETE")]))
    assert isinstance(action, Enqueue)
    config = action.config
    assert isinstance(config, RuntimeConfig)
    assert (config.baseline.artifact, config.baseline.build) == ("b" * 64, "a" * 64)
    assert (config.candidate.artifact, config.candidate.source) == ("c" * 64, MODEL)
    assert (config.dataset, config.threads, config.batch) == (DATA, 3, 2)
    latency = facts.policy.latency
    assert config.plan.looks == latency.looks
    assert config.plan.gates == {gate.metric: gate.margin_pct for gate in latency.gates}
    assert (config.plan.calls_per_block, config.plan.warmup_calls) == (7, 0)
    assert action.needs.precisions == ("fp32",)


def test_what_is_not_said_is_the_runners_choice() -> None:
    action = only(advance(job(), [run("baseline", "COMPLETE"), run("candidate", "COMPLETE")]))
    assert isinstance(action, Enqueue)
    assert isinstance(action.config, RuntimeConfig)
    plan = action.config.plan
    assert (action.config.threads, plan.calls_per_block, plan.blocks, plan.warmup_calls) == (0, 0, 10, 20)


def test_limits_may_be_asked_for_one_by_one() -> None:
    action = advance(job(limits={"max_seconds": 5}), [])[0]
    assert isinstance(action, Enqueue)
    assert action.limits == RunLimits(
        max_seconds=5, max_memory_bytes=LIMITS.max_memory_bytes, max_upload_bytes=LIMITS.max_upload_bytes
    )


def test_last_comes_the_decision() -> None:
    built = [run("baseline", "COMPLETE"), run("candidate", "COMPLETE")]
    assert advance(job(), [*built, run("pair", "CLAIMED")]) == []
    assert advance(job(), [*built, run("pair", "COMPLETE")]) == [Decide()]


@pytest.mark.parametrize("state", ["PENDING", "CLAIMED"])
def test_nothing_to_do_while_runs_go_on(state: str) -> None:
    assert advance(job(), [run("baseline", state), run("candidate", "COMPLETE")]) == []


def test_one_failed_run_fails_the_job_and_takes_back_what_waits() -> None:
    runs = [run("baseline", "PENDING"), run("candidate", "FAILED", failure=ERROR)]
    assert advance(job(), runs) == [CancelRun("run-baseline"), FailJob(ERROR)]
    leased = [run("baseline", "CLAIMED"), run("candidate", "FAILED", failure=ERROR)]
    assert advance(job(), leased) == [FailJob(ERROR)]


def test_cancelling_waits_for_leases_and_goes_before_failing_and_deciding() -> None:
    facts = replace(job(), cancel_requested=True)
    assert advance(facts, [run("baseline", "PENDING"), run("candidate", "CLAIMED")]) == [
        CancelRun("run-baseline")
    ]
    assert advance(facts, [run("baseline", "PENDING")]) == [CancelRun("run-baseline"), CancelJob()]
    assert advance(facts, [run("candidate", "FAILED", failure=ERROR)]) == [CancelJob()]
    done = [run(role, "COMPLETE") for role in ("baseline", "candidate", "pair")]
    assert advance(facts, done) == [CancelJob()]
    assert advance(facts, []) == [CancelJob()]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_an_ended_job_is_left_alone(status: Any) -> None:
    assert advance(replace(job(), status=status, cancel_requested=True), [run("baseline", "PENDING")]) == []
