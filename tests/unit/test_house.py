"""The house rules that no other tool checks: sizes, names, what a file says of itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "edgeproof"
FILES = sorted(SOURCE.rglob("*.py"))
HARD_CAP, SOFT_CAP = 600, 400
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_commands_print_by_the_console_that_makes_others_words_safe() -> None:
    cli = [*(SOURCE / "cli").glob("*.py"), SOURCE / "app" / "demo.py"]
    assert [path.name for path in cli if "import Console" in path.read_text()] == ["terminal.py"]


def test_no_file_is_over_the_cap_and_nine_in_ten_are_small() -> None:
    sizes = {path: lines(path) for path in FILES}
    assert not {str(path.relative_to(SOURCE)): size for path, size in sizes.items() if size > HARD_CAP}
    assert sum(size <= SOFT_CAP for size in sizes.values()) >= 0.9 * len(sizes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_has_a_name_of_the_field_and_says_what_it_is_for(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(ast.parse(path.read_text())), "no module docstring"
