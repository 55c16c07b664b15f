"""Puts a command under limits and, if asked, into namespaces, and leaves nothing of it behind.

Run as ``python -m edgeproof.runner.confine '<json Confinement>' command…``. Standard library only, so
that it starts fast and can do nothing else. Levels (DESIGN decision 13):

- ``none``: ends with the runner, no more.
- ``rlimit``: bounds on data memory, file size, open files and core dumps.
- ``namespaces``: also its own user, network (without any interface up), process, IPC and mount
  namespace, with the runner's folder hidden but for the workspace, ``/run`` hidden, all else read-only (on
  Linux 5.12 and later), a small ``/dev/shm`` of its own, and no Unix sockets (``syscall_filter``).

This process stays as the *keeper*: it ends as the command ended, and everything that the command started
ends before it. Asked to end (SIGTERM), or left by the runner, it ends the command first. Within
namespaces the kernel sees to all of that; elsewhere the command runs as our user, and what it does to the
keeper on purpose is not prevented.

Linux only beyond ``rlimit``; the mount work follows mount_namespaces(7) and user_namespaces(7): mounts
inherited by a less privileged namespace are locked, so what is hidden stays hidden.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, TypedDict

from edgeproof.runner import syscall_filter

_CLONE_NEWNS: Final = 0x0002_0000
_CLONE_NEWIPC: Final = 0x0800_0000
_CLONE_NEWUSER: Final = 0x1000_0000
_CLONE_NEWPID: Final = 0x2000_0000
_CLONE_NEWNET: Final = 0x4000_0000
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_INSIDE_UID: Final = 1000
_SOCKETS: Final = Path("/run")
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - covered, not used
_MOUNT_SETATTR: Final = 442
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 1

FAILED_EXIT: Final = 125
"""Exit status when the confinement itself could not be made; a command's own 125 is told as 1."""


class Confinement(TypedDict):
    """``hide`` is a folder hidden at level namespaces, all but ``workspace`` in it."""

    level: str
    workspace: str
    hide: str
    max_memory_bytes: int
    max_file_bytes: int
    parent: int


def main() -> None:
    confinement: Confinement = json.loads(sys.argv[1])
    try:
        _watch_parent(confinement)
        if confinement["level"] == "namespaces":
            _enter_namespaces(confinement)
    except OSError as error:
        _fail(str(error))
    keeper_alive, held = os.pipe()
    failed, failing = os.pipe()
    child = os.fork()
    if child:
        os.close(failing)
        _keep(child, failed)
    os.close(held)
    try:
        _become(confinement, sys.argv[2:], keeper_alive)
    except OSError as error:
        os.write(failing, str(error).encode())
    os._exit(FAILED_EXIT)


def _watch_parent(confinement: Confinement) -> None:
    """End with the runner: by the kernel's hand in namespaces, else by our own, command first."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        at_end = signal.SIGKILL if confinement["level"] == "namespaces" else signal.SIGTERM
        _prctl(_PR_SET_PDEATHSIG, at_end)
    if os.getppid() != confinement["parent"]:
        raise SystemExit(FAILED_EXIT)


def _enter_namespaces(confinement: Confinement) -> None:
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWIPC)
    Path("/proc/self/setgroups").write_text("deny")
    # Not mapped to root inside: so the command's exec drops every capability in the namespace.
    Path("/proc/self/uid_map").write_text(f"{_INSIDE_UID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{_INSIDE_UID} {gid} 1")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    workspace = Path(confinement["workspace"])
    descriptor = os.open(workspace, os.O_PATH | os.O_DIRECTORY)
    hidden = Path(confinement["hide"])
    if _holds_python(hidden):
        raise OSError(f"{hidden} holds this Python, so it cannot be hidden")
    if _SOCKETS.is_dir() and not _holds_python(_SOCKETS):
        _cover(_SOCKETS)
    if hidden.is_dir():
        _cover(hidden)
    workspace.mkdir(parents=True)
    _mount(f"/proc/self/fd/{descriptor}", str(workspace), None, _MS_BIND)
    os.close(descriptor)
    if _set_mounts(Path("/"), read_only=True):
        _set_mounts(workspace, read_only=False)
    if _SHARED_MEMORY.is_dir():
        _cover(_SHARED_MEMORY, "size=64m,mode=1777")


def _holds_python(folder: Path) -> bool:
    return any(Path(one).is_relative_to(folder) for one in (sys.executable, *sys.path))


def _cover(folder: Path, options: str = "size=1m,mode=0755") -> None:
    _mount("tmpfs", str(folder), "tmpfs", _MS_NOSUID | _MS_NODEV, options)


def _set_mounts(folder: Path, *, read_only: bool) -> bool:
    """Of everything under ``/``, or of one mount. False where the kernel cannot (before 5.12)."""
    recursive = _AT_RECURSIVE if folder == Path("/") else 0
    # struct mount_attr: set, clear, propagation, user namespace
    change = (_MOUNT_ATTR_RDONLY, 0, 0, 0) if read_only else (0, _MOUNT_ATTR_RDONLY, 0, 0)
    attributes = (ctypes.c_uint64 * 4)(*change)
    try:
        _call(
            "syscall",
            ctypes.c_long(_MOUNT_SETATTR),
            ctypes.c_long(_AT_FDCWD),
            ctypes.c_char_p(os.fsencode(folder)),
            ctypes.c_long(recursive),
            ctypes.byref(attributes),
            ctypes.c_long(ctypes.sizeof(attributes)),
        )
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return False
    return True


def _keep(child: int, failed: int) -> NoReturn:
    """Wait for ``child``, end all that it left behind, and end as it ended."""
    try:
        # Nothing to read once the command runs: its exec closes the other end.
        failure = os.read(failed, 4096).decode(errors="replace")
        _, status = os.waitpid(child, 0)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_descendants()
    if failure:
        _fail(failure)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError):  # SIGKILL needs no preparation and allows none
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    code = os.waitstatus_to_exitcode(status)
    os._exit(1 if code == FAILED_EXIT else code)


def _end_descendants() -> None:
    """Kill children until there are none: as their subreaper we inherit the orphans of those killed."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in _children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children() -> list[int]:
    ours = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # pid (name) state parent …, and a name may hold anything, brackets and spaces too
            if int(stat.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                ours.append(int(stat.parent.name))
    return ours


def _become(confinement: Confinement, command: list[str], keeper_alive: int) -> None:
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([keeper_alive], [], [], 0)[0]:
        raise ProcessLookupError("the keeper ended")
    if confinement["level"] == "namespaces":
        _call("unshare", _CLONE_NEWNS)  # the keeper still needs to see its own processes
        _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV)
    if confinement["level"] != "none":
        _limit(confinement)
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        if confinement["level"] == "namespaces":
            syscall_filter.install()
    os.chdir(confinement["workspace"])
    os.execv(command[0], command)  # noqa: S606 - the command is the runner's own, without a shell


def _limit(confinement: Confinement) -> None:
    for what, bound in (
        (resource.RLIMIT_DATA, confinement["max_memory_bytes"]),
        (resource.RLIMIT_FSIZE, confinement["max_file_bytes"]),
        (resource.RLIMIT_NOFILE, 1024),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(what, (allowed, allowed))


def _fail(reason: str) -> NoReturn:
    sys.stderr.write(f"confinement failed: {reason}\n")
    raise SystemExit(FAILED_EXIT)


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, value, 0, 0, 0)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    def encoded(text: str | None) -> bytes | None:
        return None if text is None else text.encode()

    _call("mount", encoded(source), encoded(target), encoded(kind), ctypes.c_ulong(flags), encoded(data))


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
