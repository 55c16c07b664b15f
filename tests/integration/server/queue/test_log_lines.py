"""What the log says of leases, runners and keys, and that each line names what it is about."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.log_ids import present_ids
from edgeproof.contract.runners import RunnerStanding
from edgeproof.server.fleet.runner_keys import allow_key
from edgeproof.server.fleet.standing import quarantine_unfit, set_standing
from edgeproof.server.fleet.static_keys import keep_static_keys
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.queue.one_by_one import end_each
from edgeproof.server.queue.revoke import remove_key

from .conftest import Yard

Line = tuple[str, dict[str, str]]


class Heard(logging.Handler):
    """Every line's message, with the ids that were present when it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.getMessage(), dict(present_ids())))

    def ids(self, beginning: str) -> dict[str, str]:
        """Those of the one line that begins so; then it is forgotten."""
        (line,) = [line for line in self.lines if line[0].startswith(beginning)]
        self.lines.remove(line)
        return line[1]


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler, logger = Heard(), logging.getLogger("edgeproof.server")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


async def test_a_runs_lines_name_job_run_and_runner(yard: Yard, heard: Heard) -> None:
    await yard.analyze()
    held = await yard.one.take()
    ids = {"job_id": held.job_id, "run_id": held.run_id, "runner_id": str(yard.one.principal.runner_id)}
    assert heard.ids("lease granted") == ids
    await yard.one.work(held)
    assert heard.ids("result taken") == ids
    second = await yard.one.take()
    await yard.one.fail(second, retryable=True)
    assert heard.ids("lease ended by its runner") == {**ids, "run_id": second.run_id}


async def test_a_runners_and_its_keys_lines_name_the_runner(yard: Yard, heard: Heard) -> None:
    plane, runner_id = yard.plane, str(yard.one.principal.runner_id)
    admin = await authenticate(plane, await create_principal(plane, "admin", "operator"))
    said: dict[RunnerStanding, str] = {
        "draining": "runner drained",
        "quarantined": "runner quarantined",
        "active": "runner released",
    }
    for standing, beginning in said.items():
        await set_standing(plane, admin, runner_id, standing, "for a test")
        assert heard.ids(beginning) == {"runner_id": runner_id}
    await quarantine_unfit(plane, runner_id, "hot\nand loud")
    await quarantine_unfit(plane, runner_id, "said before")
    assert heard.ids(r"runner quarantined: it says that it is unfit: 'hot\nand loud'") == {
        "runner_id": runner_id
    }
    await yard.analyze()
    held = await yard.two.take()
    key, other = yard.two.key.public, {"runner_id": str(yard.two.principal.runner_id)}
    await remove_key(plane, admin, key)
    assert heard.ids(f"key {key.fingerprint} removed") == other
    assert heard.ids("lease ended: the key") == {**other, "job_id": held.job_id, "run_id": held.run_id}
    await allow_key(plane, admin, key)
    assert heard.ids(f"key {key.fingerprint} added") == other
    listed = SigningKey.generate().public
    await keep_static_keys(plane.database, [listed])
    assert heard.ids(f"key {listed.fingerprint} added by the static list") == {}
    await keep_static_keys(plane.database, [])
    assert heard.ids(f"key {listed.fingerprint} removed by the static list") == {}


async def test_trouble_with_one_lease_names_its_run(heard: Heard) -> None:
    async def end(run_id: str) -> bool:
        raise ValueError(run_id)

    assert await end_each(["run_1", "run_2"], end) == 0
    assert [ids for _, ids in heard.lines] == [{"run_id": "run_1"}, {"run_id": "run_2"}]
