"""The two bases of every message: unsigned wire structs and signed ones."""

from __future__ import annotations

import msgspec


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """An unsigned message. Unknown fields are ignored (DESIGN decision 17)."""


class Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of a signed payload. Unknown fields are refused (DESIGN decision 9)."""
