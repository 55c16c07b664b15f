"""Sizes at the command line: with a unit, or refused."""

from __future__ import annotations

import click
import pytest

from edgeproof.cli.sizes import size

OPTION = click.Option(["--min-vram"])
CONTEXT = click.Context(click.Command("analyze"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("24GiB", 24 << 30),
        ("24GB", 24 * 10**9),
        ("24 gb", 24 * 10**9),
        (" 512MiB ", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("0.1kB", 100),
        ("1024TiB", 1 << 50),
    ],
)
def test_a_size_has_a_unit(text: str, found: int) -> None:
    assert size(CONTEXT, OPTION, text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "24G",
        "24Gi",
        "GiB",
        "-1GiB",
        "1e3GiB",
        "nan GiB",
        "0GiB",
        "0.0001kB",
        "1025TiB",
        "٢GiB",
        "1\u212ab",
    ],
)
def test_what_is_none_is_refused_in_words(text: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        size(CONTEXT, OPTION, text)
    assert refused.value.param is OPTION
    assert text in refused.value.message


def test_no_size_is_none() -> None:
    assert size(CONTEXT, OPTION, None) is None
