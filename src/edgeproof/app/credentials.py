"""The file by which commands on this machine find their control plane: ``credentials.json``, mode 0600.

``up`` writes it into its data folder; the CLI reads it when no server is named.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgeproof.cli.connection import Credentials, credentials_path, read_credentials
from edgeproof.contract.canonical import canonical
from edgeproof.contract.errors import Refused
from edgeproof.server.fleet.enrolment import create_enrolment_token
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.principals import authenticate, create_principal

ENROLMENT_FILE = "enrolment-token"
_ENROLMENT_SECONDS = 3600


async def ensure_credentials(plane: ControlPlane, data_dir: Path, ca_file: str | None) -> Credentials:
    """The folder's credentials, made anew where they are missing or the database does not know them."""
    known = read_credentials(data_dir)
    admin = known.admin_token if known else ""
    user = known.user_token if known else ""
    if not await _knows(plane, admin):
        admin = await create_principal(plane, "admin", "local admin")
    if not await _knows(plane, user):
        user = await create_principal(plane, "user", "local user")
    credentials = Credentials(
        url=plane.settings.public_url,
        server_key=plane.keys.signing.public.base64,
        admin_token=admin,
        user_token=user,
        ca_file=ca_file,
    )
    _write_private(credentials_path(data_dir), canonical(credentials))
    return credentials


async def write_enrolment_token(plane: ControlPlane, data_dir: Path, admin_token: str) -> None:
    """A token for this machine's own runner, good for one key and one hour."""
    admin: Principal = await authenticate(plane, admin_token)
    token = await create_enrolment_token(plane, admin, 1, _ENROLMENT_SECONDS)
    _write_private(data_dir / ENROLMENT_FILE, token.encode())


def drop_enrolment_token(data_dir: Path) -> None:
    """What an earlier start left for a runner that this one has not."""
    (data_dir / ENROLMENT_FILE).unlink(missing_ok=True)


async def _knows(plane: ControlPlane, token: str) -> bool:
    try:
        await authenticate(plane, token)
    except Refused:
        return False
    return True


def _write_private(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".part")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
