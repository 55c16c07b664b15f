"""Golden vectors: what was valid stays so, byte for byte; what was refused stays so, by the same code."""

import json
from pathlib import Path

import pytest

from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.envelope import peek_payload
from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import Policy
from edgeproof.contract.samples import RawQuality, RawSamples
from edgeproof.contract.statements import (
    BuildStatement,
    DecisionEnvelopeStatement,
    JobSpecStatement,
    MeasurementStatement,
    open_statement,
)
from edgeproof.testing.evidence import key_for

VECTORS = Path(__file__).parent / "vectors"
VALID = sorted((VECTORS / "valid").glob("*.json"))
INVALID = sorted((VECTORS / "invalid").glob("*.json"))
RAW = {"policy": Policy, "samples": RawSamples, "quality": RawQuality}
STATEMENTS = {
    "job-spec": (JobSpecStatement, key_for("control plane")),
    "build": (BuildStatement, key_for("runner")),
    "measurement": (MeasurementStatement, key_for("runner")),
    "decision": (DecisionEnvelopeStatement, key_for("control plane")),
}


def read(kind: str, data: bytes) -> object:
    if kind in RAW:
        return decode_canonical(data, RAW[kind], what=kind)
    type_, key = STATEMENTS[kind]
    return open_statement(data, key.public, type_, what=kind)


def test_there_is_a_valid_vector_of_each_kind() -> None:
    assert {path.stem for path in VALID} == set(RAW) | set(STATEMENTS)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_vector_is_read_and_made_again(path: Path) -> None:
    data = path.read_bytes()
    value = read(path.stem, data)
    if path.stem in RAW:
        assert canonical(value) == data
    else:
        _, key = STATEMENTS[path.stem]
        assert peek_payload(data) == (key.public.keyid, canonical(value))
        assert key.seal(canonical(value)) == data


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_vector_is_refused(path: Path) -> None:
    vector = json.loads(path.read_text())
    kind = vector["kind"]
    if "envelope" in vector:
        data = vector["envelope"].encode()
    elif kind in STATEMENTS:
        data = STATEMENTS[kind][1].seal(vector["payload"].encode())
    else:
        data = vector["payload"].encode()
    with pytest.raises(Refused) as caught:
        read(kind, data)
    assert (caught.value.code, kind in caught.value.detail) == (vector["code"], True)


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_statement_is_not_read_as_another(kind: str) -> None:
    data = (VECTORS / "valid" / f"{kind}.json").read_bytes()
    _, key = STATEMENTS[kind]
    for other, (type_, _) in STATEMENTS.items():
        if other != kind:
            with pytest.raises(Refused) as caught:
                open_statement(data, key.public, type_, what=other)
            assert caught.value.code == "statement_invalid"
