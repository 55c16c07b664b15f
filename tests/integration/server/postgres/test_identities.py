"""Whose processes and files these are: as root, as root without user namespaces, as an ordinary user."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from edgeproof.server.postgres import EmbeddedPostgres, PostgresDataDirUnusable

ServerPids = Callable[[Path], list[int]]
Eventually = Callable[[Callable[[], bool], float], Awaitable[bool]]
KeepBusy = Callable[[str], Awaitable[Awaitable[Any]]]
Start = Callable[..., Awaitable[Any]]

NOBODY = 65534
AS_NOBODY: dict[str, Any] = {
    "user": NOBODY,
    "group": NOBODY,
    "extra_groups": [],
    "cwd": "/",
    "env": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
}

# A root that may change its uid, as in a container, in a place where the kernel makes no more namespaces.
NO_NAMESPACES = (sys.executable, str(Path(__file__).with_name("without_namespaces.py")))

CONNECT = """
import asyncio, sys, asyncpg
async def main():
    await (await asyncpg.connect(dsn=sys.argv[1])).close()
try:
    asyncio.run(main())
except Exception as error:
    sys.exit(type(error).__name__)
"""


def _works(command: list[str], **how: Any) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, **how).returncode == 0
    except OSError:
        return False


def _python_of_nobody() -> str | None:
    """This interpreter may lie in root's home: then one of the same version that everybody can run."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin")):
        if python and os.geteuid() == 0 and _works([python, "-c", "import asyncpg, edgeproof"], **AS_NOBODY):
            return python
    return None


PYTHON = _python_of_nobody() or ""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
with_nobody = pytest.mark.skipif(not PYTHON, reason="no Python that another user can run, or not root")
without_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not _works([*NO_NAMESPACES, "true"]), reason="cannot forbid user namespaces here"
)


@pytest.fixture
def no_namespaces() -> Iterator[int]:
    """A process in one such place; a control plane started there can signal what its predecessor left."""
    with subprocess.Popen([*NO_NAMESPACES, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write(b"ready\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"ready\n"
        yield holder.pid
        holder.stdin.close()


def _connect_as_nobody(dsn: str) -> str:
    """The name of the error, empty when it connected."""
    command = [PYTHON, "-c", CONNECT, dsn]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, **AS_NOBODY
    )
    return done.stderr.strip()


@with_nobody
@pytest.mark.parametrize("name", ["data", "d" * 200])
async def test_another_user_cannot_connect_even_with_the_password(
    template: Path, open_folder: Path, name: str
) -> None:
    path = open_folder / name
    shutil.copytree(template, path)
    async with EmbeddedPostgres(path) as address:
        assert _connect_as_nobody(address.dsn()) == "PermissionError"
        # The password holds, too, should a folder ever be opened.
        folders = [address.socket_dir, *([path] if name == "data" else [])]
        for folder in folders:
            folder.chmod(0o755)
        (address.socket_dir / ".s.PGSQL.5432").chmod(0o777)
        assert _connect_as_nobody(address.dsn().replace(address.password, "x")) == "InvalidPasswordError"
        assert _connect_as_nobody(address.dsn()) == ""
        address.socket_dir.chmod(0o700)
    assert not address.socket_dir.exists()


@as_root
async def test_root_runs_it_in_a_user_namespace(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    await postgres.start()
    assert os.readlink(f"/proc/{postgres.pid}/ns/user") != os.readlink("/proc/self/ns/user")
    assert (data_dir / "cluster").stat().st_uid == 0
    await postgres.stop()


@with_nobody
async def test_an_ordinary_user(
    open_folder: Path, control_plane: Start, server_pids: ServerPids, eventually: Eventually
) -> None:
    home = open_folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    parent = await control_plane(home / "data", python=PYTHON, **AS_NOBODY)
    assert "dsn" in parent.said, parent.said
    connection = await asyncpg.connect(dsn=parent.said["dsn"])
    await connection.close()
    assert Path(f"/proc/{parent.said['pid']}").stat().st_uid == NOBODY
    parent.kill()
    assert await eventually(lambda: not server_pids(home), 10)
    # Root looks at the user's directory, and leaves it usable for its user.
    root = await control_plane(home / "data", "once")
    assert "dsn" in root.said, root.said
    assert root.process.wait(10) == 0
    again = await control_plane(home / "data", python=PYTHON, **AS_NOBODY)
    assert "dsn" in again.said, again.said


@without_namespaces
@pytest.mark.parametrize("weaker", [(), ("no-ptrace",)], ids=["privileged", "no ptrace"])
async def test_root_without_namespaces_uses_a_uid_of_its_own(
    open_folder: Path,
    control_plane: Start,
    server_pids: ServerPids,
    eventually: Eventually,
    keep_busy: KeepBusy,
    no_namespaces: int,
    weaker: tuple[str, ...],
) -> None:
    through = (*NO_NAMESPACES, "join", str(no_namespaces), *weaker)
    path = open_folder / "data"
    parent = await control_plane(path, through=through)
    assert "dsn" in parent.said, parent.said
    uid = (path / "cluster").stat().st_uid
    assert uid not in (0, NOBODY)
    assert Path(f"/proc/{parent.said['pid']}").stat().st_uid == uid
    assert stat.S_IMODE((path / "password").stat().st_mode) == 0o600
    assert (path / "password").stat().st_uid == 0
    assert not PYTHON or _connect_as_nobody(parent.said["dsn"]) == "PermissionError"
    query = await keep_busy(parent.said["dsn"])
    parent.process.send_signal(signal.SIGSTOP)
    os.kill(parent.said["pid"], signal.SIGKILL)
    parent.process.kill()
    again = await control_plane(path, through=through)
    assert "dsn" in again.said, again.said
    assert (path / "cluster").stat().st_uid == uid
    again.kill()
    assert await eventually(lambda: not server_pids(path), 10)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await query


@without_namespaces
async def test_without_namespaces_an_unreachable_directory_is_named_and_not_opened(
    control_plane: Start,
) -> None:
    with tempfile.TemporaryDirectory() as closed:
        parent = await control_plane(Path(closed) / "data", through=NO_NAMESPACES)
        assert parent.said["code"] == PostgresDataDirUnusable.code
        assert closed in parent.said["message"]
        assert stat.S_IMODE(Path(closed).stat().st_mode) == 0o700
