"""Sizes at the command line: a number with its unit, ``24GiB`` or ``24GB``."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

import click

_SIZE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([KMGT])(i?)B", re.IGNORECASE | re.ASCII)
_POWER: Final = {"K": 1, "M": 2, "G": 3, "T": 4}
_MOST: Final = 1 << 50
"""What the contract allows of memory."""


def size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """In bytes. GB are powers of 1000 and GiB powers of 1024; a bare number is refused, as nobody can tell
    which was meant."""
    if value is None:
        return None
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is no size: say 24GiB, 24GB or 512MiB", context, parameter)
    number, unit, binary = match.groups()
    found = int(Fraction(number) * (1024 if binary else 1000) ** _POWER[unit.upper()])
    if not 1 <= found <= _MOST:
        raise click.BadParameter(f"{value!r} is not between 1 byte and 1024TiB", context, parameter)
    return found
