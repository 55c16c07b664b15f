"""A run's work on a full disk: once more without the caches, where that frees something."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import StageFailed
from edgeproof.contract.statements import JobSpecStatement, open_statement
from edgeproof.runner.attest import Attestor
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.work import do_work
from edgeproof.testing.evidence import make_evidence


class Full:
    """Finds the disk full at every fetch."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.targets: list[Path] = []

    async def fetch(self, digest: str, path: Path) -> None:
        self.targets.append(path)
        raise self.error


@pytest.fixture
def attestor(key: SigningKey) -> Attestor:
    evidence = make_evidence()
    (digest, *_) = (one.digest for one in evidence.evidence if one.kind == "job-spec")
    spec = open_statement(
        evidence.documents[digest], evidence.control_plane.public, JobSpecStatement, what="spec"
    )
    return Attestor(key=key, spec=spec.predicate, job_spec=digest, boot_id="boot", isolation="namespaces")


FULL = [
    StageFailed("disk_full", fault="device", retryable=True),
    OSError(errno.ENOSPC, "full"),
    OSError(errno.EDQUOT, "full"),
]


@pytest.mark.parametrize("error", FULL, ids=str)
@pytest.mark.parametrize("cache", ["inputs", "builds"])
async def test_it_is_tried_once_more_without_what_is_kept(
    attestor: Attestor, home: RunnerHome, cache: str, error: Exception
) -> None:
    (home.root / cache / "kept").mkdir()
    workspace, full = home.new_workspace(), Full(error)
    (workspace / "half").write_bytes(b"left of the first")
    with pytest.raises(type(error)):
        await do_work(attestor, home, workspace, full.fetch, lambda _: None)
    assert [path.parent for path in full.targets] == [home.inputs, workspace]
    assert [*home.inputs.iterdir(), *home.builds.iterdir(), *workspace.iterdir()] == []


@pytest.mark.parametrize("error", FULL, ids=str)
async def test_with_nothing_kept_it_is_said_at_once(
    attestor: Attestor, home: RunnerHome, error: Exception
) -> None:
    full = Full(error)
    with pytest.raises(type(error)):
        await do_work(attestor, home, home.new_workspace(), full.fetch, lambda _: None)
    assert len(full.targets) == 1


async def test_other_trouble_leaves_the_caches_alone(attestor: Attestor, home: RunnerHome) -> None:
    (home.inputs / sha256_hex(b"kept")).write_bytes(b"kept")
    full = Full(StageFailed("not_found"))
    with pytest.raises(StageFailed):
        await do_work(attestor, home, home.new_workspace(), full.fetch, lambda _: None)
    assert (len(full.targets), len(list(home.inputs.iterdir()))) == (1, 1)
