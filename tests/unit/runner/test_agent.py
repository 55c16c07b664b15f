"""The agent against a control plane in memory, with invented work: what it names, and when it holds back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edgeproof.client.exchange import RetryPolicy
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.log_ids import present_ids
from edgeproof.contract.runners import MAX_HOLDING, Capabilities
from edgeproof.contract.statements import ForgeConfig
from edgeproof.runner import agent as agents
from edgeproof.runner.agent import Agent
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.session import Session
from edgeproof.runner.state import RunnerState, StateFile, read_state
from edgeproof.runner.work import Product
from edgeproof.testing.simulated_server import SimulatedServer
from edgeproof.testing.simulated_work import SimulatedWork

AT_ONCE = RetryPolicy(base_seconds=0.0, cap_seconds=0.0)
CAPABILITIES = Capabilities(device_class="test", cpu_count=1, memory_bytes=1, isolation="none")


@pytest.fixture
def agent(server: SimulatedServer, home: RunnerHome) -> Agent:
    """One that gives up a delivery at once."""
    server.keep(b"source")
    session = Session(server, home.signing_key(), CAPABILITIES, None, AT_ONCE)
    return Agent(session, home, "boot", SimulatedWork(seconds=0), patience=0.0)


async def test_no_result_is_lost_for_waiting_with_more_than_a_claim_may_name(
    server: SimulatedServer, agent: Agent, home: RunnerHome, config: ForgeConfig
) -> None:
    """Claims are answered while results are not taken; the server ends the leases that they do not name."""
    most = MAX_HOLDING + 1
    runs = [server.add(config) for _ in range(most + 5)]
    # Each result is tried once when it is made, and once before every claim from then on; and then three
    # rounds of all of them, in which a runner that claimed would have been given more.
    server.absent(sum(range(1, most + 1)) + 3 * most, "submit")
    async with asyncio.timeout(60):
        assert await agent.serve(asyncio.Event(), max_runs=len(runs)) == len(runs)
    assert {(run.state, run.attempt, len(run.envelopes)) for run in runs} == {("COMPLETE", 1, 1)}
    assert server.calls.count("claim") == len(runs)
    assert list(home.outbox.iterdir()) == []


async def test_a_result_that_cannot_be_kept_is_delivered_all_the_same(
    server: SimulatedServer, agent: Agent, home: RunnerHome, config: ForgeConfig
) -> None:
    run = server.add(config)
    home.outbox.rmdir()
    assert await agent.serve(asyncio.Event(), max_runs=1) == 1
    assert (run.state, run.failures) == ("COMPLETE", [])


async def test_a_finished_result_outlives_an_outage_before_its_upload_and_a_restart(
    server: SimulatedServer, agent: Agent, home: RunnerHome, config: ForgeConfig
) -> None:
    run, other, stop = server.add(config), server.add(config), asyncio.Event()
    server.absent(10**9, "upload")
    serving = asyncio.create_task(agent.serve(stop))
    async with asyncio.timeout(20):
        while server.calls.count("upload") < 3:
            await asyncio.sleep(0)
        stop.set()
        await serving
    # What it cannot upload it does not make more of.
    assert (run.state, run.attempt, other.state) == ("CLAIMED", 1, "PENDING")
    server.absent(0, "upload")
    session = Session(server, home.signing_key(), CAPABILITIES, None, AT_ONCE)
    later = Agent(session, home, "boot", SimulatedWork(seconds=0), patience=0.0)
    async with asyncio.timeout(20):
        assert await later.serve(asyncio.Event(), max_runs=1) == 1
    assert [(one.state, one.attempt, len(one.envelopes)) for one in (run, other)] == [("COMPLETE", 1, 1)] * 2
    assert (list(home.outbox.iterdir()), list(home.work.iterdir())) == ([], [])


async def test_a_wish_to_cancel_ends_an_upload(
    server: SimulatedServer, agent: Agent, home: RunnerHome, config: ForgeConfig
) -> None:
    run = server.add(config)
    entered = asyncio.Event()

    async def endless(*_: Any, **__: Any) -> None:
        run.cancel_requested = True
        entered.set()
        await asyncio.Event().wait()

    server.upload = endless  # type: ignore[method-assign]
    async with asyncio.timeout(20):
        assert await agent.serve(asyncio.Event(), max_runs=1) == 1
    assert entered.is_set()
    assert [one.code for one in run.failures] == ["cancelled"]
    assert (list(home.outbox.iterdir()), list(home.work.iterdir())) == ([], [])


async def test_a_runner_whose_uploads_find_no_room_says_so_before_it_uses_up_the_attempts(
    server: SimulatedServer, agent: Agent, config: ForgeConfig
) -> None:
    run, stop = server.add(config), asyncio.Event()
    server.refuse(1, "upload", "quota_exceeded")
    serving = asyncio.create_task(agent.serve(stop))
    async with asyncio.timeout(20):
        while server.unfit is None:
            server.turned.clear()
            await server.turned.wait()
        (failure,) = run.failures
        assert (failure.code, failure.fault, failure.retryable) == ("quota_exceeded", "infrastructure", True)
        assert (run.state, run.attempt) == ("PENDING", 1)
        assert server.unfit.startswith("quota_exceeded: ")
        # Said once: whether it may work again is the operator's to say.
        server.release()
        await server.until(run, "COMPLETE")
        stop.set()
        assert await serving == 2
    assert (run.attempt, server.unfit) == (2, None)


@pytest.mark.parametrize("code", ["isolation_unavailable", "backend_missing"])
async def test_a_runner_whose_device_lost_what_every_run_needs_says_so(
    server: SimulatedServer, home: RunnerHome, config: ForgeConfig, code: str
) -> None:
    """User namespaces turned off under a running runner: one run comes back, not the whole queue."""
    server.keep(b"source")
    runs, stop = [server.add(config) for _ in range(2)], asyncio.Event()

    async def broken(*_: Any) -> Product:
        raise StageFailed(code, "not any more")

    session = Session(server, home.signing_key(), CAPABILITIES, None, AT_ONCE)
    serving = asyncio.create_task(Agent(session, home, "boot", broken, patience=0.0).serve(stop))
    async with asyncio.timeout(20):
        while server.unfit is None:
            server.turned.clear()
            await server.turned.wait()
        stop.set()
        assert await serving == 1
    assert server.unfit == f"{code}: not any more"
    assert [(one.code, one.fault, one.retryable) for one in runs[0].failures] == [(code, "device", True)]
    assert [(run.state, run.attempt) for run in runs] == [("PENDING", 1), ("PENDING", 0)]


async def test_each_claim_has_a_greater_number_also_when_sent_again_and_by_a_later_process(
    server: SimulatedServer, agent: Agent, home: RunnerHome, config: ForgeConfig
) -> None:
    first = server.add(config)
    server.lose_replies(1, "claim")
    assert await agent.serve(asyncio.Event(), max_runs=1) == 1
    # The lease whose answer was lost was ended by the next claim.
    assert (first.state, first.attempt) == ("COMPLETE", 2)
    second = server.add(config)
    session = Session(server, home.signing_key(), CAPABILITIES, None, AT_ONCE)
    again = Agent(session, home, "boot", SimulatedWork(seconds=0), patience=0.0)
    assert await again.serve(asyncio.Event(), max_runs=1) == 1
    assert second.claim_number > first.claim_number + 1


class Lines(logging.Handler):
    """What is logged, with the ids that were present then."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, dict[str, str]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append((record.getMessage(), dict(present_ids())))

    def ids(self, words: str) -> list[dict[str, str]]:
        return [ids for message, ids in self.told if words in message]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    caplog.set_level(logging.INFO, "edgeproof.runner")
    handler = Lines()
    logging.getLogger("edgeproof.runner").addHandler(handler)
    yield handler
    logging.getLogger("edgeproof.runner").removeHandler(handler)


