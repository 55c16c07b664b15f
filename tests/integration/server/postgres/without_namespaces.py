"""Runs a command as a root that may change its uid, where the kernel makes no user namespace: a container.

``without_namespaces.py [join PID] [no-ptrace] COMMAND…``. The place is itself a user namespace, with all uids
mapped to themselves and a limit of 0 on further ones; ``join`` enters that of another process. With
``no-ptrace``, root lacks the right to look into other users' processes, too.
"""

import ctypes
import os
import sys

CLONE_NEWUSER = 0x10000000
PR_CAPBSET_DROP = 24
CAP_SYS_PTRACE = 19

libc = ctypes.CDLL(None)


def make_place() -> None:
    read, write = os.pipe()
    outside = os.fork()
    if outside == 0:
        os.close(write)
        os.read(read, 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{os.getppid()}/{name}", "w") as file:
                file.write("0 0 65536")
        os._exit(0)
    if libc.unshare(CLONE_NEWUSER) != 0:
        sys.exit("no user namespace to start from")
    os.write(write, b"\n")
    if os.waitpid(outside, 0)[1] != 0:
        sys.exit("cannot map uids")


def become_its_root() -> None:
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def main() -> None:
    command = sys.argv[1:]
    if command[0] == "join":
        with open(f"/proc/{command[1]}/ns/user") as place:
            if libc.setns(place.fileno(), CLONE_NEWUSER) != 0:
                sys.exit("cannot join")
        become_its_root()
        command = command[2:]
    else:
        make_place()
        become_its_root()
        with open("/proc/sys/user/max_user_namespaces", "w") as file:
            file.write("0")
    if command[0] == "no-ptrace":
        libc.prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0)
        command = command[1:]
    os.execvp(command[0], command)


main()
