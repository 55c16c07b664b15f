"""The committed examples of requests and answers fit the committed description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgeproof.http.openapi import description

EXAMPLES = Path(__file__).parents[2] / "openapi" / "examples"
DESCRIPTION = description()
OPERATIONS = {
    operation["operationId"]: operation
    for operations in DESCRIPTION["paths"].values()
    for operation in operations.values()
}
FILES = sorted(EXAMPLES.glob("*.json"))


def validate(value: Any, part: dict[str, Any]) -> None:
    schema = part["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": DESCRIPTION["components"]}).validate(value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_fits(path: Path) -> None:
    operation, example = OPERATIONS[path.stem], json.loads(path.read_text())
    assert set(example) == {"request", "status", "answer"}
    if "requestBody" in operation:
        if "application/json" in operation["requestBody"]["content"]:
            validate(example["request"], operation["requestBody"])
    else:
        assert example["request"] is None
    validate(example["answer"], operation["responses"][str(example["status"])])


def test_a_spoilt_example_does_not() -> None:
    example = json.loads((EXAMPLES / "getJob.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        validate({**example["answer"], "status": "lost"}, OPERATIONS["getJob"]["responses"]["200"])


def test_what_users_and_workers_exchange_has_an_example() -> None:
    tags = {"jobs", "results", "queue", "policies"}
    shown = {
        name
        for name, operation in OPERATIONS.items()
        if tags & set(operation["tags"])
        and "application/json" in operation["responses"]["200"].get("content", {})
    }
    without = shown - {path.stem for path in FILES}
    assert without <= {"completeJobByHand"}, f"run: python -m tests.acceptance.record_examples ({without})"


def test_the_completed_job_shows_a_decision() -> None:
    job = json.loads((EXAMPLES / "getJob.json").read_text())["answer"]
    assert job["status"] == "completed"
    assert job["result"]["deployment_decision"]["basis"] == "signed"


def test_no_token_is_in_them() -> None:
    for path in FILES:
        text = path.read_text()
        assert "edgeproof-user-" not in text, path
        assert "edgeproof-worker-" not in text, path
