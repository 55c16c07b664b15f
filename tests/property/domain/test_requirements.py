"""More capability never takes a run away from a runner, and more demanded never gives one."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.contract.runners import ISOLATION_ORDER, Capabilities, EngineCapability, Gpu, Needs
from edgeproof.domain.requirements import class_digest, fits, in_words, lacks, normalise

NAMES = st.sampled_from(["a", "b", "c"])
LISTS = st.lists(NAMES, max_size=3).map(tuple)
SIZES = st.integers(0, 4)

engines = st.builds(
    EngineCapability, name=NAMES, version=st.just("1"), targets=LISTS, precisions=LISTS, quantizations=LISTS
)
gpus = st.builds(Gpu, name=NAMES, memory_bytes=SIZES, driver=st.just("1"))
machines = st.builds(
    Capabilities,
    device_class=NAMES,
    cpu_count=st.just(1),
    memory_bytes=SIZES,
    isolation=st.sampled_from(ISOLATION_ORDER),
    backends=st.lists(engines, max_size=2, unique_by=lambda one: one.name).map(tuple),
    toolchains=st.lists(engines, max_size=2, unique_by=lambda one: one.name).map(tuple),
    labels=st.dictionaries(NAMES, NAMES, max_size=2),
    gpus=st.lists(gpus, max_size=2).map(tuple),
)
demands = st.builds(
    Needs,
    stage=st.sampled_from(["forge", "runtime"]),
    backend=NAMES,
    target=NAMES,
    precisions=LISTS,
    min_memory_bytes=SIZES,
    min_isolation=st.sampled_from(ISOLATION_ORDER),
    device_class=st.none() | NAMES,
    min_vram_bytes=SIZES,
    quantizations=LISTS,
    labels=st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=2).map(tuple), max_size=2),
)


@st.composite
def grown(draw: st.DrawFn, one: EngineCapability) -> EngineCapability:
    return msgspec.structs.replace(
        one,
        targets=one.targets + draw(LISTS),
        precisions=one.precisions + draw(LISTS),
        quantizations=(one.quantizations or ()) + draw(LISTS),
    )


@st.composite
def machine_and_more(draw: st.DrawFn) -> tuple[Capabilities, Capabilities]:
    """A machine, and one with all that it has and perhaps more."""
    small = draw(machines)

    def more(had: tuple[EngineCapability, ...]) -> tuple[EngineCapability, ...]:
        names = {one.name for one in had}
        new = [one for one in draw(st.lists(engines, max_size=1)) if one.name not in names]
        return (*[draw(grown(one)) for one in had], *new)

    return small, msgspec.structs.replace(
        small,
        memory_bytes=small.memory_bytes + draw(SIZES),
        isolation=ISOLATION_ORDER[max(ISOLATION_ORDER.index(small.isolation), draw(st.integers(0, 2)))],
        backends=more(small.backends),
        toolchains=more(small.toolchains),
        labels={**draw(st.dictionaries(NAMES, NAMES, max_size=2)), **small.labels},
        gpus=small.gpus + draw(st.lists(gpus, max_size=1).map(tuple)),
    )


def engine_names(machine: Capabilities, needs: Needs) -> set[str]:
    engines = machine.toolchains if needs.stage == "forge" else machine.backends
    return {one.name for one in engines}


@given(demands, machine_and_more())
def test_more_capability_never_adds_a_lack(needs: Needs, machines: tuple[Capabilities, Capabilities]) -> None:
    small, large = machines
    assert fits(needs, large) or not fits(needs, small)
    before, after = lacks(needs, small), lacks(needs, large)
    assert sum(one.share for one in after) <= sum(one.share for one in before)
    if needs.backend in engine_names(small, needs) or needs.backend not in engine_names(large, needs):
        assert {one.need for one in after} <= {one.need for one in before}


@given(demands, demands, machines)
def test_who_meets_two_demands_meets_either(one: Needs, other: Needs, machine: Capabilities) -> None:
    both = msgspec.structs.replace(
        one,
        precisions=one.precisions + other.precisions,
        min_memory_bytes=max(one.min_memory_bytes, other.min_memory_bytes),
        min_vram_bytes=max(one.min_vram_bytes, other.min_vram_bytes),
        quantizations=one.quantizations + other.quantizations,
        labels={**other.labels, **one.labels},
    )
    assert fits(one, machine) or not fits(both, machine)


@given(demands, machines)
def test_the_spelling_changes_neither_the_class_nor_who_fits(needs: Needs, machine: Capabilities) -> None:
    plain = normalise(needs)
    assert fits(plain, machine) is fits(needs, machine)
    assert class_digest(plain) == class_digest(needs)
    assert msgspec.convert(msgspec.to_builtins(plain), Needs) == plain
    assert in_words(plain)


@given(demands, machines)
def test_a_runner_fits_when_nothing_is_lacking(needs: Needs, machine: Capabilities) -> None:
    assert fits(needs, machine) is (not lacks(needs, machine))
    assert all(one.share > 0 and one.need and one.has for one in lacks(needs, machine))
