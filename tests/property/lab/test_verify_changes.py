"""Any change anywhere in a payload: without its key it is refused, and with it nothing crashes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgeproof.contract.errors import Refused
from edgeproof.lab.verify import verify
from edgeproof.testing.folder import EvidenceFolder
from edgeproof.testing.forgery import LABELS, RAW, SEALED, Forgery

Place = tuple[Any, Any]
#: Maps with keys of the signer's choice: versions of whatever tools there are, inputs by name, and so on.
OPEN_MAPS = {"versions", "version", "build_options", "input_shapes", "when", "gates"}
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.floats(-1e6, 1e6), st.text(max_size=3),
    st.sampled_from(["", "0" * 64, "edgeproof"]), st.just([]), st.just({}),
)  # fmt: skip


def places(value: Any) -> list[Place]:
    """Every (container, key) below ``value``."""
    found: list[Place] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        found.append((value, key))
        found += places(inside)
    return found


def objects(value: Any) -> list[dict[str, Any]]:
    """``value`` and every JSON object below it that has a closed list of fields."""
    below = [container[key] for container, key in places(value) if key not in OPEN_MAPS]
    return [one for one in (value, *below) if isinstance(one, dict) and one]


def refusal(files: dict[str, bytes], folder: EvidenceFolder) -> str:
    try:
        verify(files, folder.evidence.control_plane.public)
    except Refused as error:
        assert error.detail
        return error.code
    return "held"


@given(where=st.integers(0, 10_000), label=st.sampled_from(LABELS), value=LEAVES)
def test_a_field_added_anywhere_is_refused(
    folder: EvidenceFolder, where: int, label: str, value: Any
) -> None:
    """All is signed by the right keys: the closed list of fields alone refuses it."""

    def add(payload: Any) -> None:
        found = objects(payload)
        found[where % len(found)]["surplus"] = value

    assert refusal(Forgery({label: add}).apply(folder), folder) != "held"


@given(where=st.integers(0, 10_000), label=st.sampled_from(LABELS), value=LEAVES)
def test_a_field_that_is_changed_is_refused_unless_its_signer_signs_it(
    folder: EvidenceFolder, where: int, label: str, value: Any
) -> None:
    """Whoever lacks the key can only keep the old signature; raw data are under the measurement's."""

    changed = False

    def change(payload: Any) -> None:
        nonlocal changed
        found = places(payload)
        container, key = found[where % len(found)]
        changed = type(container[key]) is not type(value) or container[key] != value
        container[key] = value

    keep = ("measurement",) if label in ("samples", "quality") else SEALED if label == "policy" else (label,)
    files = Forgery({label: change}, keep=keep).apply(folder)
    held = refusal(files, folder)
    assert held == "held" if not changed else held not in ("held", "evidence_missing", "evidence_misnamed")


@given(where=st.integers(0, 10_000), label=st.sampled_from(LABELS), value=LEAVES)
def test_a_change_signed_by_the_right_keys_holds_or_is_refused(
    folder: EvidenceFolder, where: int, label: str, value: Any
) -> None:
    def change(payload: Any) -> None:
        found = places(payload)
        container, key = found[where % len(found)]
        container[key] = value

    refusal(Forgery({label: change}).apply(folder), folder)


def test_labels_are_complete() -> None:
    assert set(LABELS) == set(RAW) | set(SEALED)
