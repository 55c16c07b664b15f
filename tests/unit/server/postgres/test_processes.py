"""A process is known by its start, and only that one is signalled."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from edgeproof.server.postgres.processes import identify, is_alive, send_signal


def test_ourselves() -> None:
    identity = identify(os.getpid())
    assert identity is not None
    assert identity == identify(os.getpid())
    assert is_alive(identity)


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_a_successor_of_the_pid_is_not_signalled(change: dict[str, str | int]) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = identify(process.pid)
        assert identity is not None
        other = replace(identity, **change)  # type: ignore[arg-type]
        assert not is_alive(other)
        send_signal(other, signal.SIGKILL)
        assert process.poll() is None
        send_signal(identity, signal.SIGKILL)
        assert process.wait(5) == -signal.SIGKILL
        assert not is_alive(identity)
        send_signal(identity, signal.SIGKILL)


def test_a_process_that_is_not_reaped_yet_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identify(process.pid) is None
