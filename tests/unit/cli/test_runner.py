"""How ``runner start`` ends, so that a service manager knows whether another start may help."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeproof.cli.main import cli
from edgeproof.cli.use_cases import RunnerOptions
from edgeproof.contract.errors import EdgeproofError, Refused, Unavailable


class Ended:
    """The use case that the command calls; it ends at once, by ``error`` if there is one."""

    token: str | None = None

    def __init__(self, error: EdgeproofError | None) -> None:
        self._error = error

    def runner(self, options: RunnerOptions) -> int:
        if self._error is not None:
            raise self._error
        return 3


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (Refused("not_joined"), 78),
        (Refused("fingerprint_required"), 78),
        (Refused("insecure_url"), 78),
        (Refused("key_not_allowed"), 78),
        (Refused("home_unusable"), 78),
        (Refused("runner_key_damaged"), 78),
        (Refused("network_settings"), 78),
        (Refused("unknown_backend"), 64),
        (Refused("already_running"), 1),
        (Refused("server_key_mismatch"), 1),
        (Unavailable("server_unreachable"), 1),
    ],
)
def test_what_only_an_operator_can_mend_has_a_status_of_its_own(
    error: EdgeproofError | None, status: int, tmp_path: Path
) -> None:
    ended = CliRunner().invoke(cli, ["runner", "start", "--home", str(tmp_path)], obj=Ended(error))
    assert ended.exit_code == status
    assert error is None or f"[{error.code}]" in ended.stderr


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
def test_a_grace_is_a_length_of_time(seconds: str, tmp_path: Path) -> None:
    words = ["runner", "start", "--home", str(tmp_path), "--drain-seconds", seconds]
    ended = CliRunner().invoke(cli, words, obj=Ended(None))
    assert ended.exit_code == 64
    assert "--drain-seconds" in ended.stderr


def test_an_enrolment_lasts_a_length_of_time() -> None:
    ended = CliRunner().invoke(cli, ["runner", "enrol", "--hours", "nan"], obj=Ended(None))
    assert ended.exit_code == 64


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_token_file_that_cannot_be_read_is_wrong_usage(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    words = ["runner", "join", f"http://127.0.0.1:9#sha256:{'0' * 64}", "--token-file", str(file)]
    ended = CliRunner().invoke(cli, [*words, "--home", str(tmp_path / "home")], obj=Ended(None))
    assert ended.exit_code == 64
    assert str(file) in ended.stderr
