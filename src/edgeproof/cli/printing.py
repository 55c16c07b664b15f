"""JSON on standard output, and others' words on a terminal."""

from __future__ import annotations

from typing import Any

import click
import msgspec


def echo_json(value: Any) -> None:
    """One indented JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def echo_lines(*lines: str, err: bool = False) -> None:
    """Each on one line, whoever's words are in it."""
    for line in lines:
        click.echo(on_one_line(line), err=err)


def on_one_line(text: str) -> str:
    """What somebody else sent, without what would steer a terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)
