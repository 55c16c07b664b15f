"""Requirement classes: what a run needs, normalised once, and which runner can meet it (DESIGN 5)."""

from __future__ import annotations

from edgeproof.contract.canonical import digest_of
from edgeproof.contract.runners import ISOLATION_ORDER, Capabilities, EngineCapability, Needs


def normalise(needs: Needs) -> Needs:
    """The same needs for every spelling: precisions sorted and without repetition."""
    return Needs(
        stage=needs.stage,
        backend=needs.backend,
        target=needs.target,
        precisions=tuple(sorted(set(needs.precisions))),
        min_memory_bytes=needs.min_memory_bytes,
        min_isolation=needs.min_isolation,
    )


def class_digest(needs: Needs) -> str:
    return digest_of(normalise(needs))


def missing(needs: Needs, capabilities: Capabilities) -> tuple[str, ...]:
    """What the runner lacks, in words for people; empty when it can do the run."""
    lacks: list[str] = []
    engines = capabilities.toolchains if needs.stage == "forge" else capabilities.backends
    kind = "toolchain" if needs.stage == "forge" else "backend"
    engine = next((one for one in engines if one.name == needs.backend), None)
    if engine is None:
        lacks.append(f"{kind} {needs.backend}")
    else:
        lacks += _engine_lacks(needs, engine)
    if capabilities.memory_bytes < needs.min_memory_bytes:
        lacks.append(f"{needs.min_memory_bytes} bytes of memory")
    if ISOLATION_ORDER.index(capabilities.isolation) < ISOLATION_ORDER.index(needs.min_isolation):
        lacks.append(f"isolation {needs.min_isolation}")
    return tuple(lacks)


def _engine_lacks(needs: Needs, engine: EngineCapability) -> list[str]:
    lacks = [
        f"precision {one}" for one in needs.precisions if one not in engine.precisions and one != "unknown"
    ]
    if needs.target not in engine.targets:
        lacks.append(f"target {needs.target}")
    return lacks
