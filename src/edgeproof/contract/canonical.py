"""Canonical bytes: RFC 8785 JSON out, and a strict way back in.

``decode_canonical`` accepts a document only if it is, byte for byte, the encoding of what it parses
to: this alone excludes duplicate keys, unknown fields, odd white space and odd number spellings.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import msgspec
import rfc8785

from edgeproof.contract.errors import Refused

T = TypeVar("T")


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a struct or of plain JSON values.

    Raises ``ValueError`` for numbers that JSON cannot carry (NaN, infinities, beyond 2**53).
    """
    try:
        return rfc8785.dumps(msgspec.to_builtins(value))
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"not canonically encodable: {error}") from error


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical bytes."""
    return sha256_hex(canonical(value))


def decode_canonical(data: bytes, type_: type[T], *, what: str) -> T:
    """Parse ``data`` as ``type_``, demanding canonical bytes. Raises ``Refused`` (``not_canonical``)."""
    try:
        value = msgspec.json.decode(data, type=type_)
        same = canonical(value) == data
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused("not_canonical", f"{what}: {error}") from error
    if not same:
        raise Refused("not_canonical", f"{what}: the bytes are not the canonical encoding of their content")
    return value


def round6(value: float) -> float:
    """``value`` to 6 significant digits, as every float in a signed payload is kept (DESIGN 9)."""
    return float(f"{value:.6g}")
