"""Path parameters: an id that cannot exist is answered like one that does not."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar.params import PathParameter

from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import Digest, is_id

JobIdPath = Annotated[str, PathParameter(description="A job's id")]
RunIdPath = Annotated[str, PathParameter(description="A run's id")]
DigestPath = Annotated[str, PathParameter(description="A SHA-256 in lower-case hexadecimal")]


def known_id(text: str) -> str:
    """Raises ``Refused`` (``not_found``) for what is no id."""
    if not is_id(text):
        raise Refused("not_found")
    return text


def known_digest(text: str) -> str:
    """Raises ``Refused`` (``not_found``) for what is no digest."""
    try:
        return msgspec.convert(text, Digest)
    except msgspec.ValidationError as error:
        raise Refused("not_found") from error
