"""The agent against a control plane in memory, with real stages in real confined children."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import msgspec
import pytest

from edgeproof.contract.canonical import decode_canonical, sha256_hex
from edgeproof.contract.envelope import open_envelope
from edgeproof.contract.errors import Refused
from edgeproof.contract.runners import Isolation
from edgeproof.contract.samples import RawSamples
from edgeproof.contract.statements import BuildInternals, BuildStatement, MeasurementStatement
from edgeproof.runner.agent import Agent
from edgeproof.runner.state import read_state
from edgeproof.testing.simulated_server import DEFAULT_LIMITS, SimulatedRun


async def work(agent: Agent, stop: asyncio.Event, runs: int = 1) -> int:
    async with asyncio.timeout(60):
        return await agent.serve(stop, max_runs=runs)


def built(scene, run: SimulatedRun) -> BuildInternals:
    (envelope,) = run.envelopes
    payload = open_envelope(envelope, scene.home.signing_key().public)
    statement = decode_canonical(payload, BuildStatement, what="build")
    return statement.predicate.buildDefinition.internalParameters


@pytest.mark.parametrize("isolation", ["none", "rlimit", "namespaces"])
async def test_a_build_is_signed_uploaded_and_accepted(
    make_scene: Callable, best: Isolation, isolation: Isolation
) -> None:
    if isolation == "namespaces" and best != "namespaces":
        pytest.skip("this machine has no user namespaces")
    scene = make_scene(isolation)
    run = scene.server.add(scene.forge())
    assert await work(scene.agent(), scene.stop) == 1
    assert run.state == "COMPLETE"
    inside = built(scene, run)
    assert inside.isolation == isolation
    assert inside.cached is None
    assert run.uploads == {inside.manifest.artifact.sha256}
    assert list(scene.home.outbox.iterdir()) == []


async def test_a_second_identical_build_tells_of_the_first(scene) -> None:
    first, second = scene.server.add(scene.forge()), scene.server.add(scene.forge())
    await work(scene.agent(), scene.stop, runs=2)
    made, found = built(scene, first), built(scene, second)
    assert found.cached is not None
    assert found.cached.build_id == made.metadata.build.build_id
    assert found.cached.built_at == made.metadata.build.timestamp
    assert found.metadata.build == made.metadata.build
    assert second.uploads == first.uploads
    assert scene.server.calls.count("download") == 1


async def test_a_poisoned_cache_entry_is_built_again(scene) -> None:
    first = scene.server.add(scene.forge())
    await work(scene.agent(), scene.stop)
    (artifact,) = scene.home.builds.glob("*/*/artifact")
    artifact.write_bytes(b"poison")
    second = scene.server.add(scene.forge())
    await work(scene.agent(), scene.stop)
    assert built(scene, second).cached is None
    assert second.uploads == first.uploads


async def test_a_damaged_input_is_fetched_again(scene) -> None:
    scene.server.add(scene.forge())
    await work(scene.agent(), scene.stop)
    (scene.home.inputs / scene.source).write_bytes(b"damage")
    again = scene.server.add(scene.forge("source"))
    await work(scene.agent(), scene.stop)
    assert again.state == "COMPLETE"
    assert scene.server.calls.count("download") == 2


async def test_a_short_duet_is_measured_signed_and_accepted(scene) -> None:
    run = scene.server.add(scene.duet(looks=(2,)))
    await work(scene.agent(), scene.stop)
    assert run.failures == []
    (envelope,) = run.envelopes
    payload = open_envelope(envelope, scene.home.signing_key().public)
    measured = decode_canonical(payload, MeasurementStatement, what="measurement").predicate
    raw = decode_canonical(scene.server.artifacts[measured.raw_samples], RawSamples, what="samples")
    assert len(raw.pairs) == 2
    assert run.uploads == {measured.raw_samples, measured.raw_quality}


async def test_a_bad_model_fails_the_run_as_its_users_fault(scene) -> None:
    scene.source = scene.server.keep(b"this is no model")
    run = scene.server.add(scene.forge())
    await work(scene.agent(), scene.stop)
    (failure,) = run.failures
    assert (failure.code, failure.fault, failure.retryable) == ("model_not_onnx", "user", False)
    assert run.state == "FAILED"


async def test_a_missing_input_fails_the_run(scene) -> None:
    scene.source = sha256_hex(b"nobody has it")
    run = scene.server.add(scene.forge())
    await work(scene.agent(), scene.stop)
    assert [one.code for one in run.failures] == ["not_found"]


async def test_too_little_memory_is_said_to_be_that(scene) -> None:
    tight = msgspec.structs.replace(DEFAULT_LIMITS, max_memory_bytes=24 << 20)
    run = scene.server.add(scene.forge(), tight)
    await work(scene.agent(), scene.stop)
    assert [(one.code, one.retryable) for one in run.failures] == [("memory_limit", False)]


async def test_cancelling_ends_the_child_quickly(scene) -> None:
    run = scene.server.add(scene.duet())
    serving = asyncio.create_task(work(scene.agent(), scene.stop))
    async with asyncio.timeout(30):
        await scene.server.until_progress(run)
        scene.server.cancel(run)
        asked = time.monotonic()
        await scene.server.until(run, "CANCELLED")
        await serving
    assert time.monotonic() - asked < 10
    assert [one.code for one in run.failures] == ["cancelled"]
    assert run.submissions == 0


async def test_stopping_hands_the_run_back(scene) -> None:
    run = scene.server.add(scene.duet())
    serving = asyncio.create_task(work(scene.agent(), scene.stop))
    async with asyncio.timeout(30):
        await scene.server.until_progress(run)
        scene.stop.set()
        await serving
    assert [(one.code, one.retryable) for one in run.failures] == [("handed_back", True)]
    assert run.state == "PENDING"


async def test_draining_finishes_the_run_and_claims_no_other(scene) -> None:
    run, waiting = scene.server.add(scene.duet(looks=(3,))), scene.server.add(scene.forge())
    serving = asyncio.create_task(scene.agent().serve(scene.stop, hand_back=asyncio.Event()))
    async with asyncio.timeout(60):
        await scene.server.until_progress(run)
        scene.stop.set()
        assert await serving == 1
    assert run.state == "COMPLETE"
    assert (waiting.state, waiting.attempt) == ("PENDING", 0)


async def test_draining_ends_when_patience_does(scene) -> None:
    run, hand_back = scene.server.add(scene.duet()), asyncio.Event()
    serving = asyncio.create_task(scene.agent().serve(scene.stop, hand_back=hand_back))
    async with asyncio.timeout(60):
        await scene.server.until_progress(run)
        scene.stop.set()
        hand_back.set()
        await serving
    assert [one.code for one in run.failures] == ["handed_back"]
    assert run.state == "PENDING"


async def test_while_it_works_its_folder_tells_what_it_does(scene) -> None:
    run = scene.server.add(scene.duet())
    serving = asyncio.create_task(work(scene.agent(), scene.stop))
    async with asyncio.timeout(30):
        await scene.server.until_progress(run)
        state = read_state(scene.home)
        assert state is not None
        assert state.run is not None
        assert (state.run.run_id, state.run.attempt, state.pid) == (run.run_id, 1, os.getpid())
        scene.stop.set()
        await serving
    state = read_state(scene.home)
    assert state is not None
    assert (state.run, state.runs_done) == (None, 1)


async def test_stopping_while_nothing_is_to_be_done_is_quick(scene) -> None:
    serving = asyncio.create_task(scene.agent().serve(scene.stop))
    async with asyncio.timeout(10):
        while "claim" not in scene.server.calls:
            scene.server.turned.clear()
            await scene.server.turned.wait()
        scene.stop.set()
        assert await serving == 0


async def test_a_lost_lease_stops_the_work_and_submits_nothing(scene) -> None:
    run = scene.server.add(scene.duet())
    serving = asyncio.create_task(work(scene.agent(), scene.stop))
    async with asyncio.timeout(30):
        await scene.server.until_progress(run)
        scene.server.reap(run)
        run.state = "FAILED"
        await serving
    assert (run.submissions, run.failures) == (0, [])


async def test_an_absent_control_plane_does_not_stop_the_work(scene) -> None:
    run = scene.server.add(scene.forge())
    scene.server.absent(1000, "heartbeat")
    await work(scene.agent(), scene.stop)
    assert run.state == "COMPLETE"


async def test_the_tokens_end_does_not_end_the_lease(scene) -> None:
    run = scene.server.add(scene.duet(looks=(4,)))
    serving = asyncio.create_task(work(scene.agent(), scene.stop))
    async with asyncio.timeout(30):
        await scene.server.until_progress(run)
        scene.server.expire_token()
        await serving
    assert run.state == "COMPLETE"
    assert scene.server.calls.count("register") == 2


async def test_a_result_counts_under_a_lease_that_expired_but_was_not_reaped(scene) -> None:
    run = scene.server.add(scene.forge())
    scene.server.absent(1000, "heartbeat")
    scene.server.absent(1, "submit")
    serving = asyncio.create_task(work(scene.agent(), scene.stop))
    async with asyncio.timeout(30):
        while "submit" not in scene.server.calls:
            scene.server.turned.clear()
            await scene.server.turned.wait()
        scene.server.absent(0, "heartbeat")
        scene.server.expire(run)
        await serving
    assert run.state == "COMPLETE"


async def test_a_lost_reply_is_asked_again_with_the_same_bytes(scene) -> None:
    run = scene.server.add(scene.forge())
    scene.server.lose_replies(2, "submit")
    await work(scene.agent(), scene.stop)
    assert (run.state, run.submissions, len(run.envelopes)) == ("COMPLETE", 3, 1)


async def test_a_claim_whose_answer_was_lost_is_claimed_again(scene) -> None:
    run = scene.server.add(scene.forge())
    scene.server.lose_replies(1, "claim")
    await work(scene.agent(), scene.stop)
    assert (run.state, run.attempt) == ("COMPLETE", 2)


async def test_an_undelivered_result_survives_a_restart(scene) -> None:
    run = scene.server.add(scene.forge())
    scene.server.absent(1000, "submit")
    serving = asyncio.create_task(work(scene.agent(), scene.stop))
    async with asyncio.timeout(30):
        while "submit" not in scene.server.calls:
            scene.server.turned.clear()
            await scene.server.turned.wait()
        scene.stop.set()
        await serving
    (kept,) = scene.home.outbox.iterdir()
    envelope = msgspec.json.decode(kept.read_bytes())["envelope"].encode()
    assert run.failures == []

    scene.server.absent(0, "submit")
    stop = asyncio.Event()
    later = asyncio.create_task(scene.agent().serve(stop))
    async with asyncio.timeout(10):
        await scene.server.until(run, "COMPLETE")
        stop.set()
        await later
    assert run.envelopes == [envelope]
    assert list(scene.home.outbox.iterdir()) == []


async def test_of_two_attempts_only_one_is_stored(scene) -> None:
    """The first attempt's result comes out of the outbox after its lease is gone, and is dropped."""
    run = scene.server.add(scene.forge())
    scene.server.absent(1000, "submit")
    serving = asyncio.create_task(work(scene.agent(), scene.stop))
    async with asyncio.timeout(30):
        while "submit" not in scene.server.calls:
            scene.server.turned.clear()
            await scene.server.turned.wait()
        scene.stop.set()
        await serving
    scene.server.absent(0, "submit")
    scene.server.reap(run)
    assert run.state == "PENDING"
    await work(scene.agent(), asyncio.Event())
    assert (run.state, run.attempt, len(run.envelopes)) == ("COMPLETE", 2, 1)
    assert list(scene.home.outbox.iterdir()) == []


