"""JSON on standard output."""

from __future__ import annotations

from typing import Any

import click
import msgspec


def echo_json(value: Any) -> None:
    """One indented JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
