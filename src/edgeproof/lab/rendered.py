"""The comparison in words for people, as Markdown and as an HTML fragment, from a decision's predicate.

The texts inside may come from a model's or a runner's names, so both forms escape them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.contract.statements import DecisionStatement
from edgeproof.lab.guard.item import is_note
from edgeproof.lab.percentiles import bare_words
from edgeproof.lab.reasons import accuracy_words, agreement_words, certificate_words, conditions_words

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def rendered(told: DecisionStatement) -> dict[str, str]:
    """``{markdown, html}`` of the decision, its reasons and the comparison."""
    facts = {
        "decision": told.deployment_decision,
        "comparison": told.comparison,
        "guard": told.guard_analysis,
    }
    return {
        "markdown": template("comparison.md.j2").render(facts),
        "html": template("comparison.html.j2").render(facts),
    }


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("edgeproof.lab"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        md=escape_markdown,
        ms=milliseconds,
        percent=percent,
        label=label,
        bytes=byte_size,
        short=short,
        figure=figure,
        accuracy=accuracy_words,
        agreement=agreement_words,
        certificate=certificate_words,
        bare=bare_words,
        conditions=conditions_words,
        standing=standing,
    )
    return environment


def template(name: str) -> Any:
    """A packaged template; ``*.html.j2`` ones escape what they are given."""
    return _environment().get_template(name)


def escape_markdown(text: object) -> str:
    """``text`` as one line that GitHub's Markdown shows as it is, also in a table cell."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def milliseconds(value: float) -> str:
    """Four significant digits: ``0.5120 ms``."""
    return f"{value:#.4g}".rstrip(".") + " ms"


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def label(name: str) -> str:
    """``review_required`` as people write it."""
    return "not decidable here" if name == "not_decidable" else name.replace("_", " ")


def standing(item: GuardEvidence) -> str:
    """A guard item's status; a note where it is for information only."""
    return "note" if is_note(item) else item.status


def byte_size(count: int) -> str:
    """``83.9 MB``, decimal units."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "B" else f"{count} B"
        size /= 1000
    return f"{size:.3g} GB"


def figure(value: float, unit: str) -> str:
    """A figure with its unit; of milliseconds and bytes as people write those."""
    if unit == "B":
        return byte_size(int(value))
    return milliseconds(value) if unit == "ms" else f"{value:.4g} {unit}"


def short(digest: str) -> str:
    """The first 12 digits, for where the whole digest stands elsewhere."""
    return digest[:12]
