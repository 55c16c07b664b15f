"""Where a control plane is, and which key it must have: ``URL`` or ``URL#sha256:<hex>``."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

import httpx

from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import digest_of_uri


class ServerAddress(NamedTuple):
    """``url`` has no trailing slash; ``pinned_keyid`` is the hexadecimal SHA-256 of the server's key."""

    url: str
    pinned_keyid: str | None = None

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Raises ``Refused``: ``invalid_request``, or ``insecure_url`` for plain http off loopback."""
        plain, mark, pin = text.partition("#")
        try:
            url = httpx.URL(plain)
        except httpx.InvalidURL as error:
            raise Refused("invalid_request", f"{plain!r} is no URL: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise Refused("invalid_request", f"{plain!r} is no http or https URL")
        if url.userinfo or url.query:
            raise Refused("invalid_request", "a control plane's URL has no user and no query")
        if url.scheme == "http" and not is_loopback(url.host):
            raise Refused("insecure_url", f"{url.host} is not this machine: use https")
        keyid = digest_of_uri(pin)
        if mark and keyid is None:
            raise Refused("invalid_request", "what follows # is the server's key: sha256:<64 hex digits>")
        return cls(plain.rstrip("/"), keyid)

    @property
    def is_loopback(self) -> bool:
        return is_loopback(httpx.URL(self.url).host)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by name or by address. Nothing is looked up."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