async def test_every_line_from_the_registration_on_names_the_runner_and_those_of_a_run_that_too(
    server: SimulatedServer, agent: Agent, home: RunnerHome, config: ForgeConfig, lines: Lines
) -> None:
    run = server.add(config)
    # Not taken when it is made; a later process delivers it.
    server.absent(1, "submit")
    assert await agent.serve(asyncio.Event(), max_runs=1) == 1
    session = Session(server, home.signing_key(), CAPABILITIES, None, AT_ONCE)
    again, stop = Agent(session, home, "boot", SimulatedWork(seconds=0), patience=0.0), asyncio.Event()
    serving = asyncio.create_task(again.serve(stop))
    await server.until(run, "COMPLETE")
    stop.set()
    await serving
    runner = {"runner_id": session.runner_id}
    claimed = lines.ids("claimed, stage")
    assert lines.ids("registered with") == [runner, runner]
    assert [set(ids) for ids in claimed] == [{"runner_id", "job_id", "run_id"}]
    assert claimed[0] == {**runner, "run_id": run.run_id, "job_id": claimed[0]["job_id"]}
    assert lines.ids("not delivered yet") == lines.ids(": submitted") == claimed


Mute = Callable[[str], asyncio.Event]


@pytest.fixture
def mute(server: SimulatedServer, monkeypatch: pytest.MonkeyPatch) -> Mute:
    """Calls of one kind are taken and never answered; the event says that there was one."""

    def made(verb: str) -> asyncio.Event:
        asked = asyncio.Event()

        async def never(*_: Any) -> None:
            asked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(server, verb, never)
        return asked

    return made


@pytest.mark.parametrize("verb", ["register", "claim_or_standing"])
async def test_a_silent_control_plane_does_not_keep_an_idle_runner(
    agent: Agent, mute: Mute, verb: str
) -> None:
    stop, asked = asyncio.Event(), mute(verb)
    async with asyncio.timeout(20):
        serving = asyncio.create_task(agent.serve(stop, hand_back=asyncio.Event()))
        await asked.wait()
        stop.set()
        assert await serving == 0


