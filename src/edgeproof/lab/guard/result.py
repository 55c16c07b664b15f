"""Rules over one runtime result by itself (reference section 4, "result")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.lab.guard.item import Severity, Status, item, skipped

UNSTABLE_TAIL: Final = 2.0
QUANTISED: Final = frozenset({"fp16", "int8"})


@dataclass(frozen=True)
class ResultFacts:
    """What one result says of itself; None or False where it says nothing.

    ``quality_known``: accuracy, or agreement with a baseline's outputs, was measured. ``tail_certified``:
    there are samples enough for the p99 to mean something.
    """

    side: str
    model: str | None
    backend: str | None
    device: str | None
    precision: str | None
    mean_ms: float | None
    p99_ms: float | None
    shape: tuple[int | None, ...] = ()
    artifact_path: str | None = None
    input_shapes_known: bool = False
    run_config_known: bool = False
    system_known: bool = False
    quality_known: bool = False
    tail_certified: bool = True


Rule = Callable[[ResultFacts], Iterator[GuardEvidence]]


def missing_identity(facts: ResultFacts) -> Iterator[GuardEvidence]:
    """A result of nothing in particular."""
    absent = [name for name in ("model", "backend", "device", "precision") if not getattr(facts, name)]
    yield _absent(facts, "missing_identity", "identity", absent, "failed", "high")


def missing_latency(facts: ResultFacts) -> Iterator[GuardEvidence]:
    """A result without its number."""
    absent = ["mean_ms"] if facts.mean_ms is None else []
    yield _absent(facts, "missing_latency", "mean_ms", absent, "failed", "high")


def invalid_latency(facts: ResultFacts) -> Iterator[GuardEvidence]:
    """A time that is not positive."""
    if facts.mean_ms is None:
        yield skipped("invalid_latency", f"{facts.side}.mean_ms", "there is no latency")
        return
    bad = facts.mean_ms <= 0 or (facts.p99_ms is not None and facts.p99_ms <= 0)
    yield item(
        "invalid_latency",
        f"{facts.side}.mean_ms",
        status="failed" if bad else "passed",
        severity="high",
        observed=facts.mean_ms,
        threshold=0.0,
        explanation=f"{facts.side}: a latency {'is not' if bad else 'is'} positive",
        why="No inference takes no time.",
        cause="A dry run, or a broken clock.",
        recommendation="Measure again.",
    )


def latency_instability(facts: ResultFacts) -> Iterator[GuardEvidence]:
    """A p99 of twice the mean or more; only a note where the samples do not certify a p99."""
    if facts.p99_ms is None or facts.mean_ms is None or facts.mean_ms <= 0:
        yield skipped("latency_instability", f"{facts.side}.p99_over_mean", "there is no p99")
        return
    ratio = facts.p99_ms / facts.mean_ms
    basis = "" if facts.tail_certified else " (too few samples to certify a p99)"
    yield item(
        "latency_instability",
        f"{facts.side}.p99_over_mean",
        status="warning" if ratio >= UNSTABLE_TAIL else "passed",
        severity="medium" if facts.tail_certified else "low",
        observed=ratio,
        threshold=UNSTABLE_TAIL,
        explanation=f"{facts.side}: p99 is {ratio:.4g} times the mean{basis}",
        why="Deadlines are missed in the tail.",
        cause="Other load, throttling, or an outlier.",
        recommendation="Measure on a quieter device, with more runs.",
    )


def missing_runtime_artifact_path(facts: ResultFacts) -> Iterator[GuardEvidence]:
    """Which file ran is not said."""
    absent = [] if facts.artifact_path else ["runtime_artifact_path"]
    yield _absent(facts, "missing_runtime_artifact_path", "runtime_artifact_path", absent, "failed", "medium")


def missing_resolved_input_shapes(facts: ResultFacts) -> Iterator[GuardEvidence]:
    """What was fed is not said."""
    absent = [] if facts.input_shapes_known else ["resolved_input_shapes"]
    yield _absent(facts, "missing_resolved_input_shapes", "resolved_input_shapes", absent, "failed", "medium")


def missing_run_config(facts: ResultFacts) -> Iterator[GuardEvidence]:
    """How it was run is not said."""
    absent = [] if facts.run_config_known else ["run_config"]
    yield _absent(facts, "missing_run_config", "run_config", absent, "failed", "medium")


def quantised_accuracy_missing(facts: ResultFacts) -> Iterator[GuardEvidence]:
    """A reduced precision whose outputs nobody looked at."""
    if (facts.precision or "").lower() not in QUANTISED:
        yield skipped("quantised_accuracy_missing", f"{facts.side}.accuracy", "the precision is not reduced")
        return
    absent = [] if facts.quality_known else ["accuracy"]
    yield _absent(facts, "quantised_accuracy_missing", "accuracy", absent, "failed", "medium")


def missing_system(facts: ResultFacts) -> Iterator[GuardEvidence]:
    """Where it ran is not said: a note."""
    absent = [] if facts.system_known else ["system"]
    yield _absent(facts, "missing_system", "system", absent, "warning", "low")


RULES: Final[tuple[Rule, ...]] = (
    missing_identity,
    missing_latency,
    invalid_latency,
    latency_instability,
    missing_runtime_artifact_path,
    missing_resolved_input_shapes,
    missing_run_config,
    quantised_accuracy_missing,
    missing_system,
)


def _absent(
    facts: ResultFacts, id_: str, metric: str, absent: list[str], status: Status, severity: Severity
) -> GuardEvidence:
    return item(
        id_,
        f"{facts.side}.{metric}",
        status=status if absent else "passed",
        severity=severity,
        observed=", ".join(absent) or None,
        explanation=f"{facts.side}: {', '.join(absent)} missing"
        if absent
        else f"{facts.side}: {metric} is there",
        why="What a result does not say cannot be compared.",
        cause="The result was written by a tool that leaves it out, or was cut short.",
        recommendation="Make the result again with a tool that records it.",
    )
