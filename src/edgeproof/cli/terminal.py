"""The console of every command that prints with rich."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from edgeproof.cli.printing import on_one_line


class Terminal(Console):
    """Each string is one line, a table's cell too: others' words steer nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    def render_str(self, text: str, **style: Any) -> Text:
        return super().render_str(on_one_line(text), **style)
