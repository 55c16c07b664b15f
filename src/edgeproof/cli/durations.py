"""Times at the command line, in the unit that an option's name has."""

from __future__ import annotations

import math
from typing import Any, Final

import click

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR


class Duration(click.FloatRange):
    """Between ``least`` and ``most`` of a ``unit``; in seconds for the program."""

    def __init__(self, least: float, most: float, unit: float = 1.0) -> None:
        super().__init__(least, most)
        self._unit = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        # It is neither below a range nor above it.
        if math.isnan(number):
            self.fail("nan is not a number", param, ctx)
        return number * self._unit
