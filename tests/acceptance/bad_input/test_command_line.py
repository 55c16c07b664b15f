"""The same on the command line: the exit code of DESIGN 21, and one clear line with the code."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import SigningKey

from . import inputs
from .system import EDGEPROOF, System, environment


def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EDGEPROOF, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**variables),
        check=False,
    )


def demand_one_line(done: subprocess.CompletedProcess[str], code: str, status: int = 1) -> str:
    """One line on standard error, which ends in the code; nothing on standard output."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(f"[{code}]")
    return line


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(inputs.linear())
    return path


def test_wrong_usage(model: Path, tmp_path: Path) -> None:
    for arguments in (
        ("analyze", tmp_path / "missing.onnx"),
        ("analyze", tmp_path),
        ("analyze",),
        ("analyze", model, "--frobnicate"),
        ("analyze", model, "--batch", "0"),
        ("analyze", model, "--input-shape", "x"),
        ("analyze", model, "--dataset", tmp_path / "missing.npz"),
        ("frobnicate",),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (64, ""), arguments
        assert "Error: " in done.stderr
        assert "Traceback" not in done.stderr


def test_no_control_plane(model: Path, tmp_path: Path) -> None:
    line = demand_one_line(run("analyze", model, "--data-dir", tmp_path / "none"), "server_unreachable")
    assert "edgeproof up" in line


def test_a_control_plane_that_does_not_answer(model: Path) -> None:
    with socket.socket() as held:  # bound and not listening: every connection is refused
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        line = demand_one_line(run("analyze", model, "--server", url), "server_unreachable")
        assert url in line
        done = run("analyze", model, "--server", url, "--json")
    problem = json.loads(done.stdout)
    assert (done.returncode, problem["code"], problem["status"]) == (1, "server_unreachable", 503)


@pytest.mark.parametrize(
    ("server", "code"),
    [
        ("http://198.51.100.1", "insecure_url"),
        ("ftp://127.0.0.1", "invalid_request"),
        ("http://127.0.0.1#sha256:00", "invalid_request"),
    ],
)
def test_addresses(model: Path, server: str, code: str) -> None:
    demand_one_line(run("analyze", model, "--server", server), code)


def test_another_key_than_the_pinned_one(system: System, model: Path) -> None:
    """Nothing is sent to it."""
    model.write_bytes(inputs.linear(seed=99))
    digest = sha256_hex(model.read_bytes())
    pinned = f"{system.ready.url}#{SigningKey.generate().public.fingerprint}"
    token = system.credentials.user_token
    for arguments in (("analyze", model), ("jobs", "list"), ("jobs", "show", "some-job")):
        done = run(*arguments, "--server", pinned, "--token", token)
        assert system.ready.fingerprint in demand_one_line(done, "server_key_mismatch")
    assert not (system.data_dir / "artifacts" / "sha256" / digest[:2] / digest).exists()


def test_a_wrong_token(system: System, model: Path) -> None:
    demand_one_line(run("analyze", model, "--server", system.address, "--token", "no"), "unauthenticated")


def test_a_request_that_is_refused(system: System, model: Path) -> None:
    done = run("analyze", model, "--preset", "fastest", "--data-dir", system.data_dir)
    assert "int8_static" in demand_one_line(done, "unknown_preset")


def test_a_job_that_fails(system: System, tmp_path: Path) -> None:
    """The job is the answer, not an error of the command: it is shown, and the exit code is 1."""
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"This is no model.")
    done = run("analyze", bad, "--data-dir", system.data_dir)
    assert done.returncode == 1
    (line,) = [one for one in done.stdout.splitlines() if "failed" in one]
    assert line.endswith("[model_not_onnx]")
    shown = run("analyze", bad, "--data-dir", system.data_dir, "--json")
    job = json.loads(shown.stdout)
    assert (shown.returncode, job["status"], job["error"]["code"]) == (1, "failed", "model_not_onnx")


def test_a_job_that_is_not_there(system: System) -> None:
    for verb in ("show", "watch", "cancel"):
        demand_one_line(run("jobs", verb, "no-such-job", "--data-dir", system.data_dir), "not_found")


def test_a_folder_and_a_port_that_are_taken(system: System, tmp_path: Path) -> None:
    taken = run("up", "--data-dir", system.data_dir, "--port", "0")
    assert str(system.process.pid) in demand_one_line(taken, "already_running")
    port = system.ready.url.rpartition(":")[2]
    held = run("up", "--data-dir", tmp_path / "other", "--port", port)
    assert str(system.children()["server"]) in demand_one_line(held, "port_in_use")


def test_a_bind_that_needs_tls(tmp_path: Path) -> None:
    demand_one_line(run("up", "--data-dir", tmp_path / "other", "--host", "0.0.0.0"), "insecure_bind")


def test_a_runner_that_is_not_wanted(system: System, tmp_path: Path) -> None:
    home = ("--home", tmp_path / "home")
    demand_one_line(run("runner", "start", system.ready.url, *home), "fingerprint_required", 78)
    other = f"{system.ready.url}#{SigningKey.generate().public.fingerprint}"
    for address, token, code, status in (
        (other, "token", "server_key_mismatch", 1),
        (system.address, "wrong", "key_not_allowed", 78),
    ):
        done = run("runner", "start", address, *home, "--token", token, "--once")
        assert done.returncode == status
        assert done.stderr.splitlines()[-1].endswith(f"[{code}]")
        assert "Traceback" not in done.stderr
