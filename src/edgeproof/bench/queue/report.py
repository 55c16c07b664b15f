"""What the benchmark found, beside its goals."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from edgeproof.bench.queue.backlog import Backlogs
from edgeproof.bench.queue.cycles import Cycles
from edgeproof.bench.queue.endurance import FEWEST_SPANS, Endurance
from edgeproof.bench.queue.peers import PEERS, Peer
from edgeproof.bench.queue.waiting import Pickup
from edgeproof.contract.base import Wire

_SINGLY: Final = "signed cycles a second, singly, {} runners"
_DEAD_ROWS: Final = "dead rows of the run queue, last quarter over first, in {} cycles"
MOST_GROWTH: Final = 1.1
"""What two quarters of one saw may differ by."""


class Goal(Wire, frozen=True, kw_only=True):
    """``note`` says where this run asked for less than the goal does; null are ``figure`` and ``met`` where
    it did not ask at all."""

    what: str
    figure: float | None
    goal: float
    sense: Literal["at_least", "at_most"]
    met: bool | None
    note: str = ""


class QueueSpeed(Wire, frozen=True, kw_only=True):
    """``bench queue --json``. ``load_before`` is the machine's load before it began; ``crowded`` is as
    ``single``, by more runners."""

    cpus: int
    load_before: float
    quick: bool
    single: Cycles
    crowded: Cycles
    batched: Cycles
    few: Pickup
    many: Pickup
    backlogs: Backlogs
    peers: tuple[Peer, ...]

    def goals(self) -> tuple[Goal, ...]:
        small, large, many = self.backlogs.small.waiting, self.backlogs.large.waiting, self.many.runners
        alone = (self.single, self.crowded)
        return (
            *(_goal(_SINGLY.format(one.runners), one.per_second, 800, "at_least") for one in alone),
            _goal("signed cycles a second, in batches of 64", self.batched.per_second, 3000, "at_least"),
            _goal(f"enqueue to claim, p95 ms, {self.few.runners} waiting", self.few.p95_ms, 25, "at_most"),
            _goal(
                f"claim rate at a backlog of {large} over one of {small}",
                round(self.backlogs.ratio(), 3), 0.9, "at_least",
                "" if large >= 990_000 else "the goal is for a million",
            ),
            _goal(
                f"claim p95 with {many} runners over {self.few.runners}, same job rate",
                round(self.many.p95_ms / self.few.p95_ms, 3), 1.5, "at_most",
                "" if many >= 1000 else "the goal is for a thousand",
            ),
            Goal(
                what=_DEAD_ROWS.format(1_000_000), figure=None, goal=MOST_GROWTH, sense="at_most", met=None,
                note="a benchmark of its own: --cycles 1000000",
            ),
        )  # fmt: skip


def endurance_goal(lasting: Endurance) -> Goal:
    """The saw of dead rows between two vacuums is as high at the end as in the beginning."""
    goal = _goal(
        _DEAD_ROWS.format(lasting.cycles),
        round(lasting.growth(), 3), MOST_GROWTH, "at_most",
        "" if lasting.cycles >= 1_000_000 else "the goal is for a million cycles",
    )  # fmt: skip
    if len(lasting.spans) < FEWEST_SPANS:
        return msgspec.structs.replace(goal, met=False, note="too short to tell: " + goal.note)
    return goal


def endurance_words(lasting: Endurance) -> str:
    """The same for people."""
    return f"{_line(endurance_goal(lasting))}\n{lasting.table_growth():>10.3g}  the table's bytes, likewise"


def _line(goal: Goal) -> str:
    sign = "≥" if goal.sense == "at_least" else "≤"
    verdict = {True: "met", False: "missed", None: "not measured"}[goal.met]
    note = f" ({goal.note})" if goal.note else ""
    figure = "-" if goal.figure is None else f"{goal.figure:g}"
    return f"{figure:>10}  {goal.what}: goal {sign} {goal.goal:g}, {verdict}{note}"


def _goal(
    what: str, figure: float, goal: float, sense: Literal["at_least", "at_most"], note: str = ""
) -> Goal:
    met = figure >= goal if sense == "at_least" else figure <= goal
    return Goal(what=what, figure=figure, goal=goal, sense=sense, met=met, note=note)


def words(speed: QueueSpeed) -> str:
    """The same for people."""
    lines = [f"{speed.cpus} CPUs, load before {speed.load_before}"]
    if speed.load_before > 0.5:
        lines[0] += ": others were at work, so these figures are too low"
    lines += [_line(goal) for goal in speed.goals()]
    for name, cycles in (
        (f"singly, {speed.single.runners} runners", speed.single),
        (f"singly, {speed.crowded.runners} runners", speed.crowded),
        ("in batches", speed.batched),
    ):
        lines.append(
            f"{name}: sealing and opening take {cycles.signing_ms:g} ms a cycle on both sides together"
            f" ({cycles.ed25519_ms:g} ms of it Ed25519),"
            f" {100 * cycles.signing_share:.0f} % of all processor time;"
            f" {100 * cycles.hot_share:.0f} % of row updates were HOT"
        )
    lines += [
        f"{peer.per_second:>10g}  {peer.name} {peer.version}, plain claim → finish in process"
        for peer in speed.peers
    ]
    measured = {peer.name for peer in speed.peers}
    lines += [f"{'-':>10}  {name}: not installed (extra `bench`)" for name in PEERS if name not in measured]
    return "\n".join(lines)
