"""Rules over several results of one model on one device (reference section 4, "history"), oldest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Final

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.lab.guard.item import Severity, Status, item, skipped
from edgeproof.lab.guard.result import QUANTISED, ResultFacts

SPREAD: Final = 1.5
OUTLIER: Final = 1.8

History = Sequence[ResultFacts]
Rule = Callable[[History], Iterator[GuardEvidence]]


def short_history(history: History) -> Iterator[GuardEvidence]:
    """Fewer than two runs are no history: a note."""
    few = len(history) < 2
    yield _told(
        "short_history", "runs", float(len(history)), 2.0, few, "warning", "low", f"{len(history)} runs"
    )


def mixed_identity(history: History) -> Iterator[GuardEvidence]:
    """Runs of different models, backends, devices or precisions tell nothing together."""
    kinds = {(one.model, one.backend, one.device, (one.precision or "").lower()) for one in history}
    yield _told(
        "mixed_identity", "identities", float(len(kinds)), 1.0, len(kinds) > 1, "failed", "high",
        f"{len(kinds)} different identities",
    )  # fmt: skip


def mixed_shape(history: History) -> Iterator[GuardEvidence]:
    """Runs that were fed different shapes tell nothing together."""
    kinds = {one.shape for one in history}
    yield _told(
        "mixed_shape", "shapes", float(len(kinds)), 1.0, len(kinds) > 1, "failed", "high",
        f"{len(kinds)} different shapes",
    )  # fmt: skip


def mean_variation(history: History) -> Iterator[GuardEvidence]:
    """The slowest mean against the fastest."""
    yield _spread("mean_variation", "mean_ms", [one.mean_ms for one in history])


def p99_variation(history: History) -> Iterator[GuardEvidence]:
    """The slowest p99 against the fastest."""
    yield _spread("p99_variation", "p99_ms", [one.p99_ms for one in history])


def outlier_run(history: History) -> Iterator[GuardEvidence]:
    """A run of 1.8 times the median mean or more, among three or more."""
    means = [one.mean_ms for one in history if one.mean_ms is not None and one.mean_ms > 0]
    if len(means) < 3:
        yield skipped("outlier_run", "max_over_median", "fewer than three runs")
        return
    ratio = max(means) / median(means)
    yield _told(
        "outlier_run", "max_over_median", ratio, OUTLIER, ratio >= OUTLIER, "warning", "medium",
        f"the slowest run takes {ratio:.4g} times the median",
    )  # fmt: skip


def history_accuracy_missing(history: History) -> Iterator[GuardEvidence]:
    """Accuracy known of some runs only, or of none at a reduced precision."""
    known = sum(one.quality_known for one in history)
    reduced = any((one.precision or "").lower() in QUANTISED for one in history)
    missing = 0 < known < len(history) or (known == 0 and reduced)
    severity: Severity = "medium" if reduced else "low"
    yield _told(
        "history_accuracy_missing", "runs_with_accuracy", float(known), float(len(history)), missing,
        "warning", severity, f"accuracy is known of {known} of {len(history)} runs",
    )  # fmt: skip


RULES: Final[tuple[Rule, ...]] = (
    short_history,
    mixed_identity,
    mixed_shape,
    mean_variation,
    p99_variation,
    outlier_run,
    history_accuracy_missing,
)


def _spread(id_: str, metric: str, values: Sequence[float | None]) -> GuardEvidence:
    known = [value for value in values if value is not None and value > 0]
    if len(known) < 2:
        return skipped(id_, f"{metric}.max_over_min", "fewer than two runs say it")
    ratio = max(known) / min(known)
    return _told(
        id_, f"{metric}.max_over_min", ratio, SPREAD, ratio >= SPREAD, "warning", "medium",
        f"the largest {metric} is {ratio:.4g} times the smallest",
    )  # fmt: skip


def _told(
    id_: str,
    metric: str,
    observed: float,
    threshold: float,
    objects: bool,
    status: Status,
    severity: Severity,
    words: str,
) -> GuardEvidence:
    return item(
        id_,
        metric,
        status=status if objects else "passed",
        severity=severity,
        observed=observed,
        threshold=threshold,
        explanation=words,
        why="A history is only worth something if its runs are alike and steady.",
        cause="Conditions changed between the runs.",
        recommendation="Repeat the runs under equal conditions.",
    )
