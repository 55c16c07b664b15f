"""How often an equal candidate whose latency passed would go to a person all the same: for the noise floor,
or for a warm-up that never came to rest.

Judged as the lab judges a job. A job draws its floor from pairs of the baseline against itself; here the
twin's pairs serve for that: the first 8 of its stream are the first draw, the next 8 the second. The k-th
trial goes by the draw before the k-th, or by three of them. Trials take 8 pairs or more, so these were all
played before it. The pairs last played before a trial would be no fair draw: with them the trial before it
could end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from edgeproof.bench.verdict.goals import Row
from edgeproof.bench.verdict.trials import PASSED, Trials, plan_of, policy_at
from edgeproof.contract.policy import Policy
from edgeproof.contract.samples import PairSamples
from edgeproof.contract.statements import NoiseFloor
from edgeproof.lab.circumstances import measured_under
from edgeproof.lab.noise import DRAWS, floors_under, noise_floor, supports, with_draw

ROW: Final = Row(0, 3, "quiet", ())
"""What is asked about: the twin at the default margin, where nothing else runs."""
_CONDITIONS: Final = "sha256:" + "0" * 64
"""Of one model on one machine, all draws are under the same ones."""


class Played(NamedTuple):
    """A pair of the twin, and when it was played."""

    at: str
    pair: PairSamples


class Reviewed(NamedTuple):
    """A trial that passed. ``after`` says whether its floor would send it to review, by the number of draws
    that the floor is made of; a number is missing if too few pairs came before the trial."""

    unsettled: bool
    after: dict[int, bool]


@dataclass
class Reviews:
    """The trials of one model's twin, each judged beside floors from pairs before its own."""

    policy: Policy = field(default_factory=lambda: policy_at(ROW.margin))
    told: list[Reviewed] = field(default_factory=list)
    _draws: list[NoiseFloor] = field(default_factory=list)
    _fresh: list[Played] = field(default_factory=list)
    _pairs: list[PairSamples] = field(default_factory=list)
    _trial: int = 0

    def __post_init__(self) -> None:
        self._trials = Trials(self.policy)

    def add(self, played: Played) -> None:
        self._fresh.append(played)
        if len(self._fresh) == min(self.policy.latency.looks):
            self._draws.append(_draw(self._fresh))
            self._fresh.clear()
        self._pairs.append(played.pair)
        verdict = self._trials.add(played.pair)
        if verdict is None:
            return
        if verdict in PASSED:
            self.told.append(self._reviewed())
        self._pairs.clear()
        self._trial += 1

    def _reviewed(self) -> Reviewed:
        draws = self._draws[: self._trial]
        return Reviewed(
            unsettled=bool(measured_under(self._pairs).unstable_pairs),
            after={
                many: not self._stands(with_draw(draws[-many:-1], draws[-1]))
                for many in (1, DRAWS)
                if many <= len(draws)
            },
        )

    def _stands(self, floor: NoiseFloor) -> bool:
        """As ``lab.compare`` asks: a floor from a quieter time is widened first."""
        floors = floors_under(floor, measured_under(self._pairs).background, self._pairs)
        return supports(floors, self._pairs, plan_of(self.policy))


def _draw(played: Sequence[Played]) -> NoiseFloor:
    """As a runner draws one: by as many pairs as the first look has."""
    pairs = [one.pair for one in played]
    return NoiseFloor(
        conditions=_CONDITIONS,
        background=measured_under(pairs).background,
        pairs=len(pairs),
        floor_pct=noise_floor(pairs),
        measured_at=played[-1].at,
    )
