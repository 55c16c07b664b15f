"""Labels at the command line, as an operator says them and as a user asks for them."""

from __future__ import annotations

import click
import pytest

from edgeproof.cli.labels import own_labels, wanted_labels
from edgeproof.contract.runners import MAX_LABELS

OPTION = click.Option(["--label"])
CONTEXT = click.Context(click.Command("start"))


def test_a_runners_labels_are_pairs() -> None:
    told = own_labels(CONTEXT, OPTION, ("site=lab", "note=a=b, c"))
    assert told == (("site", "lab"), ("note", "a=b, c"))


def test_a_runners_label_has_one_value() -> None:
    with pytest.raises(click.BadParameter, match="one value"):
        own_labels(CONTEXT, OPTION, ("site=lab", "site=roof"))


def test_a_runner_has_so_many_labels_and_no_more() -> None:
    most = tuple(f"k{number}=v" for number in range(MAX_LABELS))
    assert len(own_labels(CONTEXT, OPTION, most)) == MAX_LABELS
    with pytest.raises(click.BadParameter, match="65 labels; 64 are allowed"):
        own_labels(CONTEXT, OPTION, (*most, "one=more"))


def test_of_a_wanted_label_any_of_the_values_will_do() -> None:
    wanted = wanted_labels(CONTEXT, OPTION, ("site=lab", "board=b2", "site=roof"))
    assert wanted == {"site": ["lab", "roof"], "board": ["b2"]}
    assert wanted_labels(CONTEXT, OPTION, ()) is None


@pytest.mark.parametrize(
    "text", ["site", "=lab", "site=", "a b=c", "-a=b", "site=a\n", "sité=lab", f"{'k' * 64}=v"]
)
@pytest.mark.parametrize("read", [own_labels, wanted_labels])
def test_what_is_no_label_is_refused(read: object, text: str) -> None:
    assert callable(read)
    with pytest.raises(click.BadParameter, match="is not KEY=VALUE"):
        read(CONTEXT, OPTION, (text,))
