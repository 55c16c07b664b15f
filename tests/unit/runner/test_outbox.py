"""A signed result waits on disk until the control plane has answered for good."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from edgeproof.contract.runners import ClaimedRun, ClaimRequest
from edgeproof.contract.statements import ForgeConfig
from edgeproof.runner.delivery import Delivery
from edgeproof.runner.outbox import Outbox, PendingResult
from edgeproof.runner.session import Session
from edgeproof.testing.simulated_server import SimulatedServer

RESULT = PendingResult(run_id="../../run", attempt=3, lease_token="a" * 64, envelope='{"é": 1}')


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    Outbox(tmp_path).put(RESULT)
    assert list(Outbox(tmp_path).pending()) == [RESULT]
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_dropped_is_gone_and_may_be_dropped_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(RESULT)
    outbox.drop(RESULT.run_id)
    outbox.drop(RESULT.run_id)
    assert list(outbox.pending()) == []


DAMAGES = [b"", b"{", b"\xff", b"{}", b'{"run_id": "\xff"}', b'{"x": ' + b"[" * 100_000]


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_file_is_set_aside_and_stops_nobody(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(RESULT)
    (tmp_path / "0.json").write_bytes(damage)
    assert outbox.undelivered() == (RESULT.run_id,)
    assert list(outbox.pending()) == [RESULT]
    (line,) = caplog.messages
    assert line.startswith("0.json in the outbox is damaged and set aside: ")
    assert (tmp_path / "0.damaged").read_bytes() == damage


async def claim(server: SimulatedServer, session: Session, config: ForgeConfig) -> ClaimedRun:
    await session.open()
    server.add(config)
    claimed = await server.claim(ClaimRequest())
    assert claimed is not None
    return claimed


def result_of(claimed: ClaimedRun) -> PendingResult:
    return PendingResult(
        run_id=claimed.run_id, attempt=claimed.attempt, lease_token=claimed.lease_token, envelope="{}"
    )


async def test_a_result_under_a_lost_lease_is_dropped(
    tmp_path: Path, server: SimulatedServer, session: Session, config: ForgeConfig
) -> None:
    claimed = await claim(server, session, config)
    run = server.runs[claimed.run_id]
    server.reap(run)
    outbox = Outbox(tmp_path)
    await Delivery(session, outbox).deliver(result_of(claimed), asyncio.Event())
    assert list(outbox.pending()) == []
    assert (run.submissions, run.failures) == (1, [])


async def test_a_refused_result_is_dropped_and_its_run_reported(
    tmp_path: Path, server: SimulatedServer, session: Session, config: ForgeConfig
) -> None:
    claimed = await claim(server, session, config)
    outbox = Outbox(tmp_path)
    await Delivery(session, outbox).deliver(result_of(claimed), asyncio.Event())
    assert list(outbox.pending()) == []
    run = server.runs[claimed.run_id]
    assert [(one.code, one.fault) for one in run.failures] == [("not_canonical", "infrastructure")]


async def test_a_result_that_cannot_be_delivered_stays(
    tmp_path: Path, server: SimulatedServer, session: Session, config: ForgeConfig
) -> None:
    claimed = await claim(server, session, config)
    outbox = Outbox(tmp_path)
    stop = asyncio.Event()
    stop.set()
    server.absent(1, "submit")
    await Delivery(session, outbox).deliver(result_of(claimed), stop)
    assert list(outbox.pending()) == [result_of(claimed)]
