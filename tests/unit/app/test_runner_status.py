"""What ``runner status`` tells of a runner's folder, and the remedy for a key that is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeproof.app.runner import telling_the_key
from edgeproof.app.runner_status import runner_status
from edgeproof.cli.device import status
from edgeproof.cli.use_cases import RunnerStatusReport
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.state import StateFile


@dataclass
class Told:
    """The use case that the command calls."""

    report: RunnerStatusReport

    def runner_status(self, home: Path) -> RunnerStatusReport:
        return self.report


def test_it_tells_the_public_key_as_the_allowlist_takes_it(tmp_path: Path) -> None:
    home = RunnerHome(tmp_path)
    key = home.signing_key().public
    with home.sole_owner():
        StateFile(home.state, "none").tell(runs_done=1)
        report = runner_status(tmp_path)
    assert (report.key, report.public_key) == (key.fingerprint, key.base64)
    text = CliRunner().invoke(status, ["--home", str(tmp_path)], obj=Told(report)).stdout
    assert [line for line in text.splitlines() if line == f"public key   {key.base64}"]


def test_it_makes_nothing(tmp_path: Path) -> None:
    home = RunnerHome(tmp_path)
    home.signing_key()
    for folder in (home.outbox, home.inputs, home.builds, home.work):
        folder.rmdir()
    report = runner_status(tmp_path)
    assert (report.undelivered, report.cache_bytes) == ((), 0)
    assert list(tmp_path.iterdir()) == [home.key]


def test_a_damaged_key_is_told(tmp_path: Path) -> None:
    RunnerHome(tmp_path).key.write_bytes(b"")
    with pytest.raises(Refused) as refused:
        runner_status(tmp_path)
    assert refused.value.code == "runner_key_damaged"


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    RunnerHome(tmp_path).signing_key()
    (tmp_path / "joined.json").mkdir()
    with pytest.raises(Refused, match=r"Is a directory: .*joined\.json") as refused:
        runner_status(tmp_path)
    assert refused.value.code == "home_unusable"


@pytest.mark.parametrize(
    ("standing", "shown"),
    [
        (None, "not told yet"),
        ("active", "active"),
        ("quarantined", "quarantined, until `edgeproof fleet release runner-1`"),
    ],
)
def test_it_tells_what_the_control_plane_said_of_the_runner(
    tmp_path: Path, standing: str | None, shown: str
) -> None:
    home = RunnerHome(tmp_path)
    home.signing_key()
    with home.sole_owner():
        StateFile(home.state, "none").tell(runner_id="runner-1", standing=standing)
        report = runner_status(tmp_path)
    assert report.standing == standing
    text = CliRunner().invoke(status, ["--home", str(tmp_path)], obj=Told(report)).stdout
    assert f"standing     {shown}" in text.splitlines()


def test_a_refused_key_is_named_with_what_an_admin_does_about_it() -> None:
    key = SigningKey.generate().public
    with pytest.raises(Refused, match="not on the allowlist") as refused, telling_the_key(key):
        raise Refused("key_not_allowed")
    assert refused.value.code == "key_not_allowed"
    assert f"`edgeproof fleet keys add {key.base64}`" in refused.value.detail


def test_any_other_refusal_stays_as_it_is() -> None:
    told = Refused("server_key_mismatch")
    with pytest.raises(Refused) as refused, telling_the_key(SigningKey.generate().public):
        raise told
    assert refused.value is told
