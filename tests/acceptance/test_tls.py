"""``up`` with a certificate of its own: the local runner and the local commands reach it, others do not."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .running_system import Up, edgeproof, printed, until, up

pytestmark = pytest.mark.slow


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgeproof test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private


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
        listed = edgeproof("runner", "list", "--json", "--data-dir", str(system.data_dir))
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
