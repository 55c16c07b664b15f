"""Writes the golden vectors anew: ``python tests/contract/make_vectors.py``. They are committed.

Only for a new version of a statement: vectors of a published one never change. Keys are fixed, so that
anyone can check them; ``valid`` files are exact bytes, ``invalid`` ones hold the bytes as text with the
code that refuses them.
"""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgeproof.contract.canonical import canonical
from edgeproof.testing.evidence import Scene
from edgeproof.testing.folder import make_folder
from edgeproof.testing.forgery import RAW, Document, documents

VECTORS = Path(__file__).parent / "vectors"
#: One document of each kind.
CHOSEN = {
    "policy": "policy", "samples": "samples", "quality": "quality", "runtime-spec": "job-spec",
    "candidate-build": "build", "measurement": "measurement", "decision": "decision",
}  # fmt: skip


def edited(payload: bytes, edit: Callable[[Any], None]) -> bytes:
    value = json.loads(payload)
    edit(value)
    return canonical(value)


def without_last(value: dict[str, Any]) -> None:
    del value[sorted(value)[-1]]


def bad_payloads(payload: bytes, *, statement: bool) -> Iterator[tuple[str, bytes]]:
    first = payload[1 : payload.index(b":") + 1]
    yield "unknown-field", edited(payload, lambda it: it.update(zz_surplus=1))
    yield "missing-field", edited(payload, without_last)
    yield "duplicate-key", b"{" + first + b"null," + payload[1:]
    yield "white-space", payload.replace(b":", b": ", 1)
    yield "trailing-newline", payload + b"\n"
    yield "wrong-type", edited(payload, lambda it: it.update({sorted(it)[0]: 17}))
    yield "truncated", payload[:-1]
    if statement:
        yield (
            "other-statement-type",
            edited(payload, lambda it: it.update(_type="https://in-toto.io/Statement/v0")),
        )
        yield (
            "other-predicate-version",
            edited(payload, lambda it: it.update(predicateType="urn:edgeproof:x:v2")),
        )
        yield "upper-case-digest", edited(payload, _upper_case)


def _upper_case(statement: Any) -> None:
    digest = statement["subject"][0]["digest"]
    digest["sha256"] = digest["sha256"].upper().replace("0", "A")


def bad_envelopes(data: bytes) -> Iterator[tuple[str, str, bytes]]:
    def change(edit: Callable[[Any], None]) -> bytes:
        return edited(data, edit)

    yield (
        "envelope-extra-signature",
        "envelope_invalid",
        change(lambda it: it["signatures"].append(it["signatures"][0])),
    )
    yield "envelope-no-signature", "envelope_invalid", change(lambda it: it["signatures"].clear())
    yield "envelope-payload-type", "envelope_invalid", change(lambda it: it.update(payloadType="text/plain"))
    yield (
        "envelope-unpadded-signature",
        "envelope_invalid",
        change(lambda it: it["signatures"][0].update(sig=it["signatures"][0]["sig"].rstrip("="))),
    )
    yield "envelope-other-keyid", "key_unknown", change(lambda it: it["signatures"][0].update(keyid="0" * 64))
    yield (
        "envelope-other-signature",
        "signature_invalid",
        change(lambda it: it["signatures"][0].update(sig=base64.b64encode(bytes(64)).decode())),
    )
    yield "envelope-unknown-field", "not_canonical", change(lambda it: it.update(zz_surplus=1))
    yield "envelope-white-space", "not_canonical", data.replace(b":", b": ", 1)


def write(document: Document, kind: str) -> None:
    (VECTORS / "valid" / f"{kind}.json").write_bytes(document.data)
    statement = kind not in RAW
    code = "statement_invalid" if statement else "not_canonical"
    for case, payload in bad_payloads(document.payload, statement=statement):
        write_invalid(kind, case, code, payload=payload)
    if kind == "job-spec":
        for case, refusal, data in bad_envelopes(document.data):
            write_invalid(kind, case, refusal, envelope=data)


def write_invalid(kind: str, case: str, code: str, **data: bytes) -> None:
    """``payload`` is to be sealed by the right key first, ``envelope`` is the whole file."""
    text = {name: content.decode() for name, content in data.items()}
    vector = json.dumps({"kind": kind, "code": code, **text}, indent=1)
    (VECTORS / "invalid" / f"{kind}-{case}.json").write_text(vector + "\n")


def main() -> None:
    for folder in ("valid", "invalid"):
        (VECTORS / folder).mkdir(parents=True, exist_ok=True)
        for old in (VECTORS / folder).iterdir():
            old.unlink()
    made = make_folder(Scene(images=2, calls=1, blocks=1), with_guard=False)
    for label, document in documents(made).items():
        if label in CHOSEN:
            write(document, CHOSEN[label])


if __name__ == "__main__":
    main()
