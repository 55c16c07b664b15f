"""Server-sent events of one job, read with resumption.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html; the server ends a
job's stream with the event ``end``, and a stream that stops without it is taken up again behind the
last event seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import msgspec

from edgeproof.client.exchange import Exchange, may_repeat
from edgeproof.contract.errors import EdgeproofError, Unavailable
from edgeproof.contract.jobs import JobEvent

END_EVENT: Final = "end"


class Message(NamedTuple):
    """One dispatched event of a stream."""

    event: str
    data: str
    id: str


async def messages(lines: AsyncIterator[str]) -> AsyncIterator[Message]:
    """Lines of an event stream in, whole events out; comments and an unfinished last event are dropped."""
    event, data, last_id = "", list[str](), ""
    async for line in lines:
        if not line:
            if data:
                yield Message(event or "message", "\n".join(data), last_id)
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            last_id = value


async def follow(exchange: Exchange, job_id: str, after: int = 0) -> AsyncIterator[JobEvent]:
    """A job's events behind sequence number ``after``, each once and in order, until the job has ended.

    Gives up with ``server_unreachable`` after the retry policy's attempts in a row without an event.
    """
    attempt = 0
    while True:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        try:
            async with exchange.stream("GET", f"/api/jobs/{job_id}/events", headers=headers) as response:
                async for message in messages(response.aiter_lines()):
                    if message.event == END_EVENT:
                        return
                    event = _event(message)
                    if event.seq > after:
                        after, attempt = event.seq, 0
                        yield event
            lost: EdgeproofError = Unavailable("server_unreachable", "the event stream ended early")
        except EdgeproofError as error:
            lost = error
        attempt += 1
        if attempt >= exchange.retry.attempts or not may_repeat(lost, idempotent=True):
            raise lost
        await exchange.retry.pause(attempt - 1, lost.retry_after)


def _event(message: Message) -> JobEvent:
    try:
        return msgspec.json.decode(message.data, type=JobEvent)
    except msgspec.MsgspecError as error:
        raise Unavailable("internal_error", f"not a job event: {error}") from error
