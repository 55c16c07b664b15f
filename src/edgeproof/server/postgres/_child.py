"""Runs one command as a child that dies with its parent, under another identity where one is asked for.

Executed as a script (``python -I -S _child.py SPEC COMMAND…``), with the standard library only. In order:
wait for one byte on stdin (the parent has written down who we are; end of file means that it died), change
identity, tie our life to the parent's, become the command.

On Linux the tie is ``PR_SET_PDEATHSIG``, set last: every change of credentials clears it. It fires when the
*thread* that forked us ends, so we are started from the thread that runs the event loop. Elsewhere this
process stays, and ends the command once stdin reports end of file.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

PARENT_GONE = 120
IDENTITY_REFUSED = 121
UNREACHABLE = 122

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def _fail(status: int, message: str) -> NoReturn:
    os.write(2, f"edgeproof: {message}\n".encode())
    os._exit(status)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _enter_namespace(inside_uid: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if _libc().unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{inside_uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _tie_to_parent(death_signal: int) -> None:
    if _libc().prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        _fail(IDENTITY_REFUSED, "cannot tie this process to its parent")


def _take_identity(spec: dict[str, Any]) -> None:
    try:
        if spec["namespace_uid"] is not None:
            _enter_namespace(spec["namespace_uid"])
        elif spec["uid"] is not None:
            os.setgroups([])
            os.setresgid(spec["gid"], spec["gid"], spec["gid"])
            os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    except OSError as error:
        _fail(IDENTITY_REFUSED, f"cannot change identity: {error}")


def _watch_over(command: list[str], death_signal: int) -> NoReturn:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def forward(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    def end_with_parent() -> None:
        while os.read(0, 1):
            pass
        child.send_signal(death_signal)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, forward)
    threading.Thread(target=end_with_parent, daemon=True).start()
    status = child.wait()
    os._exit(status if status >= 0 else 128 - status)


def main() -> NoReturn:
    spec: dict[str, Any] = json.loads(sys.argv[1])
    command = sys.argv[2:]
    if not os.read(0, 1):
        _fail(PARENT_GONE, "the parent ended before it let us start")
    os.umask(0o077)
    _take_identity(spec)
    for path in spec["reach"]:
        if not os.access(path, os.X_OK):
            _fail(UNREACHABLE, f"uid {spec['uid'] or os.getuid()} cannot reach {path}")
    if not spec["death_signal_by_kernel"]:
        _watch_over(command, spec["death_signal"])
    _tie_to_parent(spec["death_signal"])
    if os.getppid() != spec["parent"]:
        _fail(PARENT_GONE, "the parent ended before it let us start")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
