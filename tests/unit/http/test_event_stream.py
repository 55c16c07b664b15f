"""The bytes of an event stream: events, silence, the end, and an end that is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from edgeproof.client.event_stream import messages
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobEvent
from edgeproof.http.event_stream import END, KEEP_ALIVE, encode, encode_event, sequence_number


def event(seq: int) -> JobEvent:
    return JobEvent(seq=seq, type="log", at="2026-01-01T00:00:00Z", data={"message": "two\nlines"})


async def told(*events: JobEvent) -> AsyncIterator[JobEvent]:
    for one in events:
        yield one


async def collect(stream: AsyncIterator[bytes]) -> list[bytes]:
    return [chunk async for chunk in stream]


async def test_events_come_in_order_and_the_end_is_said() -> None:
    chunks = await collect(encode(told(event(1), event(2)), asyncio.Event()))
    assert chunks == [KEEP_ALIVE, encode_event(event(1)), encode_event(event(2)), END]


async def test_a_stopping_server_does_not_claim_the_end() -> None:
    stopping = asyncio.Event()
    stopping.set()
    assert END not in await collect(encode(told(event(1)), stopping))


async def test_a_failure_ends_the_stream_without_the_end() -> None:
    async def failing() -> AsyncIterator[JobEvent]:
        yield event(1)
        raise ConnectionError("gone")

    assert await collect(encode(failing(), asyncio.Event())) == [KEEP_ALIVE, encode_event(event(1))]


async def test_silence_is_filled_and_nothing_is_lost_by_it() -> None:
    silent = asyncio.Event()

    async def slow() -> AsyncIterator[JobEvent]:
        await silent.wait()
        yield event(1)

    stream = encode(slow(), asyncio.Event(), keep_alive_seconds=0)
    assert [await anext(stream) for _ in range(3)] == [KEEP_ALIVE] * 3
    silent.set()
    rest = [chunk for chunk in await collect(stream) if chunk != KEEP_ALIVE]
    assert rest == [encode_event(event(1)), END]


async def test_a_reader_that_leaves_ends_the_source() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[JobEvent]:
        try:
            yield event(1)
            await asyncio.Event().wait()
        finally:
            closed.set()

    stream = encode(endless(), asyncio.Event())
    assert [await anext(stream), await anext(stream)] == [KEEP_ALIVE, encode_event(event(1))]
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator behind its narrower type
    assert closed.is_set()


async def test_a_reader_that_leaves_at_once_leaves_no_task_behind() -> None:
    async def silent() -> AsyncIterator[JobEvent]:
        await asyncio.Event().wait()
        yield event(1)

    before = asyncio.all_tasks()
    stream = encode(silent(), asyncio.Event())
    assert await anext(stream) == KEEP_ALIVE
    assert asyncio.all_tasks() != before
    await stream.aclose()  # type: ignore[attr-defined]  # a generator, told as an iterator
    assert asyncio.all_tasks() == before


async def test_the_client_reads_what_the_server_writes() -> None:
    async def lines() -> AsyncIterator[str]:
        for line in (KEEP_ALIVE + encode_event(event(7)) + END).decode().split("\n"):
            yield line

    read = [(one.event, one.id) async for one in messages(lines())]
    assert read == [("log", "7"), ("end", "7")]


def test_last_event_id() -> None:
    assert [sequence_number(one) for one in (None, "", "0", "12")] == [0, 0, 0, 12]
    for odd in ("-1", "1.0", "x", "9" * 19, "²"):
        with pytest.raises(Refused):
            sequence_number(odd)
