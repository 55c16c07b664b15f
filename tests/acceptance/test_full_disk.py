"""The disk under all that the control plane keeps, its database's too, is full for a while: what was accepted
is done once, and what could not be kept was refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeproof.client import Client, RetryPolicy
from edgeproof.contract.errors import Unavailable
from edgeproof.testing.small_disk import can_mount

from .running_system import demand_done_once, until, up
from .simulated_device import device, queue

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_mount(), reason="needs a mount namespace"),
]


def fill(file: Path) -> None:
    """Take all room that there is."""
    try:
        with file.open("wb", buffering=0) as taken:
            while True:
                taken.write(bytes(1 << 16))
    except OSError:
        return


def test_what_was_accepted_before_the_disk_was_full_is_done_once(tmp_path: Path) -> None:
    options = ("--no-runner", "--lease-seconds", "10", "--heartbeat-seconds", "0.5")
    with up(tmp_path / "data", *options, disk="384m") as system, device(system, tmp_path / "home") as one:
        patient = system.client()
        accepted = [queue(patient, tmp_path) for _ in range(3)]
        model, data = (patient.upload(tmp_path / name) for name in ("model.onnx", "data.npz"))
        room = system.data_dir / "filler"
        fill(room)
        hasty = system.clients.enter_context(
            Client(system.address, token=system.credentials.user_token, retry=RetryPolicy(attempts=1))
        )

        def refused() -> bool:
            """Such a job is rows only: what fits on the pages that there are is still kept."""
            notes = os.urandom(2_000).hex()
            try:
                job = hasty.analyze(model, options={"dataset": data, "threads": 1}, notes=notes)
            except Unavailable:
                return True
            accepted.append(job.job_id)
            return False

        until(refused, "the database refused a job for want of room")
        one.start()
        room.unlink()
        for job_id in accepted:
            demand_done_once(patient, job_id)
        assert {job.job_id for job in patient.jobs(limit=200).jobs} == set(accepted)
        assert "No space left on device" in system.log.read_text() + postgres_log(system.data_dir)


def postgres_log(data_dir: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in (data_dir / "postgres").rglob("*.log"))
