"""Rotations of invented processes, whose true ratios and spread are known."""

from __future__ import annotations

import random
from collections.abc import Iterator

from edgeproof.bench.verdict.rotation import first_order
from edgeproof.bench.verdict.sequential import is_sequential
from edgeproof.bench.verdict.traces import SCHEMA, Condition, Record, Rotation, Sequential, Session, TimedDuet
from edgeproof.bench.verdict.trials import plan_of
from edgeproof.bench.verdict.variants import PLAYED, slowdown_of
from edgeproof.contract.results import SystemInfo
from edgeproof.contract.samples import Block, SideSamples
from edgeproof.lab.policies import default_policy

AT = "2026-01-02T03:04:05Z"


def session(cpu_model: str = "invented") -> Session:
    return Session(
        schema_version=SCHEMA,
        at=AT,
        condition="quiet",
        system=SystemInfo(
            os="Linux 6", python="3.11", machine="x86_64", cpu_model=cpu_model, cpu_count_logical=2,
            memory_bytes=1,
        ),
        versions={"edgeproof": "0"},
        processors=2,
        threads=1,
        load_1m=0.0,
        plan=plan_of(default_policy()),
    )  # fmt: skip


def side(typical_ns: float, wait: float = 0.0) -> SideSamples:
    samples = tuple(int(typical_ns * (1 + step / 1000)) for step in range(-2, 3))
    block = Block(at_ns=0, settle_ns=(), samples_ns=samples, load=0.0, wait=wait, flags=())
    return SideSamples(
        load_ns=1, first_ns=1, warmup_ns=(), settled=True, blocks=(block,) * 8, peak_rss_bytes=1
    )


def rotations(
    count: int, *, spread: float = 0.003, condition: Condition = "quiet", model: str = "0.5 ms",
    wait: float = 0.0, seed: int = 1,
) -> Iterator[Rotation]:  # fmt: skip
    draw = random.Random(seed)
    names = PLAYED[condition]
    for index in range(count):
        typical = {name: 5e5 * (1 + slowdown_of(name) / 100) * (1 + draw.gauss(0, spread)) for name in names}
        alone = {name: tuple(int(value) + step for step in range(50)) for name, value in typical.items()}
        yield Rotation(
            at=AT,
            condition=condition,
            model=model,
            index=index,
            seconds=3.0,
            order=first_order(names, index),
            sides={name: side(value, wait) for name, value in typical.items()},
            sequential={name: Sequential(before=calls, after=calls) for name, calls in alone.items()}
            if index % 4 == 0 or is_sequential(index)
            else {},
        )


def timed(seconds: float, model: str = "5 ms", condition: Condition = "quiet") -> TimedDuet:
    return TimedDuet(
        at=AT,
        condition=condition,
        model=model,
        candidate="twin",
        seconds=seconds,
        pairs=8,
        verdict="no_regression",
    )


def recorded(*, rounds: int = 32, spread: float = 0.003) -> list[Record]:
    return [session(), *rotations(rounds, spread=spread), *rotations(16, condition="load")]
