"""A proxy or certificates that cannot be used are refused with the variable that names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.errors import Refused


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:21"),
        ("https_proxy", "http://127.0.0.1:port"),
        ("SSL_CERT_FILE", "/nonexist"),
    ],
)
def test_the_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=f"look at {name} in the environment: ") as refused:
        ControlPlaneClient("https://control.example")
    assert refused.value.code == "network_settings"


def test_a_proxys_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://user:hidden@127.0.0.1:21")
    with pytest.raises(Refused) as refused:
        ControlPlaneClient("https://control.example")
    assert "hidden" not in refused.value.detail


async def test_loopback_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    await ControlPlaneClient("https://127.0.0.1").close()


def test_a_file_of_no_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(Refused, match=r"ca\.pem holds no certificates") as refused:
        ControlPlaneClient("https://control.example", ca_file=str(tmp_path / "ca.pem"))
    assert refused.value.code == "network_settings"
