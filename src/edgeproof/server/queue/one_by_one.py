"""Ends runs one by one, each in a transaction of its own: two would be locked in an order of chance."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from edgeproof.contract.log_ids import about
from edgeproof.server.db.database import AWAY

_logger: Final = logging.getLogger(__name__)


async def end_each(run_ids: Iterable[str], end: Callable[[str], Awaitable[bool]]) -> int:
    """How many ``end`` says that it ended. One run's trouble does not stop the rest.

    Raises ``AWAY`` and ``OSError``: without a database the rest would fare no better.
    """
    ended = 0
    for run_id in run_ids:
        with about(run_id=run_id):
            try:
                ended += await end(run_id)
            except (*AWAY, OSError):
                raise
            except Exception:
                _logger.exception("the lease could not be ended; it will be tried again")
    return ended
