"""Puts this process under limits and, if asked, into namespaces, then becomes the command it was given.

Run as ``python -m edgeproof.runner.confine '<json Confinement>' command…``. Standard library only, so
that it starts fast and can do nothing else. Levels (DESIGN decision 13):

- ``none``: dies with its parent, no more.
- ``rlimit``: bounds on data memory, file size, open files and core dumps.
- ``namespaces``: also its own user, network (without any interface up), process, IPC and mount
  namespace, with the runner's folder hidden but for the workspace.

Linux only beyond ``rlimit``; the mount work follows mount_namespaces(7) and user_namespaces(7): mounts
inherited by a less privileged namespace are locked, so what is hidden stays hidden.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final, TypedDict

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
_PR_SET_NO_NEW_PRIVS: Final = 38
_INSIDE_UID: Final = 1000

FAILED_EXIT: Final = 125
"""Exit status when the confinement itself could not be made."""


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
    command = sys.argv[2:]
    try:
        _die_with_parent(confinement["parent"])
        if confinement["level"] != "none":
            _limit(confinement)
        if confinement["level"] == "namespaces":
            _enter_namespaces(confinement)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        os.chdir(confinement["workspace"])
    except OSError as error:
        sys.stderr.write(f"confinement failed: {error}\n")
        raise SystemExit(FAILED_EXIT) from error
    os.execv(command[0], command)  # noqa: S606 - the command is the runner's own, without a shell


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        raise SystemExit(FAILED_EXIT)


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


def _enter_namespaces(confinement: Confinement) -> None:
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWIPC)
    Path("/proc/self/setgroups").write_text("deny")
    # Not mapped to root inside: so the exec below drops every capability in the namespace.
    Path("/proc/self/uid_map").write_text(f"{_INSIDE_UID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{_INSIDE_UID} {gid} 1")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _hide(Path(confinement["hide"]), Path(confinement["workspace"]))
    child = os.fork()
    if child:
        _wait_as(child)
    # First process of its namespace: when it or the waiting process above dies, all in it die.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV)


def _hide(folder: Path, workspace: Path) -> None:
    descriptor = os.open(workspace, os.O_PATH | os.O_DIRECTORY)
    _mount("tmpfs", str(folder), "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    workspace.mkdir(parents=True)
    _mount(f"/proc/self/fd/{descriptor}", str(workspace), None, _MS_BIND)
    os.close(descriptor)


def _wait_as(child: int) -> None:
    """Wait for ``child`` and end as it ended, so that the runner sees its signal or status."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.signal(number, signal.SIG_DFL) if number not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
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
