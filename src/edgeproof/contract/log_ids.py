"""Which job, run and runner the present work is about, so that every log line under it can say so.

Kept in a context variable: tasks started inside inherit it. What a line looks like is ``app.log_output``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_IDS: Final[ContextVar[Mapping[str, str]]] = ContextVar("edgeproof_log_ids")
_NONE: Final[Mapping[str, str]] = {}


def present_ids() -> Mapping[str, str]:
    """The ids of the work under way, by name."""
    return _IDS.get(_NONE)


@contextmanager
def about(
    *, job_id: str | None = None, run_id: str | None = None, runner_id: str | None = None
) -> Iterator[None]:
    """Adds ids to those known already; None adds nothing."""
    given = {"job_id": job_id, "run_id": run_id, "runner_id": runner_id}
    ids = {**present_ids(), **{name: value for name, value in given.items() if value is not None}}
    token = _IDS.set(ids)
    try:
        yield
    finally:
        _IDS.reset(token)
