"""Labels at the command line, ``site=lab``: said of a runner by its operator, asked for by a user."""

from __future__ import annotations

import re
from typing import Final

import click

from edgeproof.contract.runners import MAX_LABELS

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}=[ -~]{1,200}")


def own_labels(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """A runner's labels, each key once, no more than a runner may have."""
    pairs = _pairs(context, parameter, values)
    if len({key for key, _ in pairs}) < len(pairs):
        raise click.BadParameter("a label has one value", context, parameter)
    if len(pairs) > MAX_LABELS:
        raise click.BadParameter(f"{len(pairs)} labels; {MAX_LABELS} are allowed", context, parameter)
    return tuple(pairs)


def wanted_labels(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, list[str]] | None:
    """For each key the values of which any will do."""
    wanted: dict[str, list[str]] = {}
    for key, value in _pairs(context, parameter, values):
        wanted.setdefault(key, []).append(value)
    return wanted or None


def _pairs(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str, str]]:
    for value in values:
        if not _LABEL.fullmatch(value):
            raise click.BadParameter(f"{value!r} is not KEY=VALUE", context, parameter)
    return [(key, label) for key, _, label in (value.partition("=") for value in values)]
