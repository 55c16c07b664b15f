"""Job events as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

``event: end`` follows the last event of a job that has ended. A stream that the server had to break off,
because it stops or lost its database, ends without it; clients take it up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from edgeproof.contract.base import Wire
from edgeproof.contract.errors import FieldError, Refused
from edgeproof.contract.jobs import JobEvent

MEDIA_TYPE: Final = "text/event-stream"
KEEP_ALIVE_SECONDS: Final = 15.0
KEEP_ALIVE: Final = b": keep-alive\n\n"
END: Final = b"event: end\ndata: {}\n\n"

_log = logging.getLogger(__name__)


class StreamedEvent(Wire, frozen=True, kw_only=True):
    """One event of the stream, as a reader of server-sent events gets it."""

    event: Literal["status", "progress", "log", "artifact", "metadata", "end"]
    data: Annotated[str, Meta(description="A `JobEvent` as JSON; `{}` with `event: end`")]
    id: Annotated[str, Meta(description="The sequence number; the stream resumes behind it")] = ""


def sequence_number(last_event_id: str | None) -> int:
    """The header ``Last-Event-ID`` as a number. Raises ``Refused`` (``invalid_request``)."""
    if not last_event_id:
        return 0
    if last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 18:
        return int(last_event_id)
    message = "not a sequence number"
    raise Refused("invalid_request", message, errors=(FieldError(path="Last-Event-ID", message=message),))


def encode_event(event: JobEvent) -> bytes:
    """One event; JSON has no line break, so ``data`` is one line."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), msgspec.json.encode(event))


async def encode(
    events: AsyncIterator[JobEvent],
    stopping: asyncio.Event,
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
) -> AsyncIterator[bytes]:
    """The stream's bytes. A comment fills every silence, so that a dead peer is noticed."""
    following: asyncio.Future[JobEvent] = asyncio.ensure_future(_next(events))
    try:
        # Sent at once: a proxy, and the client, learn now that the stream stands.
        yield KEEP_ALIVE
        while True:
            done, _ = await asyncio.wait({following}, timeout=keep_alive_seconds)
            if not done:
                yield KEEP_ALIVE
                continue
            yield encode_event(following.result())
            following = asyncio.ensure_future(_next(events))
    except _Over:
        if not stopping.is_set():
            yield END
    except Exception:
        _log.warning("an event stream broke off", exc_info=True)
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await following
        if isinstance(events, AsyncGenerator):
            await events.aclose()


class _Over(Exception):
    """``StopAsyncIteration`` cannot be a task's exception."""


async def _next(events: AsyncIterator[JobEvent]) -> JobEvent:
    async for event in events:
        return event
    raise _Over
