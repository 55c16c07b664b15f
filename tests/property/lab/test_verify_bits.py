"""No bit of an evidence folder is free: flip any, and verification names what is wrong."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import PublicKey, open_envelope
from edgeproof.contract.errors import Refused
from edgeproof.lab.verify import evidence_name, verify
from edgeproof.testing.evidence import Scene
from edgeproof.testing.folder import EvidenceFolder, make_folder

SMALLEST = Scene(images=2, calls=1, blocks=1)

#: What a flipped bit of an envelope can break.
ENVELOPE = {"not_canonical", "envelope_invalid", "key_unknown", "signature_invalid"}


def flipped(data: bytes, bit: int) -> bytes:
    copy = bytearray(data)
    copy[bit // 8] ^= 1 << bit % 8
    return bytes(copy)


def refusal(files: dict[str, bytes], trust: PublicKey | None) -> Refused:
    with pytest.raises(Refused) as caught:
        verify(files, trust)
    assert caught.value.detail
    return caught.value


def renamed(files: dict[str, bytes], name: str, data: bytes) -> dict[str, bytes]:
    """``data`` in place of the file ``name``, under the name that its bytes demand."""
    kind = name.rsplit("-", 1)[0]
    rest = {other: content for other, content in files.items() if other != name}
    return {**rest, evidence_name(kind, sha256_hex(data)): data}


def test_the_folder_itself_holds(folder: EvidenceFolder) -> None:
    assert verify(folder.files, folder.evidence.control_plane.public).anchored
    assert not verify(folder.files, None).anchored


@given(data=st.data(), trusting=st.booleans())
def test_a_flipped_bit_is_seen_by_the_files_name(
    folder: EvidenceFolder, data: st.DataObject, trusting: bool
) -> None:
    name = data.draw(st.sampled_from(sorted(folder.files)))
    bit = data.draw(st.integers(0, 8 * len(folder.files[name]) - 1))
    trust = folder.evidence.control_plane.public if trusting else None
    error = refusal({**folder.files, name: flipped(folder.files[name], bit)}, trust)
    assert (error.code, name in error.detail) == ("evidence_misnamed", True)


@given(data=st.data(), trusting=st.booleans())
def test_a_flipped_bit_is_seen_though_the_file_is_renamed(
    folder: EvidenceFolder, data: st.DataObject, trusting: bool
) -> None:
    name = data.draw(st.sampled_from(sorted(folder.files)))
    bit = data.draw(st.integers(0, 8 * len(folder.files[name]) - 1))
    trust = folder.evidence.control_plane.public if trusting else None
    error = refusal(renamed(folder.files, name, flipped(folder.files[name], bit)), trust)
    if name != folder.decision_file:
        assert (error.code, name in error.detail) == ("evidence_missing", True)
    elif trusting:
        assert error.code in ENVELOPE
    else:
        assert error.code in ENVELOPE | {"statement_invalid", "evidence_missing", "chain_broken"}


@pytest.mark.slow
def test_every_bit_of_every_file() -> None:
    """Each is seen by the file's name, and, where the file is an envelope, by the envelope alone."""
    small = make_folder(SMALLEST, with_guard=False)
    trust = small.evidence.control_plane.public
    keys = {key.public.keyid: key.public for key in (small.evidence.control_plane, small.evidence.runner)}
    for name, data in small.files.items():
        others = {other: content for other, content in small.files.items() if other != name}
        key = next((key for keyid, key in keys.items() if keyid.encode() in data[-300:]), None)
        for bit in range(8 * len(data)):
            bad = flipped(data, bit)
            assert _refusal_of(verify, {name: bad, **others}, trust) == "evidence_misnamed"
            assert key is None or _refusal_of(open_envelope, bad, key) in ENVELOPE


def _refusal_of(check: Callable[..., object], *arguments: object) -> str:
    try:
        check(*arguments)
    except Refused as error:
        return error.code
    return "held"
