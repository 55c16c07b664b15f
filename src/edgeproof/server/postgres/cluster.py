"""Makes a PostgreSQL cluster whole or not at all: initdb beside its place, then one rename.

Knows nothing of a running server, nor of our schema.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from pathlib import Path

from edgeproof.server.postgres.binaries import MAJOR_VERSION, PostgresBinaries
from edgeproof.server.postgres.child import NEVER_RAN, release, start_child
from edgeproof.server.postgres.data_folder import DataFolder
from edgeproof.server.postgres.errors import PostgresDataDirUnusable, PostgresInitFailed
from edgeproof.server.postgres.identity import Identity
from edgeproof.server.postgres.record import write_private

USER = "edgeproof"
DATABASE = "postgres"
_WORK_PREFIX = "cluster.initdb-"


def read_password(folder: DataFolder) -> str:
    """The role's password.

    Raises:
        PostgresDataDirUnusable: the file is gone or empty.
    """
    try:
        password = folder.password.read_text().strip()
    except OSError as error:
        raise PostgresDataDirUnusable(f"cannot read {folder.password}: {error}") from error
    if not password:
        raise PostgresDataDirUnusable(f"{folder.password} is empty")
    return password


def check_version(folder: DataFolder) -> None:
    """Refuse a cluster of another major version: its files are in another format.

    Raises:
        PostgresDataDirUnusable: another version, or no cluster at all under its name.
    """
    try:
        version = (folder.cluster / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise PostgresDataDirUnusable(f"{folder.cluster} is not a PostgreSQL cluster: {error}") from error
    if version != MAJOR_VERSION:
        raise PostgresDataDirUnusable(
            f"{folder.cluster} is of PostgreSQL {version}, not {MAJOR_VERSION}: move it by dump and restore"
        )


def give_cluster_to(folder: DataFolder, identity: Identity) -> None:
    """Under a uid of its own, the server must own its files and reach them."""
    if identity.uid is None or identity.gid is None:
        return
    if folder.path.stat().st_uid != identity.uid:
        folder.path.chmod(0o711)
    if folder.cluster.exists() and folder.cluster.stat().st_uid != identity.uid:
        _give(folder.cluster, identity.uid, identity.gid)


def _give(tree: Path, uid: int, gid: int) -> None:
    for path, _folders, files in os.walk(tree, topdown=False):
        for name in files:
            os.chown(Path(path) / name, uid, gid, follow_symlinks=False)
        os.chown(path, uid, gid, follow_symlinks=False)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def initialise(folder: DataFolder, binaries: PostgresBinaries, identity: Identity) -> None:
    """Make the cluster and its password; after a crash at any point, a second call does it again.

    Raises:
        PostgresInitFailed: initdb ended with an error, which the message quotes.
        PostgresDataDirUnusable: the server's identity cannot reach the directory.
    """
    for unfinished in folder.path.glob(f"{_WORK_PREFIX}*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    work = folder.path / f"{_WORK_PREFIX}{secrets.token_hex(4)}"
    work.mkdir(mode=0o700)
    try:
        password = secrets.token_urlsafe(32)
        write_private(work / "password", password.encode() + b"\n")
        for_init = identity.for_init()
        if for_init.uid is not None and for_init.gid is not None:
            _give(work, for_init.uid, for_init.gid)
        await _run_initdb(work, binaries, for_init)
        if identity.uid is not None and identity.gid is not None:
            _give(work / "data", identity.uid, identity.gid)
        write_private(folder.password, password.encode() + b"\n")
        _sync(work)
        (work / "data").rename(folder.cluster)
        _sync(folder.path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


async def _run_initdb(work: Path, binaries: PostgresBinaries, identity: Identity) -> None:
    command = [
        str(binaries.initdb),
        f"--pgdata={work / 'data'}",
        f"--username={USER}",
        f"--pwfile={work / 'password'}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        # The built-in locale sorts the same on every machine, whatever its C library.
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        "--data-checksums",
        "--no-instructions",
    ]
    with tempfile.TemporaryFile() as output:
        process = await start_child(
            command,
            identity=identity,
            death_signal=signal.SIGKILL,
            reach=[work, binaries.initdb],
            output=output,
        )
        try:
            release(process)
            status = await process.wait()
        except BaseException:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise
        finally:
            if process.stdin is not None:
                process.stdin.close()
        if status != 0:
            output.seek(0)
            said = output.read().decode(errors="replace").strip()[-2000:]
            kind = PostgresDataDirUnusable if status in NEVER_RAN else PostgresInitFailed
            raise kind(f"initdb ended with status {status}: {said}")