async def test_a_result_whose_delivery_was_broken_off_is_delivered_by_the_next_process(
    server: SimulatedServer,
    agent: Agent,
    home: RunnerHome,
    config: ForgeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, stop, hand_back = server.add(config), asyncio.Event(), asyncio.Event()
    asked: asyncio.Queue[bytes] = asyncio.Queue()

    async def never(_run_id: str, _lease: Any, envelope: bytes) -> None:
        asked.put_nowait(envelope)
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        with monkeypatch.context() as silence:
            silence.setattr(server, "submit", never)
            serving = asyncio.create_task(agent.serve(stop, hand_back=hand_back))
            sent = await asked.get()
            # The run under way is delivered while the runner drains, until it is to hand back.
            stop.set()
            hand_back.set()
            assert await serving == 1
            # And one that lies there from before, until it drains.
            serving = asyncio.create_task(_another(server, home).serve(again := asyncio.Event()))
            assert await asked.get() == sent
            again.set()
            assert await serving == 0
        serving = asyncio.create_task(_another(server, home).serve(last := asyncio.Event()))
        await server.until(run, "COMPLETE")
        last.set()
        await serving
    assert run.envelopes == [sent]


def _another(server: SimulatedServer, home: RunnerHome) -> Agent:
    session = Session(server, home.signing_key(), CAPABILITIES, None, AT_ONCE)
    return Agent(session, home, "boot", SimulatedWork(seconds=0), patience=0.0)


async def test_a_hand_back_that_nobody_hears_does_not_hold_the_end(
    server: SimulatedServer,
    home: RunnerHome,
    config: ForgeConfig,
    mute: Mute,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "edgeproof.runner")
    monkeypatch.setattr(agents, "LAST_WORDS_SECONDS", 0.01)
    run, stop, working, asked = server.add(config), asyncio.Event(), asyncio.Event(), mute("fail")

    async def long(*_: Any) -> Product:
        working.set()
        await asyncio.Event().wait()
        raise AssertionError

    session = Session(server, home.signing_key(), CAPABILITIES, None, AT_ONCE)
    async with asyncio.timeout(20):
        serving = asyncio.create_task(Agent(session, home, "boot", long).serve(stop))
        await working.wait()
        stop.set()
        assert await serving == 1
    assert asked.is_set()
    told = [line for line in caplog.messages if line.startswith(f"run {run.run_id}: ")]
    assert told[1:] == [
        f"run {run.run_id}: handed back",
        f"run {run.run_id}: failure not delivered in time, its lease will expire",
    ]


async def test_a_quarantined_runner_says_so_at_each_change(
    server: SimulatedServer,
    agent: Agent,
    home: RunnerHome,
    config: ForgeConfig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "edgeproof.runner.agent")
    server.unfit, stop = "by an operator", asyncio.Event()
    run = server.add(config)
    async with asyncio.timeout(20):
        serving = asyncio.create_task(agent.serve(stop))
        # The first claim is answered at once; the second waits.
        await _until(server, lambda: server.calls.count("claim") == 2)
        assert _state(home).standing == "quarantined"
        (told,) = caplog.messages
        assert told.startswith("quarantined: ")
        assert told.endswith("`edgeproof fleet release runner-1`")
        server.release()
        await server.until(run, "COMPLETE")
        stop.set()
        await serving
    assert _state(home).standing == "active"
    assert caplog.messages[1] == "released: the control plane gives this runner runs again"
    assert [line for line in caplog.messages[2:] if "release" in line or "quarantined" in line] == []


async def test_a_contact_and_a_wish_to_stop_are_told_at_once(
    server: SimulatedServer, agent: Agent, home: RunnerHome, mute: Mute
) -> None:
    long_ago = "2026-01-01T00:00:00Z"
    StateFile(home.state, "none").tell(last_contact_at=long_ago)
    restarted, stop, asked = _another(server, home), asyncio.Event(), mute("claim_or_standing")
    async with asyncio.timeout(20):
        serving = asyncio.create_task(restarted.serve(stop))
        await asked.wait()
        state = _state(home)
        assert state.runner_id == "runner-1"
        assert (state.last_contact_at or "") > long_ago
        stop.set()
        await serving
    assert _state(home).draining


async def test_a_runner_that_drains_a_run_is_told_to_at_once(
    server: SimulatedServer, agent: Agent, home: RunnerHome, config: ForgeConfig, mute: Mute
) -> None:
    stop, hand_back, told = asyncio.Event(), asyncio.Event(), asyncio.Event()
    server.add(config)
    asked = mute("submit")
    tell = StateFile.tell

    def noted(file: StateFile, **changes: object) -> None:
        tell(file, **changes)
        if _state(home).draining:
            told.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StateFile, "tell", noted)
        patch.setattr(agents, "_TELL_SECONDS", 1000.0)
        async with asyncio.timeout(20):
            serving = asyncio.create_task(agent.serve(stop, hand_back=hand_back))
            await asked.wait()
            stop.set()
            await told.wait()
            assert not serving.done()
            hand_back.set()
            await serving


def _state(home: RunnerHome) -> RunnerState:
    state = read_state(home)
    assert state is not None
    return state


async def _until(server: SimulatedServer, true: Callable[[], bool]) -> None:
    while not true():
        server.turned.clear()
        await server.turned.wait()
