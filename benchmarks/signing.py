"""What sealing and opening cost, beside the same by the libraries alone (``testing.plain_signing``).

Both sides alternate in one run; medians over rounds, in microseconds of processor time of one call. Nothing
is asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.envelope import PublicKey, SigningKey, open_envelope, peek_payload
from edgeproof.contract.samples import RawQuality, RawSamples
from edgeproof.contract.statements import BuildStatement, JobSpecStatement, MeasurementStatement
from edgeproof.testing import plain_signing
from edgeproof.testing.evidence import Scene, make_evidence

ROUNDS, ROUND_SECONDS = 15, 0.02
STATEMENTS: dict[str, Any] = {
    "job-spec": JobSpecStatement,
    "build": BuildStatement,
    "measurement": MeasurementStatement,
}
RAW: dict[str, Any] = {"samples": RawSamples, "quality": RawQuality}
Call = Callable[[], object]


def once(call: Call, times: int) -> float:
    started = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - started) / times * 1e6


def compare(name: str, before: Call, now: Call) -> None:
    times = [max(1, int(ROUND_SECONDS * 1e6 / once(call, 3))) for call in (before, now)]
    rounds = [
        [once(call, count) for call, count in zip((before, now), times, strict=True)] for _ in range(ROUNDS)
    ]
    old, new = median(one[0] for one in rounds), median(one[1] for one in rounds)
    print(f"  {name:34} {old:9.1f} -> {new:9.1f} us  {old / new:5.1f}x", flush=True)


class Statement:
    """A statement's value, and both ways to seal and to open it."""

    def __init__(self, envelope: bytes, type_: Any, key: SigningKey) -> None:
        self.payload = peek_payload(envelope)[1]
        self.value = decode_canonical(self.payload, type_, what="it")
        self.envelope, self.type_, self.key = envelope, type_, key
        self.private = Ed25519PrivateKey.from_private_bytes(key.private_bytes())
        self.stranger = PublicKey(key.public.raw)
        self.own = SigningKey(key.private_bytes(), remember=8).public
        open_envelope(envelope, self.own)

    def seal(self) -> bytes:
        return self.key.seal(canonical(self.value))

    def open(self, key: PublicKey) -> object:
        return decode_canonical(open_envelope(self.envelope, key), self.type_, what="it")

    def plain_seal(self) -> bytes:
        return plain_signing.seal(self.private, plain_signing.canonical(self.value))

    def plain_open(self) -> object:
        payload = plain_signing.open_envelope(self.envelope, self.stranger)
        return plain_signing.decode_canonical(payload, self.type_, what="it")


def cycle(spec: Statement, build: Statement) -> tuple[Call, Call]:
    """A forge run: a server seals a spec, the runner opens it and seals a build, the server opens both."""

    def before() -> None:
        spec.plain_seal()
        spec.plain_open()
        build.plain_seal()
        spec.plain_open()
        build.plain_open()

    def now() -> None:
        spec.seal()
        spec.open(spec.stranger)
        build.seal()
        spec.open(spec.own)
        build.open(build.stranger)

    return before, now


def curve(payloads: list[bytes], key: SigningKey) -> float:
    """Of that cycle, the Ed25519 arithmetic alone: two signatures made, two checked."""
    signatures = [key.sign_in_domain("bench", one) for one in payloads]

    def work() -> None:
        for one in payloads:
            key.sign_in_domain("bench", one)
        for one, signature in zip(payloads, signatures, strict=True):
            key.public.verify(signature, one)

    return median(once(work, 50) for _ in range(ROUNDS))


def main() -> None:
    made = make_evidence(Scene())
    statements: dict[str, Statement] = {}
    for reference in made.evidence:
        data, kind = made.documents[reference.digest], reference.kind
        if kind in STATEMENTS and kind not in statements:
            key = made.control_plane if kind == "job-spec" else made.runner
            one = Statement(data, STATEMENTS[kind], key)
            if kind == "job-spec" and one.value.predicate.stage != "forge":
                continue
            statements[kind] = one
            print(f"{kind}, {len(one.payload)} bytes")
            compare("canonical", partial(plain_signing.canonical, one.value), partial(canonical, one.value))
            compare("seal", one.plain_seal, one.seal)
            compare("open", one.plain_open, partial(one.open, one.stranger))
            compare("open what it sealed itself", one.plain_open, partial(one.open, one.own))
        elif kind in RAW:
            type_ = RAW[kind]
            print(f"raw {kind}, {len(data)} bytes")
            compare(
                "read",
                partial(plain_signing.decode_canonical, data, type_, what=kind),
                partial(decode_canonical, data, type_, what=kind),
            )
    spec, build = statements["job-spec"], statements["build"]
    print("one cycle of a forge run, both sides")
    compare("seal and open", *cycle(spec, build))
    print(f"  {'of it Ed25519':34} {curve([spec.payload, build.payload], build.key):22.1f} us")


if __name__ == "__main__":
    main()
