"""Requirement classes in the database: which exist, and which runner fits which (DESIGN decision 5).

Matching happens when a class, a runner's capabilities or its key are new, never at a claim; so a release that
changes ``fits`` matches all anew as it migrates. A class that nothing waits in may rest
(``resting_classes``): it is matched to nobody, and again as if it were new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from edgeproof.contract.runners import Capabilities, Needs
from edgeproof.domain.requirements import class_digest, fits, normalise
from edgeproof.server.db.database import Connection, lock
from edgeproof.server.db.notifier import notify
from edgeproof.server.db.turns import EVERYBODY, RUNS_CHANNEL

# Without it, a class and a runner that are new at the same moment would not see each other. It comes after
# runners' rows, but its holder refers to runners: before it, none may be locked stronger than NO KEY UPDATE.
CLASSES_LOCK: Final = "requirement-classes"
# Locked against being laid to rest before the run that needs it is there; its foreign key asks for no less.
_FIND_CLASS: Final = """
SELECT class_id FROM requirement_classes WHERE digest = $1 AND NOT resting FOR KEY SHARE
"""
_FIND_CLASSES: Final = """
SELECT digest, class_id FROM requirement_classes WHERE digest = ANY($1::text[]) AND NOT resting FOR KEY SHARE
"""
_MAKE_OR_WAKE: Final = """
INSERT INTO requirement_classes (digest, needs) VALUES ($1, $2)
ON CONFLICT (digest) DO UPDATE SET resting = false RETURNING class_id
"""
_AWAKE: Final = "SELECT class_id, needs FROM requirement_classes WHERE NOT resting"
_RUNNERS: Final = "SELECT runner_id, capabilities FROM good_runners"
_UNMATCH: Final = "DELETE FROM runner_classes WHERE class_id = $1"
_FITTING = "INSERT INTO runner_classes (runner_id, class_id) SELECT unnest($1::text[]), $2"
_FITS = "INSERT INTO runner_classes (runner_id, class_id) SELECT $1, unnest($2::int[])"

_GOOD_RUNNER = "SELECT capabilities FROM good_runners WHERE runner_id = $1"


async def classes_of(connection: Connection, all_needs: Sequence[Needs]) -> list[int]:
    """The id of the class of each, as ``class_of``, in one question when none is new."""
    digests = [class_digest(needs) for needs in all_needs]
    known = {row["digest"]: row["class_id"] for row in await connection.fetch(_FIND_CLASSES, digests)}
    for digest, needs in zip(digests, all_needs, strict=True):
        if digest not in known:
            known[digest] = await class_of(connection, needs)
    return [known[digest] for digest in digests]


async def class_of(connection: Connection, needs: Needs) -> int:
    """The id of the class of ``needs``, for a run that is added in the same transaction. A class that is new,
    or rested, is matched against every known runner."""
    digest = class_digest(needs)
    class_id: int | None = await connection.fetchval(_FIND_CLASS, digest)
    if class_id is not None:
        return class_id
    await lock(connection, CLASSES_LOCK)
    class_id = await connection.fetchval(_FIND_CLASS, digest)
    if class_id is not None:
        return class_id
    made: int = await connection.fetchval(_MAKE_OR_WAKE, digest, normalise(needs))
    await match_class(connection, made, needs)
    return made


async def match_class(connection: Connection, class_id: int, needs: Needs) -> None:
    """Match a class that no runner was matched to. The caller holds ``CLASSES_LOCK``."""
    fitting = [
        row["runner_id"]
        for row in await connection.fetch(_RUNNERS)
        if fits(needs, msgspec.convert(row["capabilities"], Capabilities))
    ]
    # A control plane of a release before classes rested matches runners to those that rest, too.
    await connection.execute(_UNMATCH, class_id)
    await connection.execute(_FITTING, fitting, class_id)
    # Who waits does not know of the class yet.
    await notify(connection, RUNS_CHANNEL, EVERYBODY)


async def match_runner_classes(connection: Connection, runner_id: str, capabilities: Capabilities) -> None:
    """Replace the classes that a runner fits. The caller has stored ``capabilities`` in this transaction."""
    await lock(connection, CLASSES_LOCK)
    classes = await connection.fetch(_AWAKE)
    fitting = [row["class_id"] for row in classes if fits(msgspec.convert(row["needs"], Needs), capabilities)]
    await connection.execute("DELETE FROM runner_classes WHERE runner_id = $1", runner_id)
    await connection.execute(_FITS, runner_id, fitting)


async def match_registered_runner(connection: Connection, runner_id: str) -> None:
    """Match a runner anew after its keys changed: without a good one it fits no class, and finds no work."""
    capabilities = await connection.fetchval(_GOOD_RUNNER, runner_id)
    if capabilities is not None:
        await match_runner_classes(connection, runner_id, msgspec.convert(capabilities, Capabilities))
        return
    await lock(connection, CLASSES_LOCK)
    await connection.execute("DELETE FROM runner_classes WHERE runner_id = $1", runner_id)
