"""Identifiers and the small constrained texts that many messages share.

Ids of jobs and runs are text: compared, never parsed, never used as a path (DESIGN decision 19).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, NewType

from msgspec import Meta

JobId = NewType("JobId", str)
RunId = NewType("RunId", str)
RunnerId = NewType("RunnerId", str)
PrincipalId = NewType("PrincipalId", str)

# `(?![\s\S])` is the end of the text in both Python's and ECMA's dialect; `$` lets a newline pass in Python.
_END = r"(?![\s\S])"

IdText = Annotated[str, Meta(min_length=1, max_length=200, pattern=rf"^[A-Za-z0-9._-]+{_END}")]
"""An id as it arrives on the wire."""

Digest = Annotated[str, Meta(min_length=64, max_length=64, pattern=rf"^[0-9a-f]{{64}}{_END}")]
"""A SHA-256 in lower-case hexadecimal, without a prefix."""

ArtifactUri = Annotated[str, Meta(min_length=71, max_length=71, pattern=rf"^sha256:[0-9a-f]{{64}}{_END}")]
"""How a request names an uploaded artifact: ``sha256:<hex>``."""

UtcTime = Annotated[
    str, Meta(max_length=32, pattern=rf"^\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{{1,6}})?Z{_END}")
]
"""RFC 3339, UTC, with ``Z``."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=4000)]
LabelKey = Annotated[str, Meta(min_length=1, max_length=63, pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]*{_END}")]
LabelValue = Annotated[str, Meta(min_length=1, max_length=200, pattern=rf"^[ -~]+{_END}")]
"""What an operator says of a runner, ``site=lab``: key and value."""

Base64Key = Annotated[str, Meta(min_length=44, max_length=44)]
"""A raw Ed25519 public key (32 bytes), standard base64 with padding."""

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,200}\Z")
_URI: Final = re.compile(r"sha256:([0-9a-f]{64})\Z")


def is_id(text: str) -> bool:
    """Whether ``text`` may be the id of a job or run."""
    return _ID.match(text) is not None


def digest_of_uri(text: str) -> str | None:
    """The digest that ``sha256:<hex>`` names, or None when ``text`` is something else."""
    match = _URI.match(text)
    return match.group(1) if match else None
