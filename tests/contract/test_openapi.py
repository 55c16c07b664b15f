"""The committed OpenAPI description is the one that the code gives, and it is a good one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from edgeproof.contract.errors import CODES
from edgeproof.http.application import HANDLERS
from edgeproof.http.openapi import description, text

COMMITTED = Path(__file__).parents[2] / "openapi" / "control-plane.json"


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in description()["paths"].items()
        for method, operation in item.items()
    ]


def test_the_committed_description_is_current() -> None:
    assert COMMITTED.read_text() == text(), (
        "run: python -m edgeproof.http.openapi > openapi/control-plane.json"
    )


def test_every_operation_is_named_and_described_once() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids)) == len(HANDLERS)
    for path, method, operation in operations():
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        assert operation["tags"], (path, method)


def test_every_operation_answers_with_problems() -> None:
    for path, method, operation in operations():
        if path == "/health":
            continue
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            assert list(response["content"]) == ["application/problem+json"], (path, method, status)
            codes = [part for part in response["description"].split("`") if part in CODES]
            assert codes, (path, method, status)
            assert all(CODES[code].status == int(status) for code in codes), (path, method, status)


def test_a_token_is_demanded_everywhere_but_at_three_routes() -> None:
    assert description()["security"] == [{"bearer": []}]
    public = {path for path, _, operation in operations() if operation.get("security") == [{}]}
    assert public == {"/health", "/ready", "/api/runners/register"}


def test_bodies_are_described() -> None:
    without = {
        operation["operationId"]
        for _, method, operation in operations()
        if method in ("post", "put") and "requestBody" not in operation
    }
    assert without == {"cancelJob", "finishUpload", "requeueJob", "revokeWorker"}


def test_every_schema_is_a_json_schema() -> None:
    for name, schema in description()["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object", name


def test_it_is_openapi_3_1() -> None:
    assert json.loads(text())["openapi"].startswith("3.1.")
