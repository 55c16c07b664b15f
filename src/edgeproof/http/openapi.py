"""``python -m edgeproof.http.openapi`` prints the OpenAPI 3.1 description that the repository keeps."""

from __future__ import annotations

import json
import sys
from typing import Any

from litestar.datastructures import State

from edgeproof.http.application import assemble
from edgeproof.http.body_guard import BodyLimits


def description() -> dict[str, Any]:
    """The description as plain JSON values. Needs no control plane."""
    schema: dict[str, Any] = assemble(State(), BodyLimits()).openapi_schema.to_schema()
    return schema


def text() -> str:
    """The description as it is committed: sorted, indented, with a final newline."""
    return json.dumps(description(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
