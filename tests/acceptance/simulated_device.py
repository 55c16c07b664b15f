"""A device whose agent is the real one and whose work is simulated: a run takes a fraction of a second."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from edgeproof.client import Client
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.state import read_state
from edgeproof.testing.simulated_runner import RunnerProcess
from edgeproof.testing.weather import Chances

from .running_system import STOP_SECONDS, Up, edgeproof, environment, printed, until


class Device:
    """``start`` it as often as it was killed. ``config`` may be replaced between."""

    def __init__(self, config: RunnerProcess, more: Mapping[str, str]) -> None:
        self.config = config
        self.home = RunnerHome(Path(config.home))
        self.process: subprocess.Popen[bytes] | None = None
        self._more = dict(more)

    def start(self) -> None:
        command = [sys.executable, "-m", "edgeproof.testing.simulated_runner"]
        with self.home.root.with_name(f"{self.home.root.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, msgspec.json.encode(self.config).decode()],
                stderr=log,
                env=environment(**self._more),
            )

    @property
    def runner_id(self) -> str:
        """Once it has registered."""

        def told() -> str | None:
            state = read_state(self.home)
            return state.runner_id if state is not None else None

        return until(told, "the device has registered")

    @property
    def last_contact(self) -> str | None:
        state = read_state(self.home)
        return state.last_contact_at if state is not None else None

    def dial(self, url: str) -> None:
        """From its next start, another way to the same control plane."""
        self.config = msgspec.structs.replace(self.config, servers=(url,))

    @property
    def outbox(self) -> list[Path]:
        return list(self.home.outbox.iterdir())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def again(self) -> None:
        self.kill()
        self.start()


@contextlib.contextmanager
def device(
    system: Up, home: Path, *, chances: Chances | None = None, step_seconds: float = 0.05, **more: str
) -> Iterator[Device]:
    """Enrolled, not started; stopped on leaving. ``more`` is for its environment."""
    enrolment = edgeproof("runner", "enrol", "--json", "--data-dir", str(system.data_dir))
    made = Device(
        RunnerProcess(
            address=system.address,
            servers=(system.ready.url,),
            home=str(home),
            token=printed(enrolment)["token"],
            journal=str(home.with_name(f"{home.name}.journal")),
            parent_pid=os.getpid(),
            seed=1,
            chances=chances or Chances(),
            step_seconds=step_seconds,
        ),
        more,
    )
    try:
        yield made
    finally:
        if made.process is not None:
            made.stop()


def queue(client: Client, tmp_path: Path, **options: object) -> str:
    """A job that a simulated device can do; its id."""
    model, data = tmp_path / "model.onnx", tmp_path / "data.npz"
    model.write_bytes(b"a model")
    data.write_bytes(b"a data set")
    asked = {"dataset": client.upload(data), "threads": 1, **options}
    return client.analyze(model, options=asked).job_id
