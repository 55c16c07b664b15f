"""Where a control plane may be dialled, and which key is pinned."""

from __future__ import annotations

import pytest

from edgeproof.client.address import ServerAddress, is_loopback
from edgeproof.contract.errors import Refused

PIN = "ab" * 32


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://127.0.0.1:8470", ServerAddress("http://127.0.0.1:8470")),
        ("http://localhost:8470/", ServerAddress("http://localhost:8470")),
        ("http://[::1]:8470", ServerAddress("http://[::1]:8470")),
        ("https://prove.example", ServerAddress("https://prove.example")),
        (f"https://prove.example#sha256:{PIN}", ServerAddress("https://prove.example", PIN)),
        (f"http://127.0.0.1:1/#sha256:{PIN}", ServerAddress("http://127.0.0.1:1", PIN)),
    ],
)
def test_parse(text: str, address: ServerAddress) -> None:
    assert ServerAddress.parse(text) == address


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("http://prove.example", "insecure_url"),
        ("http://10.0.0.1", "insecure_url"),
        ("http://127.0.0.1.example", "insecure_url"),
        ("http://localhost.example", "insecure_url"),
        ("ftp://localhost", "invalid_request"),
        ("localhost:8470", "invalid_request"),
        ("", "invalid_request"),
        ("http://", "invalid_request"),
        ("https://user:secret@prove.example", "invalid_request"),
        ("https://prove.example?x=1", "invalid_request"),
        ("https://prove.example#", "invalid_request"),
        (f"https://prove.example#{PIN}", "invalid_request"),
        (f"https://prove.example#sha256:{PIN.upper()}", "invalid_request"),
        (f"https://prove.example#sha256:{PIN}00", "invalid_request"),
    ],
)
def test_refused(text: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        ServerAddress.parse(text)
    assert caught.value.code == code


def test_loopback_is_decided_without_looking_up() -> None:
    assert all(map(is_loopback, ["localhost", "LOCALHOST.", "127.8.9.1", "::1", "[::1]"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "2130706433", "example", "192.168.0.1"]))
