"""A seccomp filter for confined stages: what namespaces leave open. Standard library only.

Path-based Unix sockets belong to no namespace: who can see the path can connect. So a stage makes sockets of
the Internet families (which its network namespace leads nowhere) and netlink's, and pairs of streams; no
other. ``io_uring`` could make sockets past this filter, and kernel keyrings are shared with the runner's
user: both are refused, too. Calls of a foreign architecture, whose numbers mean something else, end the
process.

The filter is classic BPF over ``struct seccomp_data`` (seccomp(2)); it stays through every exec.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import Final, NamedTuple

_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF_0000
_KILL: Final = 0x8000_0000
_REFUSE: Final = 0x0005_0000 | errno.EACCES
_ABSENT: Final = 0x0005_0000 | errno.ENOSYS

_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_AND: Final = 0x54
_RETURN: Final = 0x06

_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16
_SECOND_ARGUMENT: Final = 24
_X32: Final = 0x4000_0000
_TYPE_MASK: Final = 0xF
_IO_URING_SETUP: Final = 425
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, 16)  # 16: netlink, which Python names on Linux alone


class _Calls(NamedTuple):
    """Audit number of an architecture, and the numbers of its system calls."""

    architecture: int
    socket: int
    socketpair: int
    keys: tuple[int, int, int]


_CALLS: Final = {
    ("x86_64", 8): _Calls(0xC000_003E, 41, 53, (248, 249, 250)),
    ("aarch64", 8): _Calls(0xC000_00B7, 198, 199, (217, 218, 219)),
    ("armv7l", 4): _Calls(0x4000_0028, 281, 288, (309, 310, 311)),
    ("aarch64", 4): _Calls(0x4000_0028, 281, 288, (309, 310, 311)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install() -> None:
    """For this process and all that come of it; ``PR_SET_NO_NEW_PRIVS`` must be set.

    Raises ``OSError``: the kernel has no seccomp, or the architecture is not known here.
    """
    calls = _CALLS.get((os.uname().machine, struct.calcsize("P")))
    if calls is None:
        raise OSError(errno.ENOSYS, f"no system call filter for {os.uname().machine}")
    code = b"".join(_instructions(calls))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _instructions(calls: _Calls) -> list[bytes]:
    """Each test jumps over the one return that follows it, or meets it."""
    code = [_step(_LOAD, _ARCHITECTURE), *_unless(_EQUAL, calls.architecture, _KILL), _step(_LOAD, _NUMBER)]
    if calls.architecture == _CALLS["x86_64", 8].architecture:
        code += _when(_AT_LEAST, _X32, _KILL)
    code += _when(_EQUAL, _IO_URING_SETUP, _ABSENT)
    for number in calls.keys:
        code += _when(_EQUAL, number, _REFUSE)
    families = [_step(_LOAD, _FIRST_ARGUMENT)]
    for family in _FAMILIES:
        families += _when(_EQUAL, int(family), _ALLOW)
    families.append(_step(_RETURN, _REFUSE))
    code += [_step(_EQUAL, calls.socket, 0, len(families)), *families]
    pairs = [_step(_LOAD, _SECOND_ARGUMENT), _step(_AND, _TYPE_MASK)]
    pairs += [*_when(_EQUAL, int(socket.SOCK_STREAM), _ALLOW), _step(_RETURN, _REFUSE)]
    code += [_step(_EQUAL, calls.socketpair, 0, len(pairs)), *pairs]
    return [*code, _step(_RETURN, _ALLOW)]


def _when(test: int, value: int, result: int) -> list[bytes]:
    return [_step(test, value, 0, 1), _step(_RETURN, result)]


def _unless(test: int, value: int, result: int) -> list[bytes]:
    return [_step(test, value, 1, 0), _step(_RETURN, result)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
