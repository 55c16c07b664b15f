"""Times at the command line, in the unit that an option's name has."""

from __future__ import annotations

import math
from typing import Any, Final

import click

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR


class Duration(click.FloatRange):
    """Between ``least`` and ``most`` of a ``unit``, and finite; in seconds for the program."""

    def __init__(self, least: float, most: float | None = None, unit: float = 1.0) -> None:
        super().__init__(least, most)
        self._unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        # NaN is neither below a range nor above it.
        if not math.isfinite(number):
            self.fail(f"{number} is not a number to reckon with", param, ctx)
        return number * self._unit
