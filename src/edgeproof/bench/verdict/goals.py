"""The goals of the benchmark, as counts, and whether they are met: of the first trials, in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edgeproof.bench.verdict.traces import Condition
from edgeproof.bench.verdict.trials import Verdict

Status = Literal["met", "missed", "too few"]


@dataclass(frozen=True)
class Goal:
    """At least or at most ``count`` of ``of`` trials have the verdict."""

    verdict: Literal["no_regression", "regression"]
    bound: Literal["at most", "at least"]
    count: int
    of: int

    def status(self, verdicts: Sequence[Verdict]) -> Status:
        """``missed`` as soon as no further trial can mend it, ``met`` only once all were played."""
        trials = verdicts[: self.of]
        found = self.found(verdicts)
        most = self.count if self.bound == "at most" else self.of - self.count
        against = found if self.bound == "at most" else len(trials) - found
        if against > most:
            return "missed"
        return "met" if len(trials) == self.of else "too few"

    def found(self, verdicts: Sequence[Verdict]) -> int:
        """How many of the trials that count have the verdict."""
        return sum(self.holds(verdict) for verdict in verdicts[: self.of])

    def holds(self, verdict: Verdict) -> bool:
        """An improvement is no regression either."""
        return verdict == self.verdict or (verdict == "improved" and self.verdict == "no_regression")

    def words(self) -> str:
        bound = "" if self.count == 0 else f"{self.bound} "
        return f"{self.verdict} {bound}{self.count} of {self.of}"


@dataclass(frozen=True)
class Row:
    """True slowdown and margin of the median, in percent."""

    slowdown: int
    margin: int
    condition: Condition
    goals: tuple[Goal, ...]


ROWS: Final = (
    Row(0, 3, "quiet", (Goal("regression", "at most", 0, 300), Goal("no_regression", "at least", 297, 300))),
    Row(0, 3, "load", (Goal("regression", "at most", 0, 150), Goal("no_regression", "at least", 140, 150))),
    Row(3, 3, "quiet", (Goal("no_regression", "at most", 21, 300),)),
    Row(5, 3, "quiet", (Goal("no_regression", "at most", 0, 300), Goal("regression", "at least", 285, 300))),
    Row(2, 1, "quiet", (Goal("no_regression", "at most", 5, 100), Goal("regression", "at least", 80, 100))),
    Row(0, 1, "quiet", (Goal("no_regression", "at least", 80, 100),)),
)

MEDIAN_SECONDS: Final = 20.0
FEWEST_DUETS: Final = 10
TIMED_MODELS: Final = ("0.5 ms", "5 ms")
"""The time to a verdict: median at most 20 s for models of 5 ms or less, where nothing else runs."""
