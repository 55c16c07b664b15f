"""Alters evidence as a forger who holds keys would: what names the altered bytes is re-linked, re-sealed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgeproof.contract.canonical import canonical, sha256_hex
from edgeproof.contract.envelope import SigningKey, peek_payload
from edgeproof.lab.verify import evidence_name
from edgeproof.testing.folder import EvidenceFolder

#: What each document is, in the order in which they name each other.
LABELS = (
    "policy", "baseline-spec", "candidate-spec", "baseline-build", "candidate-build",
    "runtime-spec", "samples", "quality", "measurement", "decision",
)  # fmt: skip
RAW = ("policy", "samples", "quality")
SEALED = tuple(label for label in LABELS if label not in RAW)


@dataclass(frozen=True)
class Document:
    label: str
    kind: str
    digest: str
    data: bytes
    payload: bytes


@dataclass
class Forgery:
    """``edits`` change the parsed payload, ``texts`` its encoded bytes, ``seals`` the finished envelope.

    ``signers`` replaces who signs; ``keep`` names documents whose old signature stays on the new payload.
    """

    edits: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    texts: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    seals: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    signers: dict[str, SigningKey] = field(default_factory=dict)
    keep: tuple[str, ...] = ()

    def apply(self, folder: EvidenceFolder) -> dict[str, bytes]:
        links: dict[str, str] = {}
        files: dict[str, bytes] = {}
        for document in documents(folder).values():
            data = self._forge(document, folder, links)
            links[document.digest] = sha256_hex(data)
            files[evidence_name(document.kind, sha256_hex(data))] = data
        return files

    def _forge(self, document: Document, folder: EvidenceFolder, links: dict[str, str]) -> bytes:
        label, text = document.label, document.payload
        for old, new in links.items():
            text = text.replace(old.encode(), new.encode())
        if label == "decision" and text != document.payload:
            text = _sorted_evidence(text)
        if label in self.edits:
            value = json.loads(text)
            self.edits[label](value)
            text = canonical(value)
        if label in self.texts:
            text = self.texts[label](text)
        if label in RAW:
            return text
        if label in self.keep:
            envelope = json.loads(document.data)
            envelope["payload"] = base64.b64encode(text).decode()
            return canonical(envelope)
        by_runner = label in ("baseline-build", "candidate-build", "measurement")
        owner = folder.evidence.runner if by_runner else folder.evidence.control_plane
        sealed = self.signers.get(label, owner).seal(text)
        return self.seals[label](sealed) if label in self.seals else sealed


def documents(folder: EvidenceFolder) -> dict[str, Document]:
    """A folder's documents by label, in the order of ``LABELS``."""
    found: dict[str, Document] = {}
    for name, data in folder.files.items():
        kind, digest = name.removesuffix(".json").rsplit("-", 1)
        payload = data if kind in RAW else peek_payload(data)[1]
        label = _label(kind, json.loads(payload))
        found[label] = Document(label, kind, digest, data, payload)
    return {label: found[label] for label in LABELS}


def _label(kind: str, payload: Any) -> str:
    if kind == "job-spec":
        return f"{payload['predicate']['config'].get('role', 'runtime')}-spec"
    if kind == "build":
        config = payload["predicate"]["buildDefinition"]["externalParameters"]["config"]
        return f"{config['role']}-build"
    return kind


def _sorted_evidence(text: bytes) -> bytes:
    """New digests sort elsewhere; an honest list is sorted."""
    value = json.loads(text)
    value["predicate"]["evidence"].sort(key=lambda one: (one["kind"], one["digest"]))
    return canonical(value)
