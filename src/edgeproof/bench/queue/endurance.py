"""Whether the run queue's table stays small however long it works: cycles in batches, with autovacuum on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from edgeproof.bench.queue.cycles import Cycles, batched
from edgeproof.bench.queue.ground import RUNS_OF_A_JOB, Ground, SimulatedRunner
from edgeproof.contract.base import Wire

SPAN_SECONDS: Final = 30.0
FEWEST_SPANS: Final = 8
FULL: Final = 120_000
"""Runs that wait when a span begins: more than any span does."""

_CHUNK: Final = 10_000
# What two builds make due waits for runners of another kind: taken out, as their operator might.
_TAKE_OUT: Final = """
DELETE FROM run_queue USING requirement_classes c
WHERE c.class_id = run_queue.class_id AND c.stage = 'runtime' AND state = 'PENDING'
"""


class Endurance(Wire, frozen=True, kw_only=True):
    """``spans`` follow each other; the table's dead rows and bytes at some moments of each are in them."""

    cycles: int
    spans: tuple[Cycles, ...]

    def growth(self) -> float:
        """The median of dead rows in the last quarter of the spans, over that in the first; fewer than
        ``FEWEST_SPANS`` tell nothing."""
        return self._last_over_first([span.dead_rows for span in self.spans])

    def table_growth(self) -> float:
        """The same of the table's bytes."""
        return self._last_over_first([span.table_bytes for span in self.spans])

    @staticmethod
    def _last_over_first(moments: Sequence[Sequence[int]]) -> float:
        quarter = max(1, len(moments) // 4)
        ends = moments[:quarter], moments[-quarter:]
        first, last = (median(value for span in end for value in span) for end in ends)
        return last / max(1.0, first)


async def endure(
    ground: Ground, runners: Sequence[SimulatedRunner], cycles: int, say: Callable[[str], None]
) -> Endurance:
    """At least ``cycles`` of them; ``say`` is told of each span. Raises ``OSError`` as ``batched``."""
    pool = ground.plane.database.pool
    await ground.queue_jobs(1)
    await pool.execute("DELETE FROM run_queue")
    spans: list[Cycles] = []
    copied = done = 0
    while done < cycles:
        await pool.execute(_TAKE_OUT, timeout=600)
        while RUNS_OF_A_JOB * copied - done < FULL:
            await ground.copy_jobs(copied + 1, copied + _CHUNK)
            copied += _CHUNK
        span = await batched(ground, runners, SPAN_SECONDS)
        if span.cycles == 0:
            raise OSError("the runners found nothing to do")
        spans.append(span)
        done += span.cycles
        say(
            f"{done} cycles, {span.per_second:g} a second; dead rows {min(span.dead_rows)} to"
            f" {max(span.dead_rows)}, the table at most {max(span.table_bytes) / 1e6:.1f} MB"
        )
    return Endurance(cycles=done, spans=tuple(spans))
