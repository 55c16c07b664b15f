"""A session proves its key again when the token ran out, once for all calls that notice."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace
from functools import partial

import pytest

from edgeproof.client.exchange import NotOurs, RetryPolicy
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.contract.runners import ClaimRequest
from edgeproof.runner.session import BACKOFF, Session
from edgeproof.testing.simulated_server import SimulatedServer

NOW = ClaimRequest(wait_seconds=0)


async def test_an_expired_token_is_renewed_once_for_all_that_notice(
    server: SimulatedServer, session: Session
) -> None:
    await session.open()
    server.expire_token()
    asked = [session.call(partial(server.claim, NOW)) for _ in range(3)]
    assert await asyncio.gather(*asked) == [None, None, None]
    assert server.calls.count("register") == 2


async def test_other_refusals_are_not_repeated(server: SimulatedServer, session: Session) -> None:
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1
        raise Refused("forbidden")

    with pytest.raises(Refused, match="forbidden"):
        await session.persist(ask)
    assert asked == 1


async def test_a_second_refusal_of_the_token_is_final(server: SimulatedServer, session: Session) -> None:
    async def ask() -> None:
        raise Refused("unauthenticated")

    with pytest.raises(Refused, match="unauthenticated"):
        await session.call(ask)
    assert server.calls.count("register") == 1


async def test_an_absent_control_plane_is_asked_again(server: SimulatedServer, session: Session) -> None:
    server.absent(1, "register")
    await session.persist(session.open)
    assert server.calls == ["register", "register"]


async def test_stop_ends_the_asking(server: SimulatedServer, session: Session) -> None:
    stop = asyncio.Event()
    server.absent(1000, "register")
    asking = asyncio.create_task(session.persist(session.open, stop))
    await server.turned.wait()
    stop.set()
    with pytest.raises(Unavailable):
        await asking


async def test_stop_ends_a_call_that_nobody_answers(session: Session) -> None:
    stop, asked = asyncio.Event(), asyncio.Event()

    async def ask() -> None:
        asked.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        asking = asyncio.create_task(session.persist(ask, stop))
        await asked.wait()
        stop.set()
        with pytest.raises(Unavailable, match="asked to stop"):
            await asking


async def test_an_answer_that_comes_together_with_stop_is_not_lost(session: Session) -> None:
    stop, answered = asyncio.Event(), asyncio.Event()

    async def ask() -> int:
        await answered.wait()
        return 7

    asking = asyncio.create_task(session.persist(ask, stop))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answered.set()
    stop.set()
    assert await asking == 7


async def test_that_it_answers_again_after_an_outage_is_said_once(
    server: SimulatedServer, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgeproof.runner")
    session = Session(server, session.key, session.capabilities, None, RetryPolicy(0, 0, 0))
    await session.open()
    server.absent(3, "claim")
    for _ in range(2):
        await session.persist(partial(server.claim, NOW))
    told = [line for line in caplog.messages if "control plane" in line and "registered" not in line]
    assert [line.endswith("trying again") for line in told] == [True, True, True, False]
    assert told[-1] == "control plane answers again"


async def test_patience_ends_the_asking(server: SimulatedServer, session: Session) -> None:
    server.absent(1000, "register")
    with pytest.raises(Unavailable):
        await session.persist(session.open, patience=-1)
    assert server.calls == ["register"]


async def test_what_the_server_asks_for_comes_before_the_next_call(
    server: SimulatedServer, session: Session
) -> None:
    asked: list[float] = []
    clock = asyncio.get_running_loop().time

    async def ask() -> None:
        asked.append(clock())
        if len(asked) == 1:
            error = Unavailable("unavailable")
            error.retry_after = 0.05
            raise error

    await Session(
        server, session.key, session.capabilities, None, RetryPolicy(base_seconds=0, cap_seconds=0)
    ).persist(ask)
    assert asked[1] - asked[0] >= 0.05


@pytest.mark.parametrize("outage", [2.0, 20.0, 300.0])
def test_a_fleet_does_not_come_back_all_at_once(outage: float) -> None:
    """1,000 runners lose one control plane at one moment; it is back after ``outage`` seconds."""
    chance = random.Random(1)
    policy = replace(BACKOFF, jitter=chance.random)
    back = []
    for _ in range(1000):
        now, failures = 0.0, 0
        while now < outage:
            now, failures = now + policy.delay(failures), failures + 1
        back.append(now - outage)
    in_a_second = max(sum(start <= one < start + 1 for one in back) for start in back)
    # Nobody waits long, and the busiest second is far from all of them: less so the longer they waited.
    assert max(back) <= BACKOFF.cap_seconds
    assert in_a_second <= (600 if outage < 5 else 150)


async def test_before_anything_was_heard_a_foreign_answer_is_told_at_once(
    server: SimulatedServer, session: Session
) -> None:
    server.foreign(1, "register")
    with pytest.raises(NotOurs):
        await session.persist(session.open)
    assert server.calls == ["register"]


async def test_a_proxy_that_stumbles_is_asked_again(server: SimulatedServer, session: Session) -> None:
    session = Session(server, session.key, session.capabilities, None, RetryPolicy(0, 0, 0))
    await session.open()
    heard = session.last_contact
    server.foreign(1, "claim")
    with pytest.raises(Unavailable):
        await session.call(partial(server.claim, NOW))
    assert session.last_contact is heard
    server.foreign(2, "claim")
    assert await session.persist(partial(server.claim, NOW)) is None
    assert server.calls.count("claim") == 4


@pytest.mark.parametrize("code", ["challenge_invalid", "server_key_mismatch"])
async def test_a_token_that_is_not_renewed_says_nothing_of_what_was_asked(
    server: SimulatedServer, session: Session, code: str
) -> None:
    session = Session(server, session.key, session.capabilities, None, RetryPolicy(0, 0, 0))
    await session.open()
    server.expire_token()
    server.refuse(1, "register", code)
    with pytest.raises(Unavailable, match=code):
        await session.call(partial(server.claim, NOW))
    assert await session.persist(partial(server.claim, NOW)) is None


async def test_a_key_that_is_not_allowed_any_more_is_told(server: SimulatedServer, session: Session) -> None:
    await session.open()
    server.expire_token()
    server.refuse(1, "register", "key_not_allowed")
    with pytest.raises(Refused, match="key_not_allowed"):
        await session.persist(partial(server.claim, NOW))
