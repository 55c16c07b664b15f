"""What ``edgeproof up`` is told of leases, attempts, quota, retention; what it refuses before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeproof.cli.up import up
from edgeproof.cli.use_cases import UpOptions


@dataclass
class Started:
    """The use case that the command calls."""

    token: str | None = None
    options: list[UpOptions] = field(default_factory=list)

    def up(self, options: UpOptions) -> None:
        self.options.append(options)


@pytest.fixture
def started() -> Started:
    return Started()


def run(started: Started, folder: Path, *words: str) -> Result:
    return CliRunner().invoke(up, ["--data-dir", str(folder), *words], obj=started)


def test_what_is_not_said_is_left_to_the_control_plane(started: Started, tmp_path: Path) -> None:
    assert run(started, tmp_path).exit_code == 0
    assert started.options == [UpOptions(data_dir=tmp_path)]


def test_leases_attempts_quota_and_retention_are_handed_on_in_seconds_and_bytes(
    started: Started, tmp_path: Path
) -> None:
    words = (
        *("--lease-seconds", "60", "--lease", "forge=120", "--lease", "runtime=300.5"),
        *("--upload-quota", "8GiB", "--keep-uploads-hours", "2", "--keep-events-days", "1.5"),
        *("--keep-idempotency-days", "3", "--quarantine-after", "0", "--max-attempts", "1"),
    )
    assert run(started, tmp_path, *words).exit_code == 0
    assert started.options == [
        UpOptions(
            data_dir=tmp_path,
            lease_seconds=60,
            stage_lease_seconds=(("forge", 120), ("runtime", 300.5)),
            quarantine_after=0,
            max_attempts=1,
            upload_quota_bytes=8 << 30,
            artifact_ttl_seconds=7200,
            events_kept_seconds=129_600,
            idempotency_kept_seconds=259_200,
        )
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--lease", "forge"), "is not STAGE=SECONDS"),
        (("--lease", "tune=60"), "stages: forge, runtime"),
        (("--lease", "=60"), "is not STAGE=SECONDS"),
        (("--lease", "forge="), "is not STAGE=SECONDS"),
        (("--lease", "forge=soon"), "'soon'"),
        (("--lease", "forge=0.5"), "0.5 is not in the range"),
        (("--lease", "forge=nan"), "not a number"),
        (("--lease", "forge=inf"), "not in the range"),
        (("--lease", "forge=1", "--lease", "forge=2"), "said twice"),
        (("--lease-seconds", "nan"), "not a number"),
        (("--lease-seconds", "0"), "not in the range"),
        (("--heartbeat-seconds", "nan"), "not a number"),
        (("--quarantine-after", "-1"), "not in the range"),
        (("--quarantine-after", "1.5"), "not a valid integer"),
        (("--max-attempts", "0"), "not in the range"),
        (("--max-attempts", "3000000000"), "not in the range"),
        (("--upload-quota", "64"), "is no size"),
        (("--keep-uploads-hours", "0.5"), "not in the range"),
        (("--keep-events-days", "0"), "not in the range"),
        (("--keep-events-days", "inf"), "not in the range"),
        (("--keep-idempotency-days", "-1"), "not in the range"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_that_names_the_option(
    started: Started, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    refused = run(started, tmp_path, *words)
    assert (refused.exit_code, started.options) == (2, [])
    assert told in refused.output
    assert words[0] in refused.output
