"""Requirement classes: what a run needs, normalised once, and which runner can meet it (DESIGN 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from edgeproof.contract.canonical import digest_of
from edgeproof.contract.runners import ISOLATION_ORDER, Capabilities, EngineCapability, Needs

_YOUNGER_THAN_CLASSES: Final = ("device_class", "labels", "min_vram_bytes", "quantizations")
"""A class that does not demand them keeps the digest that it had before there were such fields."""

_NOTHING: Final = Capabilities(device_class="none", cpu_count=0, memory_bytes=0, isolation="none")


@dataclass(frozen=True, slots=True)
class Lack:
    """One need that a runner does not meet: the ``need`` and what it ``has`` instead, in words.

    ``share`` is how much of it is lacking: 1 for a whole need, less where it has some, more where one thing
    stands for several.
    """

    need: str
    has: str
    share: float = 1.0

    def __str__(self) -> str:
        return f"{self.need} ({self.has})"


def normalise(needs: Needs) -> Needs:
    """The same needs for every spelling: lists sorted and without repetition."""
    return Needs(
        stage=needs.stage,
        backend=needs.backend,
        target=needs.target,
        precisions=_sorted(needs.precisions),
        min_memory_bytes=needs.min_memory_bytes,
        min_isolation=needs.min_isolation,
        device_class=needs.device_class,
        min_vram_bytes=needs.min_vram_bytes,
        quantizations=_sorted(needs.quantizations),
        labels={key: _sorted(values) for key, values in sorted(needs.labels.items())},
    )


def class_digest(needs: Needs) -> str:
    told = msgspec.to_builtins(normalise(needs))
    for name in _YOUNGER_THAN_CLASSES:
        if not told[name]:
            del told[name]
    return digest_of(told)


def fits(needs: Needs, capabilities: Capabilities) -> bool:
    """Whether the runner can do the run."""
    return next(_lacks(needs, capabilities), None) is None


def lacks(needs: Needs, capabilities: Capabilities) -> tuple[Lack, ...]:
    """What the runner does not have; empty when it can do the run."""
    return tuple(_lacks(needs, capabilities))


def lacking_everything(needs: Needs) -> tuple[str, ...]:
    """What a run needs, in words, where there is no runner at all."""
    return tuple(one.need for one in lacks(needs, _NOTHING))


def in_words(needs: Needs) -> str:
    """A class for people: ``forge on onnxruntime/cpu, int8, label site=lab``."""
    told = [f"{needs.stage} on {needs.backend}/{needs.target}"]
    told += [*(needs.precisions or ("any precision",)), *needs.quantizations]
    if needs.min_isolation != "none":
        told.append(f"isolation {needs.min_isolation}")
    if needs.device_class is not None:
        told.append(needs.device_class)
    if needs.min_memory_bytes:
        told.append(_memory(needs.min_memory_bytes))
    if needs.min_vram_bytes:
        told.append(_gpu(needs.min_vram_bytes))
    told += [_label(key, values) for key, values in needs.labels.items()]
    return ", ".join(told)


def _lacks(needs: Needs, capabilities: Capabilities) -> Iterator[Lack]:
    yield from _engine(needs, capabilities)
    yield from _device(needs, capabilities)
    yield from _labels(needs, capabilities)


def _engine(needs: Needs, capabilities: Capabilities) -> Iterator[Lack]:
    is_build = needs.stage == "forge"
    engines = capabilities.toolchains if is_build else capabilities.backends
    engine = next((one for one in engines if one.name == needs.backend), None)
    if engine is None:
        kind = "toolchain" if is_build else "backend"
        count = 2 + len(needs.precisions) + len(needs.quantizations)
        yield Lack(f"{kind} {needs.backend}", _has(one.name for one in engines), count)
        return
    for one in needs.precisions:
        if one not in engine.precisions and one != "unknown":
            yield Lack(f"precision {one}", _has(engine.precisions))
    yield from _quantizations(needs, engine)
    if needs.target not in engine.targets:
        yield Lack(f"target {needs.target}", _has(engine.targets))


def _quantizations(needs: Needs, engine: EngineCapability) -> Iterator[Lack]:
    known = engine.quantizations
    if known is not None:
        for one in needs.quantizations:
            if one not in known:
                yield Lack(f"quantization {one}", _has(known))


def _device(needs: Needs, capabilities: Capabilities) -> Iterator[Lack]:
    if needs.device_class not in (None, capabilities.device_class):
        yield Lack(f"device class {needs.device_class}", f"is {capabilities.device_class}")
    memory = max(capabilities.memory_bytes, 0)
    if memory < needs.min_memory_bytes:
        share = 1 - memory / needs.min_memory_bytes
        yield Lack(_memory(needs.min_memory_bytes), f"has {_size(memory)}", share)
    largest = max((0, *(one.memory_bytes for one in capabilities.gpus)))
    if largest < needs.min_vram_bytes:
        has = f"the largest has {_size(largest)}" if capabilities.gpus else "has none"
        yield Lack(_gpu(needs.min_vram_bytes), has, 1 - largest / needs.min_vram_bytes)
    if ISOLATION_ORDER.index(capabilities.isolation) < ISOLATION_ORDER.index(needs.min_isolation):
        yield Lack(f"isolation {needs.min_isolation}", f"has {capabilities.isolation}")


def _labels(needs: Needs, capabilities: Capabilities) -> Iterator[Lack]:
    for key, values in needs.labels.items():
        told = capabilities.labels.get(key)
        if told not in values:
            yield Lack(_label(key, values), f"has no label {key}" if told is None else f"has {key}={told}")


def _sorted(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _has(names: Iterable[str]) -> str:
    return f"has {', '.join(names) or 'none'}"


def _memory(size: int) -> str:
    return f"{_size(size)} of memory"


def _gpu(size: int) -> str:
    return f"a GPU with {_size(size)}"


def _label(key: str, values: tuple[str, ...]) -> str:
    return f"label {key}={' or '.join(values)}"


def _size(size: int) -> str:
    """To a thousandth of its unit: what a device lacks is often no more."""
    unit, name = (1 << 30, "GiB") if size >= 1 << 30 else (1 << 20, "MiB")
    return f"{size / unit:.3f}".rstrip("0").rstrip(".") + f" {name}"
