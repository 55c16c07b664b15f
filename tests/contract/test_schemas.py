"""The committed JSON Schemas are those of the code, and agree with the golden vectors."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgeproof.contract.envelope import peek_payload
from edgeproof.contract.schemas import document, schemas

ROOT = Path(__file__).parents[2]
VECTORS = Path(__file__).parent / "vectors"
NAMES = {
    "policy": "Policy",
    "samples": "RawSamples",
    "quality": "RawQuality",
    "job-spec": "JobSpecStatement",
    "build": "BuildStatement",
    "measurement": "MeasurementStatement",
    "decision": "DecisionEnvelopeStatement",
}


def validator(name: str) -> Any:
    return jsonschema.Draft202012Validator({**schemas(), "$ref": f"#/$defs/{name}"})


def test_the_committed_schemas_are_current() -> None:
    assert (ROOT / "schemas" / "contract.json").read_text() == document(), (
        "run: python -m edgeproof.contract.schemas > schemas/contract.json"
    )


def test_they_are_schemas() -> None:
    jsonschema.Draft202012Validator.check_schema(schemas())


@pytest.mark.parametrize("kind", NAMES)
def test_a_valid_vector_fits_its_schema(kind: str) -> None:
    data = (VECTORS / "valid" / f"{kind}.json").read_bytes()
    if kind not in ("policy", "samples", "quality"):
        validator("Envelope").validate(json.loads(data))
        data = peek_payload(data)[1]
    validator(NAMES[kind]).validate(json.loads(data))


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("case", ["unknown-field", "missing-field", "wrong-type"])
def test_an_ill_formed_vector_does_not(kind: str, case: str) -> None:
    vector = json.loads((VECTORS / "invalid" / f"{kind}-{case}.json").read_text())
    assert not validator(NAMES[kind]).is_valid(json.loads(vector["payload"]))


def test_what_a_device_does_not_tell_may_be_left_out_and_nothing_else() -> None:
    required = schemas()["$defs"]["EnvironmentSnapshot"]["required"]
    assert "governor" in required and "power_mode" not in required
    assert "_type" in schemas()["$defs"]["MeasurementStatement"]["required"]
