"""The committed ``--help`` texts are those of the command line, one file a command.

After a wanted change: ``python tests/contract/test_help.py``, and commit what it wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgeproof.cli.main import COMMANDS, cli

FOLDER = Path(__file__).parent / "help"
WIDTH = 100


def helps(
    command: click.Command = cli, name: str = "edgeproof", parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """File name and text of ``command`` and of all that are under it."""
    settings = command.context_settings
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, **settings)
    yield f"{context.command_path.replace(' ', '-')}.txt", command.get_help(context) + "\n"
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            below = command.get_command(context, sub)
            assert below is not None
            yield from helps(below, sub, context)


@pytest.mark.parametrize(("name", "text"), list(helps()), ids=[name for name, _ in helps()])
def test_the_committed_help_is_current(name: str, text: str) -> None:
    assert (FOLDER / name).read_text() == text, "run: python tests/contract/test_help.py"


def test_no_help_is_left_of_a_command_that_is_gone() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {name for name, _ in helps()}


def test_the_overview_says_what_each_command_says_of_itself() -> None:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help, name


if __name__ == "__main__":
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for file_name, content in helps():
        (FOLDER / file_name).write_text(content)
