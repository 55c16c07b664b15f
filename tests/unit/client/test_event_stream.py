"""Parsing an event stream, and going on behind the last event after a break."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from edgeproof.client.event_stream import Message, messages
from edgeproof.client.exchange import RetryPolicy
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.contract.jobs import JobEvent


def frame(seq: int) -> bytes:
    event = JobEvent(seq=seq, type="log", at="2026-01-01T00:00:00Z", data={})
    return b"id: %d\nevent: log\ndata: %s\n\n" % (seq, msgspec.json.encode(event))


END = b"event: end\ndata: {}\n\n"


async def parse(*lines: str) -> list[Message]:
    async def source() -> AsyncIterator[str]:
        for line in lines:
            yield line

    return [one async for one in messages(source())]


async def test_fields_comments_and_multi_line_data() -> None:
    read = await parse(": hello", "id: 4", "event:log", "data: a", "data:b", "retry: 5", "", "data", "")
    assert read == [Message("log", "a\nb", "4"), Message("message", "", "4")]


async def test_an_unfinished_event_is_dropped() -> None:
    assert await parse("id: 1", "data: a") == []


async def _no_pause(_: float) -> None:
    return


def client(*answers: httpx.Response | Exception, attempts: int = 3) -> tuple[ControlPlaneClient, list[str]]:
    asked: list[str] = []
    script = list(answers)

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["last-event-id"])
        one = script.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    retry = RetryPolicy(attempts=attempts, sleep=_no_pause)
    return ControlPlaneClient("http://127.0.0.1:1", retry=retry, transport=httpx.MockTransport(answer)), asked


async def test_a_stream_that_breaks_off_is_taken_up_behind_the_last_event() -> None:
    api, asked = client(
        httpx.Response(200, content=frame(1) + frame(2)[:20]),
        httpx.ReadError("cut"),
        httpx.Response(200, content=frame(1) + frame(2)),
        httpx.Response(200, content=frame(3) + END),
    )
    assert [event.seq async for event in api.events("job-1")] == [1, 2, 3]
    assert asked == ["0", "1", "1", "2"]


async def test_it_gives_up_when_nothing_comes_any_more() -> None:
    api, asked = client(*[httpx.ConnectError("refused")] * 9)
    with pytest.raises(Unavailable) as caught:
        [event async for event in api.events("job-1")]
    assert caught.value.code == "server_unreachable"
    assert len(asked) == 3


async def test_a_job_that_is_not_there_is_said_at_once() -> None:
    gone = httpx.Response(404, content=msgspec.json.encode(Refused("not_found").problem()))
    api, asked = client(gone)
    with pytest.raises(Refused) as caught:
        [event async for event in api.events("job-1")]
    assert caught.value.code == "not_found"
    assert len(asked) == 1
