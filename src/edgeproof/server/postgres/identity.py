"""Which operating system identity PostgreSQL runs under; it refuses to be root.

An ordinary user runs it as themselves. Root runs it in a user namespace, where root's own files belong to
a uid that is not 0; or, where namespaces are forbidden (many containers), under a uid that nobody else has.
A directory that belongs to a user keeps that user, also when root starts it. Changes no file.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

import psutil

# Outside every range that Linux distributions and systemd hand out (systemd's UIDS-GIDS document).
_OWN_UIDS = range(60706, 61184)


@dataclass(frozen=True, slots=True)
class Identity:
    """At most one of ``namespace_uid`` (our uid, under another name) and ``uid`` is set; neither: ourselves.

    ``initdb`` insists on a uid with a passwd entry, which a uid of its own lacks: ``init_uid`` has one.
    """

    namespace_uid: int | None = None
    uid: int | None = None
    gid: int | None = None
    init_uid: int | None = None
    init_gid: int | None = None

    def for_init(self) -> Identity:
        """The identity that ``initdb`` runs under."""
        return self if self.init_uid is None else Identity(uid=self.init_uid, gid=self.init_gid)


def _named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _stand_in() -> pwd.struct_passwd | None:
    others = [entry for entry in pwd.getpwall() if entry.pw_uid not in (0, os.geteuid())]
    return min(others, key=lambda entry: (entry.pw_name != "nobody", entry.pw_uid), default=None)


def _unused_uid() -> int:
    running = set()
    for pid in psutil.pids():
        try:
            running.update(psutil.Process(pid).uids())
        except psutil.Error:
            continue
    return next(uid for uid in _OWN_UIDS if uid not in running and not _named(uid))


def needs_another_name() -> bool:
    """Whether PostgreSQL would refuse to run, or ``initdb`` to find a name, for our uid as it is."""
    return os.geteuid() == 0 or not _named(os.geteuid())


def namespace_identity() -> Identity | None:
    """Our own uid under another name, in a user namespace; whether the kernel allows it is not known here."""
    stand_in = _stand_in()
    return None if stand_in is None else Identity(namespace_uid=stand_in.pw_uid)


def account_identity(owner: int) -> Identity:
    """The uid ``owner``, or when that is 0 a uid that nobody has. Only root can take it."""
    uid = owner or _unused_uid()
    if _named(uid):
        return Identity(uid=uid, gid=pwd.getpwuid(uid).pw_gid)
    stand_in = _stand_in()
    if stand_in is None:
        return Identity(uid=uid, gid=uid)
    return Identity(uid=uid, gid=uid, init_uid=stand_in.pw_uid, init_gid=stand_in.pw_gid)


def choose_identity(data_dir: Path, cluster: Path, *, namespaces: bool) -> Identity:
    """Choose for an existing ``data_dir``; ``namespaces`` says whether the kernel lets us make one."""
    namespace = namespace_identity() if namespaces else None
    if os.geteuid() != 0:
        # initdb wants a name for its uid; a container's arbitrary uid has none.
        return Identity() if _named(os.geteuid()) or namespace is None else namespace
    owner = (cluster if cluster.exists() else data_dir).stat().st_uid
    if owner == 0 and namespace is not None:
        return namespace
    return account_identity(owner)
