"""Which control plane a command talks to, and as whom.

In this order: ``--server`` / ``EDGEPROOF_SERVER`` with ``--token`` / ``EDGEPROOF_TOKEN``; else the
credentials that ``edgeproof up`` left in its data folder, also where ``--server`` names that very URL.
``EDGEPROOF_CA_FILE`` names CA certificates to trust instead of the system's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgeproof.contract.base import Wire
from edgeproof.contract.errors import Refused

if TYPE_CHECKING:
    from edgeproof.client.transport import ControlPlaneClient


class Credentials(Wire, frozen=True, kw_only=True):
    """``credentials.json`` of a data folder; ``server_key`` is the raw public key, base64.

    ``ca_file`` holds the certificate of a server that ends TLS itself.
    """

    url: str
    server_key: str
    admin_token: str
    user_token: str
    ca_file: str | None = None


class Connection(Wire, frozen=True, kw_only=True):
    """``server`` is ``URL`` or ``URL#sha256:<key>``."""

    server: str
    token: str | None
    server_key: str | None = None
    ca_file: str | None = None

    def client(self, token: str | None = None) -> ControlPlaneClient:
        from edgeproof.client.transport import ControlPlaneClient

        return ControlPlaneClient(self.server, token=token or self.token, ca_file=self.ca_file)


def default_data_dir() -> Path:
    """``EDGEPROOF_DATA_DIR``, else ``edgeproof`` in the user's data folder (XDG)."""
    chosen = os.environ.get("EDGEPROOF_DATA_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "edgeproof"


def credentials_path(data_dir: Path) -> Path:
    return data_dir / "credentials.json"


def read_credentials(data_dir: Path) -> Credentials | None:
    try:
        return msgspec.json.decode(credentials_path(data_dir).read_bytes(), type=Credentials)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def connect(server: str | None, token: str | None, data_dir: Path, *, admin: bool = False) -> Connection:
    """Raises ``Refused`` (``server_unreachable``) when nothing says where the control plane is."""
    from edgeproof.contract.envelope import PublicKey

    ca_file = os.environ.get("EDGEPROOF_CA_FILE")
    known = read_credentials(data_dir)
    if server is not None and (token is not None or known is None or server.rstrip("/") != known.url):
        return Connection(server=server, token=token, ca_file=ca_file)
    if known is None:
        raise Refused(
            "server_unreachable",
            f"no control plane: start one with `edgeproof up`, or name one with --server "
            f"(looked in {credentials_path(data_dir)})",
        )
    key = PublicKey.from_base64(known.server_key)
    return Connection(
        server=f"{known.url}#{key.fingerprint}",
        token=token or (known.admin_token if admin else known.user_token),
        server_key=known.server_key,
        ca_file=ca_file or known.ca_file,
    )


def connect_pinned(
    server: str | None, token: str | None, data_dir: Path, *, admin: bool = False
) -> Connection:
    """As ``connect``, for what rests on the control plane's key: it is named with it, or known here.

    Raises ``Refused`` also with ``fingerprint_required``.
    """
    from edgeproof.client.address import ServerAddress
    from edgeproof.contract.envelope import PublicKey

    found = connect(server, token, data_dir, admin=admin)
    address, known = ServerAddress.parse(found.server), read_credentials(data_dir)
    if address.pinned_keyid is not None:
        return found
    if known is None or address.url != known.url:
        raise Refused(
            "fingerprint_required",
            "this rests on the control plane's key: name it too, URL#sha256:<key>, as `edgeproof up` prints",
        )
    key = PublicKey.from_base64(known.server_key)
    return msgspec.structs.replace(
        found, server=f"{known.url}#{key.fingerprint}", ca_file=found.ca_file or known.ca_file
    )
