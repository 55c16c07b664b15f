"""What the environment says of proxies and certificates: httpx reads it, here it gets its name in errors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

import httpx

from edgeproof.contract.errors import Refused

_PROXIES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})
_CERTIFICATES: Final = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR"})


@contextlib.contextmanager
def settings_named() -> Iterator[None]:
    """Around the making of an httpx client. Raises ``Refused`` (``network_settings``) with the variables to
    look at."""
    try:
        yield
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise _refusal(_PROXIES, error) from error
    except OSError as error:
        raise _refusal(_CERTIFICATES, error) from error


def _refusal(names: frozenset[str], error: Exception) -> Refused:
    found = sorted(name for name in os.environ if name.upper() in names) or sorted(names)
    return Refused("network_settings", f"look at {', '.join(found)} in the environment: {error}")
