"""A device that joins once and then starts without a word, behind a proxy, with one outbound HTTPS port."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .certificates import self_signed
from .connect_proxy import ConnectProxy
from .running_system import (
    EDGEPROOF,
    STOP_SECONDS,
    Up,
    demand_done_once,
    edgeproof,
    environment,
    free_port,
    measuring,
    printed,
    until,
    up,
)
from .tiny_models import TinyModels

pytestmark = pytest.mark.slow

HOST = "control.example"


@pytest.fixture
def behind() -> Iterator[ConnectProxy]:
    made = ConnectProxy({HOST: "127.0.0.1"})
    yield made
    made.close()


@pytest.fixture
def distant(data_dir: Path, tmp_path: Path) -> Iterator[Up]:
    """A control plane that has a name off loopback, which nobody here can resolve but the proxy."""
    certificate, key = self_signed(tmp_path, HOST, "127.0.0.1")
    port = free_port()
    options = ("--port", str(port), "--public-url", f"https://{HOST}:{port}", "--no-runner")
    with up(data_dir, *options, "--tls-cert", str(certificate), "--tls-key", str(key)) as started:
        yield started


def test_a_device_behind_a_proxy_joins_works_and_drains(
    distant: Up, behind: ConnectProxy, tmp_path: Path, models: TinyModels
) -> None:
    home, certificate = tmp_path / "home", str(tmp_path / "certificate.pem")
    port = int(distant.ready.url.rpartition(":")[2])
    near = {
        "EDGEPROOF_SERVER": f"https://127.0.0.1:{port}#{distant.ready.fingerprint}",
        "EDGEPROOF_CA_FILE": certificate,
        "EDGEPROOF_TOKEN": distant.credentials.admin_token,
    }
    enrolment = printed(edgeproof("runner", "enrol", "--json", **near))["token"]
    through = {"HTTPS_PROXY": behind.url, "EDGEPROOF_RUNNER_HOME": str(home)}

    words = ("runner", "join", distant.address, "--ca-file", certificate, "--json")
    joined = printed(edgeproof(*words, **through, EDGEPROOF_TOKEN=enrolment))
    assert joined["server"] == distant.address
    told = printed(edgeproof("runner", "status", "--json", **through))
    assert (told["runner_id"], told["server"]) == (joined["runner_id"], distant.address)
    assert (told["running"], told["run"], told["undelivered"]) == (False, None, [])

    near["EDGEPROOF_TOKEN"] = distant.credentials.user_token
    with subprocess.Popen(
        [*EDGEPROOF, "runner", "start", "--label", "site=lab"], env=environment(**through)
    ) as device:
        client = distant.client(near["EDGEPROOF_SERVER"])
        asked = {
            "preset": "source", "batch": 1, "threads": 1, "runs": 30,
            "baseline": {"model_path": client.upload(models.slow)},
        }  # fmt: skip
        job_id = client.analyze(models.quick, options=asked).job_id
        run = measuring(client, job_id)
        working = printed(edgeproof("runner", "status", "--json", **through))
        assert (working["running"], working["pid"]) == (True, device.pid)
        assert working["run"]["run_id"] == run.run_id
        # Asked to stop while it measures, it finishes first.
        device.send_signal(signal.SIGTERM)
        job = demand_done_once(client, job_id)
        assert {run.attempt for run in job.runs} == {1}
        assert device.wait(STOP_SECONDS) == 0
    (listed,) = printed(edgeproof("fleet", "list", "--json", **near))["runners"]
    assert listed["capabilities"]["labels"] == {"site": "lab"}
    assert set(behind.asked) == {f"CONNECT {HOST}:{port}"}


def test_a_second_signal_hands_the_run_back(system: Up, client, start_job, tmp_path: Path) -> None:
    """On the shared system, whose own runner then does it."""
    home = tmp_path / "home"
    enrolment = printed(edgeproof("runner", "enrol", "--json", "--data-dir", str(system.data_dir)))["token"]
    words = ("runner", "join", system.address, "--home", str(home), "--json")
    joined = printed(edgeproof(*words, EDGEPROOF_TOKEN=enrolment))
    with subprocess.Popen([*EDGEPROOF, "runner", "start", "--home", str(home)], env=environment()) as device:
        job_id = start_job(runner=joined["runner_id"])
        run = measuring(client, job_id)
        device.send_signal(signal.SIGTERM)

        def draining() -> bool:
            told = printed(edgeproof("runner", "status", "--json", "--home", str(home)))
            return bool(told["draining"])

        until(draining, "it drains")
        device.send_signal(signal.SIGTERM)
        assert device.wait(STOP_SECONDS) == 0
        again = next(one for one in client.job(job_id).view.runs if one.run_id == run.run_id)
        assert (again.state, again.attempt) == ("PENDING", 1)
    client.job(job_id).cancel()


def test_an_idle_runner_ends_also_when_the_control_plane_takes_its_call_and_says_nothing(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(STOP_SECONDS)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}#sha256:{'0' * 64}"
        words = ("runner", "start", address, "--home", str(tmp_path / "home"))
        with subprocess.Popen([*EDGEPROOF, *words], env=environment()) as device:
            connection, _ = silent.accept()
            with connection:
                device.send_signal(signal.SIGTERM)
                try:
                    assert device.wait(STOP_SECONDS) == 0
                finally:
                    device.kill()


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (("join", "http://127.0.0.1:9"), "fingerprint_required", 1),
        (("join", "http://127.0.0.1:9#sha256:12"), "invalid_request", 1),
        (("join", f"http://{HOST}#sha256:{'0' * 64}"), "insecure_url", 1),
        (("start",), "not_joined", 78),
        (("start", "http://127.0.0.1:9"), "fingerprint_required", 78),
        (("start", f"http://{HOST}#sha256:{'0' * 64}"), "insecure_url", 78),
        (("status",), "not_joined", 1),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, words: tuple[str, ...], code: str, status: int) -> None:
    refused = edgeproof("runner", *words, "--home", str(tmp_path / "home"))
    assert refused.returncode == status
    assert code in refused.stderr


def test_a_runner_without_an_enrolment_token_is_allowed_by_its_key(system: Up, tmp_path: Path) -> None:
    words = ("runner", "join", system.address, "--home", str(tmp_path / "home"), "--json")
    refused = edgeproof(*words)
    problem = json.loads(refused.stdout)
    assert (refused.returncode, problem["code"]) == (1, "key_not_allowed")
    told = printed(edgeproof("runner", "status", "--json", "--home", str(tmp_path / "home")))
    assert f"`edgeproof fleet keys add {told['public_key']}`" in problem["detail"]
    here = ("--json", "--data-dir", str(system.data_dir))
    assert edgeproof("fleet", "keys", "add", told["public_key"], *here).returncode == 0
    assert printed(edgeproof(*words))["key"] == told["key"]


def test_a_home_does_not_change_its_control_plane_by_mistake(system: Up, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    enrolment = printed(edgeproof("runner", "enrol", "--json", "--data-dir", str(system.data_dir)))["token"]
    assert edgeproof("runner", "join", system.address, "--home", home, "--token", enrolment).returncode == 0
    other = f"http://127.0.0.1:9#sha256:{'0' * 64}"
    refused = edgeproof("runner", "join", other, "--home", home)
    assert (refused.returncode, "conflict" in refused.stderr) == (1, True)
    assert printed(edgeproof("runner", "status", "--json", "--home", home))["server"] == system.address
    wrong = system.address[:-64] + "0" * 64
    refused = edgeproof("runner", "join", wrong, "--home", home, "--replace")
    assert (refused.returncode, "server_key_mismatch" in refused.stderr) == (1, True)
    assert printed(edgeproof("runner", "status", "--json", "--home", home))["server"] == system.address