async def test_a_result_that_is_refused_fails_the_run_and_not_the_runner(scene) -> None:
    run = scene.server.add(scene.forge())
    scene.server.absent(1000, "submit")
    serving = asyncio.create_task(work(scene.agent(), scene.stop))
    async with asyncio.timeout(30):
        while "submit" not in scene.server.calls:
            scene.server.turned.clear()
            await scene.server.turned.wait()
        scene.stop.set()
        await serving
    run.uploads.clear()
    scene.server.absent(0, "submit")
    next_run = scene.server.add(scene.forge("source"))
    await work(scene.agent(), asyncio.Event())
    assert [one.code for one in run.failures] == ["artifact_missing"]
    assert next_run.state == "COMPLETE"


async def test_two_runners_do_not_share_a_home(scene) -> None:
    serving = asyncio.create_task(scene.agent().serve(scene.stop))
    async with asyncio.timeout(10):
        while "claim" not in scene.server.calls:
            scene.server.turned.clear()
            await scene.server.turned.wait()
        with pytest.raises(Refused) as caught:
            await scene.agent().serve(scene.stop)
        scene.stop.set()
        await serving
    assert caught.value.code == "already_running"


async def test_a_runner_below_the_demanded_isolation_refuses(make_scene: Callable) -> None:
    scene = make_scene("none")
    run = scene.server.add(msgspec.structs.replace(scene.duet(), min_isolation="rlimit"))
    await work(scene.agent(), scene.stop)
    assert [(one.code, one.fault) for one in run.failures] == [("isolation_unavailable", "device")]


async def test_a_noise_floor_that_cannot_be_noted_costs_no_measurement(scene) -> None:
    (scene.home.root / "noise.json").mkdir()
    run = scene.server.add(scene.duet(looks=(8,)))
    await work(scene.agent(), scene.stop)
    assert (run.state, run.failures) == ("COMPLETE", [])
