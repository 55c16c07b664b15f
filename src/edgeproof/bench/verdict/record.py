"""Records traces until the time is up: rotations of each model in turn, now and then a duet by the clock.

Nothing is judged here but when a timed duet may stop (``timed``).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeproof import __version__
from edgeproof.bench.verdict import goals, models, slowed, traces
from edgeproof.bench.verdict.load import busy_processor
from edgeproof.bench.verdict.models import MODELS, Model
from edgeproof.bench.verdict.rotation import RotationStage, Variant, play
from edgeproof.bench.verdict.sequential import is_sequential
from edgeproof.bench.verdict.timed import BACKEND, time_duet
from edgeproof.bench.verdict.trials import plan_of
from edgeproof.bench.verdict.variants import BASELINE, PLAYED, slowdown_of
from edgeproof.contract.errors import Refused
from edgeproof.contract.statements import DuetPlan
from edgeproof.lab.policies import default_policy
from edgeproof.runtime import environment
from edgeproof.runtime.backends import backend
from edgeproof.runtime.host_lock import host_lock
from edgeproof.runtime.pairs import shared_processors

THREADS: Final = 1


@dataclass(frozen=True)
class Recording:
    """``minutes`` of wall time, after which the rotation in progress is the last; there is always one."""

    path: Path
    minutes: float
    condition: traces.Condition
    resume: bool
    say: Callable[[str], None]


@dataclass(frozen=True)
class _Prepared:
    """A model's files."""

    model: Model
    baseline: Path
    heavier: Path
    stage: RotationStage


async def record(recording: Recording) -> None:
    """Appends to the file of traces. Raises ``Refused``, and ``StageFailed`` if nothing can be measured."""
    plan = plan_of(default_policy())
    until = time.monotonic() + 60 * recording.minutes
    calls: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeproof-bench-")))
        loaded = recording.condition == "load"
        busy = stack.enter_context(busy_processor()) if loaded else None
        log = stack.enter_context(traces.appending(recording.path, resume=recording.resume))
        session = _session(recording.condition, plan)
        played = _already_played(recording, session)
        log.append(session)
        prepared = {
            model.name: _prepare(model, folder / str(at), plan, recording.condition, busy)
            for at, model in enumerate(MODELS)
        }
        for turn, name in _turns(recording.condition):
            if turn == "duet":
                timed = await _timed(prepared[name], played[turn, name], recording.condition)
                if timed is not None:
                    log.append(timed)
            else:
                rotation = await _rotation(
                    prepared[name], played[turn, name], calls.get(name, 0), recording.condition
                )
                log.append(rotation)
                calls[name] = len(rotation.sides[BASELINE].blocks[0].samples_ns)
            played[turn, name] += 1
            left = max(0.0, until - time.monotonic()) / 60
            recording.say(f"{name} {turn} {played[turn, name]}, {left:.1f} min left")
            if left == 0:
                return


def _turns(condition: traces.Condition) -> Iterator[tuple[str, str]]:
    """Rotations in batches of one model, as the pairs of a measurement are; when quiet, then a timed duet."""
    for cycle in itertools.count():
        for model in MODELS:
            yield from itertools.repeat(("rotation", model.name), model.rotations)
        if condition == "quiet":
            yield "duet", goals.TIMED_MODELS[cycle % len(goals.TIMED_MODELS)]


def _already_played(recording: Recording, session: traces.Session) -> Counter[tuple[str, str]]:
    """Numbers in the file, so that the order of variants goes on.

    Raises ``Refused`` (``conflict``) if it is of another machine, engine or plan.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for one in traces.read(recording.path):
        if isinstance(one, traces.Session):
            if differences := traces.unlike(one, session):
                raise Refused(
                    "conflict", f"{recording.path} was recorded otherwise: {'; '.join(differences)}"
                )
        elif one.condition == recording.condition:
            counts["rotation" if isinstance(one, traces.Rotation) else "duet", one.model] += 1
    return counts


def _session(condition: traces.Condition, plan: DuetPlan) -> traces.Session:
    return traces.Session(
        schema_version=traces.SCHEMA,
        at=environment.utc_now(),
        condition=condition,
        system=environment.system_info(),
        versions={"edgeproof": __version__, **backend(BACKEND).versions()},
        processors=len(environment.allowed_processors()),
        threads=THREADS,
        load_1m=round(os.getloadavg()[0], 2),
        plan=plan,
        same_processors=bool(shared_processors(0, THREADS)),
    )


def _prepare(
    model: Model, folder: Path, plan: DuetPlan, condition: traces.Condition, busy: int | None
) -> _Prepared:
    folder.mkdir()
    baseline = models.write(model, folder / "baseline.onnx")
    heavier = models.write(model, folder / "heavier.onnx", layers=models.LAYERS + 1)
    variants = []
    for name in PLAYED[condition]:
        percent = slowdown_of(name)
        swap = model.heavier and percent == models.HEAVIER_PCT
        artifact, spin = (heavier, 0) if swap else (baseline, percent)
        variants.append(Variant(name, slowed.reference(spin), artifact))
    feed = models.write_feed(model, folder / "x.npy")
    stage = RotationStage(tuple(variants), feed, folder, THREADS, plan, busy=busy)
    return _Prepared(model, baseline, heavier, stage)


async def _rotation(
    prepared: _Prepared, index: int, calls: int, condition: traces.Condition
) -> traces.Rotation:
    async with host_lock(on_wait=lambda: None):
        at, started = environment.utc_now(), time.monotonic()
        played = await play(prepared.stage, index, calls=calls, sequential=is_sequential(index))
        seconds = time.monotonic() - started
    return traces.Rotation(
        at=at,
        condition=condition,
        model=prepared.model.name,
        index=index,
        seconds=round(seconds, 3),
        order=played.order,
        sides=played.sides,
        sequential=played.sequential,
    )


async def _timed(prepared: _Prepared, index: int, condition: traces.Condition) -> traces.TimedDuet | None:
    """By turns against the twin and against the heavier model."""
    return await time_duet(
        prepared.model.name,
        prepared.baseline,
        prepared.heavier if index % 2 else prepared.baseline,
        prepared.stage.workspace,
        threads=THREADS,
        condition=condition,
    )
