"""A signed result waits on disk until the control plane has answered for good."""

from __future__ import annotations

import asyncio
import shutil
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest

from edgeproof.contract.runners import ClaimedRun, ClaimRequest
from edgeproof.contract.statements import ForgeConfig
from edgeproof.runner.delivery import Delivery
from edgeproof.runner.outbox import Outbox, PendingResult
from edgeproof.runner.session import Session
from edgeproof.testing.simulated_server import SimulatedServer

RESULT = PendingResult(run_id="../../run", attempt=3, lease_token="a" * 64, envelope='{"é": 1}')


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    Outbox(tmp_path).put(RESULT, {})
    assert list(Outbox(tmp_path).pending()) == [RESULT]
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_dropped_is_gone_and_may_be_dropped_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(RESULT, {})
    outbox.drop(RESULT.run_id)
    outbox.drop(RESULT.run_id)
    assert list(outbox.pending()) == []


def kept(folder: Path) -> dict[str, bytes]:
    return {digest: path.read_bytes() for digest, path in Outbox(folder).files(RESULT.run_id).items()}


@pytest.mark.parametrize("links", [True, False])
def test_what_is_still_to_be_uploaded_is_kept_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    made = tmp_path / "workspace"
    made.mkdir()
    (made / "samples").write_bytes(b"samples")
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", Mock(side_effect=PermissionError))
    Outbox(tmp_path).put(RESULT, {"a" * 64: made / "samples"})
    shutil.rmtree(made)
    assert kept(tmp_path) == {"a" * 64: b"samples"}
    Outbox(tmp_path).tidy()
    assert kept(tmp_path) == {"a" * 64: b"samples"}
    Outbox(tmp_path).drop(RESULT.run_id)
    assert list(tmp_path.iterdir()) == []


def test_a_result_is_kept_with_all_that_it_names_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"")
    outbox = Outbox(tmp_path / "outbox")
    (tmp_path / "outbox").mkdir()
    with pytest.raises(FileNotFoundError):
        outbox.put(RESULT, {"a" * 64: tmp_path / "there", "b" * 64: tmp_path / "gone"})
    assert list((tmp_path / "outbox").iterdir()) == []


def test_files_whose_result_was_not_kept_any_more_are_removed(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    outbox = Outbox(tmp_path)
    outbox.put(RESULT, {"a" * 64: tmp_path / "data"})
    (path,) = tmp_path.glob("*.json")
    path.unlink()
    outbox.tidy()
    assert list(tmp_path.iterdir()) == [tmp_path / "data"]


DAMAGES = [b"", b"{", b"\xff", b"{}", b'{"run_id": "\xff"}', b'{"x": ' + b"[" * 100_000]


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_file_is_set_aside_and_stops_nobody(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(RESULT, {})
    (tmp_path / "0.json").write_bytes(damage)
    assert outbox.undelivered() == (RESULT.run_id,)
    assert list(outbox.pending()) == [RESULT]
    (line,) = caplog.messages
    assert line.startswith("0.json in the outbox is damaged and set aside: ")
    assert (tmp_path / "0.damaged").read_bytes() == damage


def test_a_folder_in_a_results_place_is_set_aside_or_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(RESULT, {})
    (tmp_path / "0.json").mkdir()
    (tmp_path / "1.json").mkdir()
    (tmp_path / "1.damaged").write_text("in the way")
    assert outbox.undelivered() == (RESULT.run_id,)
    assert list(outbox.pending()) == [RESULT]
    aside, passed = caplog.messages
    assert aside.startswith("0.json in the outbox is damaged and set aside: ")
    assert passed.startswith("1.json in the outbox is damaged and passed over: ")
    assert (tmp_path / "0.damaged").is_dir()
    assert outbox.undelivered() == (RESULT.run_id,)


def test_what_cannot_be_read_for_now_stays_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(RESULT, {})
    (tmp_path / "0.json").symlink_to("0.json")
    assert outbox.undelivered() == (RESULT.run_id,)
    assert list(outbox.pending()) == [RESULT]
    (line,) = caplog.messages
    assert line.startswith("0.json in the outbox cannot be read and is passed over: ")
    assert (tmp_path / "0.json").is_symlink()


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
    await Delivery(session, outbox).deliver(result_of(claimed), {}, asyncio.Event())
    assert list(outbox.pending()) == []
    assert (run.submissions, run.failures) == (1, [])


async def test_a_refused_result_is_dropped_and_its_run_reported(
    tmp_path: Path, server: SimulatedServer, session: Session, config: ForgeConfig
) -> None:
    claimed = await claim(server, session, config)
    outbox = Outbox(tmp_path)
    await Delivery(session, outbox).deliver(result_of(claimed), {}, asyncio.Event())
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
    await Delivery(session, outbox).deliver(result_of(claimed), {}, stop)
    assert list(outbox.pending()) == [result_of(claimed)]
