"""``up`` with a certificate of its own: the local runner and the local commands reach it, others do not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .certificates import self_signed
from .running_system import Up, edgeproof, printed, until, up

pytestmark = pytest.mark.slow


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    return self_signed(tmp_path, "127.0.0.1")


@pytest.fixture
def system(data_dir: Path, certificate: tuple[Path, Path]) -> Iterator[Up]:
    options = ("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
    with up(data_dir, *options) as started:
        yield started


def test_it_serves_https_and_the_local_runner_works(system: Up, certificate: tuple[Path, Path]) -> None:
    assert system.ready.url.startswith("https://127.0.0.1:")
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    health = httpx.get(f"{system.ready.url}/health", verify=trusted, trust_env=False)
    assert health.json()["server_key"] == system.ready.server_key
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{system.ready.url}/health", trust_env=False)
    with pytest.raises(httpx.TransportError):
        httpx.get(system.ready.url.replace("https", "http") + "/health", trust_env=False)

    def runners() -> list[object]:
        listed = edgeproof("fleet", "list", "--json", "--data-dir", str(system.data_dir))
        assert listed.returncode == 0, listed.stderr
        found: list[object] = printed(listed)["runners"]
        return found

    assert len(until(runners, "the local runner has registered")) == 1


def test_a_command_elsewhere_is_told_the_certificate_by_its_environment(
    system: Up, certificate: tuple[Path, Path]
) -> None:
    words = ("jobs", "list", "--json", "--server", system.address)
    token = system.credentials.user_token
    refused = edgeproof(*words, EDGEPROOF_TOKEN=token)
    assert refused.returncode == 1
    assert printed(refused)["code"] == "server_unreachable"
    answered = edgeproof(*words, EDGEPROOF_TOKEN=token, EDGEPROOF_CA_FILE=str(certificate[0]))
    assert answered.returncode == 0, answered
    assert printed(answered)["jobs"] == []
