"""``python -m edgeproof.http.openapi`` prints the OpenAPI 3.1 description that the repository keeps."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import msgspec
from litestar.datastructures import State

from edgeproof.contract.jobs import JobEvent
from edgeproof.contract.requests import AnalyzeOptions
from edgeproof.http.application import assemble
from edgeproof.http.body_guard import BodyLimits

UNSEEN: Final = (AnalyzeOptions, JobEvent)


def description() -> dict[str, Any]:
    """The description as plain JSON values. Needs no control plane.

    Litestar sees neither what ``options`` holds nor what the events of a stream are: those are added.
    """
    schema: dict[str, Any] = assemble(State(), BodyLimits()).openapi_schema.to_schema()
    _, unseen = msgspec.json.schema_components(UNSEEN, ref_template="#/components/schemas/{name}")
    components = schema["components"]["schemas"]
    components.update({name: one for name, one in unseen.items() if name not in components})
    components["AnalyzeRequest"]["properties"]["options"] = {"$ref": "#/components/schemas/AnalyzeOptions"}
    return schema


def text() -> str:
    """The description as it is committed: sorted, indented, with a final newline."""
    return json.dumps(description(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
