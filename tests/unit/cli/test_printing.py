"""Others' words on a terminal."""

from __future__ import annotations

import pytest

from edgeproof.cli.exits import lines
from edgeproof.cli.printing import echo_lines
from edgeproof.contract.errors import FieldError, Refused


def test_a_line_stays_one_and_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    echo_lines("a\x1b[2K\r\nb\x9b\u2028\u202e\t", "zwölf → [x]")
    assert capsys.readouterr().out == "a?[2K??b????\nzwölf → [x]\n"


def test_an_error_is_a_line_and_one_for_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    field = FieldError(path="a\n", message="\rb")
    echo_lines(*lines(Refused("invalid_request", "no\x1b\nerror: fine", errors=(field,))), err=True)
    assert capsys.readouterr().err == "error: no??error: fine [invalid_request]\n  a?: ?b\n"
