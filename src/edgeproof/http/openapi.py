"""``python -m edgeproof.http.openapi`` prints the OpenAPI 3.1 description that the repository keeps."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import msgspec
from litestar.datastructures import State

from edgeproof.contract.jobs import JobEvent
from edgeproof.contract.requests import AnalyzeOptions, AnalyzeRequest
from edgeproof.contract.worker import ForgeHandover, WorkerRuntimeResult
from edgeproof.http.application import assemble
from edgeproof.http.body_guard import BodyLimits
from edgeproof.http.description import openapi_config
from edgeproof.http.problems import PROBLEM_MEDIA_TYPE

UNSEEN: Final = (AnalyzeOptions, AnalyzeRequest, ForgeHandover, JobEvent, WorkerRuntimeResult)

# A path parameter that can be no id is answered like one that names nothing.
_NOT_FOUND: Final = {
    "description": "A problem with the code `not_found`",
    "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def description() -> dict[str, Any]:
    """The description as plain JSON values. Needs no control plane.

    Litestar sees neither what ``options`` holds nor what the events of a stream are, nor that ``AnalyzeBody``
    stands for either of two messages: those are added.
    """
    schema: dict[str, Any] = assemble(State(), BodyLimits(), openapi_config()).openapi_schema.to_schema()
    _, unseen = msgspec.json.schema_components(UNSEEN, ref_template="#/components/schemas/{name}")
    components = schema["components"]["schemas"]
    components.update({name: one for name, one in unseen.items() if name not in components})
    del components["AnalyzeBody"]
    for name in ("AnalyzeRequest", "ForgeHandover"):
        components[name]["properties"]["options"] = {"$ref": "#/components/schemas/AnalyzeOptions"}
    body = schema["paths"]["/api/analyze"]["post"]["requestBody"]["content"]["application/json"]
    body["schema"] = {
        "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("AnalyzeRequest", "ForgeHandover")]
    }
    for path, operations in schema["paths"].items():
        for operation in operations.values() if "{" in path else ():
            operation["responses"].setdefault("404", _NOT_FOUND)
    plain: dict[str, Any] = _without_ellipsis(schema)
    return plain


def _without_ellipsis(part: Any) -> Any:
    """Litestar takes the ``...`` of ``tuple[X, ...]`` for another type that an item may have."""
    if isinstance(part, list):
        return [_without_ellipsis(one) for one in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _without_ellipsis(value) for key, value in part.items()}
    match kept.get("items"):
        case {"oneOf": [item, {} as anything]} if not anything:
            kept["items"] = item
    return kept


def text() -> str:
    """The description as it is committed: sorted, indented, with a final newline."""
    return json.dumps(description(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
