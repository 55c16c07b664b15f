"""However many requirement classes users make, the metrics have a series for few of them."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from edgeproof.server.upkeep.queue_gauges import OTHER, SHOWN_CLASSES, queue_series

DEPTH, OLDEST = "edgeproof_queue_depth", "edgeproof_queue_oldest_seconds"


def waiting(name: str, runs: int, oldest: float, stage: str = "runtime") -> dict[str, Any]:
    return {"class": name, "stage": stage, "state": "PENDING", "runs": runs, "oldest": oldest, "expired": 0}


def series(rows: list[dict[str, Any]]) -> dict[str, dict[tuple[str, str], float]]:
    registry = CollectorRegistry()
    queue_series(registry, rows)
    return {
        family.name: {
            (one.labels["requirement_class"], one.labels["stage"]): one.value for one in family.samples
        }
        for family in registry.collect()
        if family.name in (DEPTH, OLDEST)
    }


def test_the_deepest_classes_are_shown_and_the_rest_together() -> None:
    rows = [waiting(f"class-{number}", number + 1, 1000.0 - number) for number in range(SHOWN_CLASSES + 3)]
    shown = series(rows)
    assert len(shown[DEPTH]) == len(shown[OLDEST]) == SHOWN_CLASSES + 1
    assert shown[DEPTH][OTHER, "runtime"] == 1 + 2 + 3
    assert shown[OLDEST][OTHER, "runtime"] == 1000.0
    assert shown[DEPTH]["class-3", "runtime"] == 4
    assert shown[OLDEST]["class-3", "runtime"] == 997.0
    assert sum(shown[DEPTH].values()) == sum(row["runs"] for row in rows)


def test_few_classes_are_all_shown() -> None:
    shown = series([waiting("a", 1, 5.0), waiting("b", 7, 2.0, stage="forge")])
    assert shown == {
        DEPTH: {("a", "runtime"): 1, ("b", "forge"): 7},
        OLDEST: {("a", "runtime"): 5.0, ("b", "forge"): 2.0},
    }


def test_a_class_that_only_works_takes_no_place() -> None:
    held = {**waiting("held", 9, 0.0), "state": "CLAIMED"}
    rows = [held, *(waiting(f"class-{number}", 1, 1.0) for number in range(SHOWN_CLASSES))]
    assert OTHER not in {name for name, _ in series(rows)[DEPTH]}
