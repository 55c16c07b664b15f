"""The port of an execution backend: its data, its verbs, its error, all on this page.

One file beside this one per backend, found through the entry point group ``edgeproof.backends``. The
port is used only inside the measuring processes: neither the server nor the agent parses a model.
Nothing heavy is imported here, NumPy included, because a runner lists backends without importing engines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output. ``dtype`` is NumPy's name; an open dimension is its symbol, or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A tiny model with fixed inputs that only an engine which executes ``precision`` runs. ``name`` is the
    quantisation scheme where it is one, else the precision again."""

    name: str
    precision: str
    model: Path


class ModelRefused(Exception):
    """The backend cannot load or run this model; ``code`` is one of ``contract.errors.CODES``."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


class Bound(Protocol):
    """One feed, bound once to a session, so that a timed call is inference and nothing else."""

    @property
    def call(self) -> Callable[[], object]:
        """Runs one inference and returns when its outputs are ready. Raises what the engine raises."""
        ...

    def outputs(self) -> list[NDArray[Any]]:
        """The outputs of the latest call, in the model's order."""
        ...


class Session(Protocol):
    """A loaded model."""

    @property
    def inputs(self) -> tuple[Tensor, ...]: ...

    @property
    def outputs(self) -> tuple[Tensor, ...]: ...

    def bind(self, feed: Mapping[str, NDArray[Any]]) -> Bound:
        """``feed`` has one contiguous array per input. Raises ``ModelRefused``."""
        ...


class Backend(Protocol):
    """An execution engine on one kind of device."""

    @property
    def name(self) -> str: ...

    @property
    def targets(self) -> tuple[str, ...]: ...

    @property
    def trials(self) -> tuple[Trial, ...]:
        """What it may be able to execute, each to be tried on the machine."""
        ...

    def versions(self) -> dict[str, str]:
        """Versions of what executes a model, found without importing it; empty when it is missing."""
        ...

    def prepare(self) -> None:
        """Import the engine; never part of a timed load. Raises ``ModelRefused`` (``backend_missing``)."""
        ...

    def load(self, artifact: Path, threads: int) -> Session:
        """A session of the artifact on ``threads`` threads. Raises ``ModelRefused``."""
        ...

    def refusal(self, error: Exception) -> ModelRefused:
        """What an engine's own exception, raised by a call, means."""
        ...
