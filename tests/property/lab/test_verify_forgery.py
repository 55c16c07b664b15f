"""Forgeries by name, each refused with a code and words for the first thing that does not hold.

Unless a case says otherwise everything that names the altered document is linked anew and signed by the
right key: so it is the named check that refuses, not a digest or a signature on the way.
"""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from edgeproof.contract.canonical import canonical, sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.lab.verify import evidence_name, verify
from edgeproof.testing.evidence import Scene, key_for
from edgeproof.testing.folder import EvidenceFolder, make_folder
from edgeproof.testing.forgery import LABELS, SEALED, Forgery, documents

SMALL = Scene(images=4, calls=1, blocks=1)
OTHER = "f" * 64
STRANGER = key_for("a stranger")


def at(*path: str | int) -> Callable[[Any], Any]:
    """What lies at the end of a path."""

    def walk(value: Any) -> Any:
        for step in path:
            value = value[step]
        return value

    return walk


def put(*path: str | int, value: Any) -> Callable[[Any], None]:
    def edit(document: Any) -> None:
        at(*path[:-1])(document)[path[-1]] = value

    return edit


def swap(*path: str | int, one: str, other: str) -> Callable[[Any], None]:
    def edit(document: Any) -> None:
        inside = at(*path)(document)
        inside[one], inside[other] = inside[other], inside[one]

    return edit


def _swap_sides(spec: Any) -> None:
    swap("predicate", "config", one="baseline", other="candidate")(spec)
    one, other = spec["subject"][:2]
    one["digest"], other["digest"] = other["digest"], one["digest"]


def _swap_samples(samples: Any) -> None:
    for pair in samples["pairs"]:
        swap(one="baseline", other="candidate")(pair)


def _swap_samples_and_turns(samples: Any) -> None:
    _swap_samples(samples)
    for pair in samples["pairs"]:
        pair["first"] = "candidate" if pair["first"] == "baseline" else "baseline"


def refused(files: dict[str, bytes], folder: EvidenceFolder) -> Refused:
    with pytest.raises(Refused) as caught:
        verify(files, folder.evidence.control_plane.public)
    return caught.value


def test_a_forgery_without_a_change_is_the_folder(folder: EvidenceFolder) -> None:
    assert Forgery().apply(folder) == folder.files


BUILD = ("predicate", "buildDefinition")
INSIDE = (*BUILD, "internalParameters")
CHAIN: dict[str, tuple[Forgery, str]] = {
    "build for another artifact": (
        Forgery({"candidate-build": put("subject", 0, "digest", "sha256", value=OTHER)}),
        "the candidate's build made another artifact",
    ),
    "build of another source": (
        Forgery({"candidate-build": put(*BUILD, "resolvedDependencies", 0, "digest", "sha256", value=OTHER)}),
        "names other inputs",
    ),
    "build without its calibration set": (
        Forgery({"candidate-build": lambda it: at(*BUILD, "resolvedDependencies")(it).pop()}),
        "names other inputs",
    ),
    "build with another configuration": (
        Forgery({"baseline-build": put(*BUILD, "externalParameters", "config", "preset", value="fp16")}),
        "another configuration than its job spec",
    ),
    "build whose manifest names another artifact": (
        Forgery({"baseline-build": put(*INSIDE, "manifest", "artifact", "sha256", value=OTHER)}),
        "manifest names another artifact",
    ),
    "build whose metadata names another source": (
        Forgery({"baseline-build": put(*INSIDE, "metadata", "source_model", "sha256", value=OTHER)}),
        "manifest names another source model",
    ),
    "build for another invocation": (
        Forgery({"baseline-build": put("predicate", "runDetails", "metadata", "invocationId", value="x/1")}),
        "names another invocation",
    ),
    **{
        f"{what} of another {name}": (
            Forgery({label: put(*path, "binding", field, value=value)}),
            words,
        )
        for what, label, path in (
            ("build", "candidate-build", INSIDE),
            ("measurement", "measurement", ("predicate",)),
        )
        for name, field, value, words in (
            ("job", "job_id", "job_other", "belongs to another job"),
            ("run", "run_id", "run_other", "belongs to another run"),
            ("attempt", "attempt", 2, "belongs to another attempt"),
            ("lease", "lease_digest", OTHER, "made under another lease"),
            ("job spec", "job_spec", OTHER, "made for another job spec"),
            ("runner", "runner_key", STRANGER.public.base64, "names another runner's key"),
        )
    },
    "job spec of another job": (
        Forgery({"baseline-spec": put("predicate", "job_id", value="job_other")}),
        "different jobs",
    ),
    "two job specs of one run": (
        Forgery({"baseline-spec": put("predicate", "run_id", value="job_test.forge-candidate")}),
        "name one run",
    ),
    "job spec under another policy": (
        Forgery({"runtime-spec": put("predicate", "policy_digest", value=OTHER)}),
        "names another policy",
    ),
    "job spec of another control plane": (
        Forgery({"runtime-spec": put("predicate", "control_plane_key", value=STRANGER.public.base64)}),
        "another control plane",
    ),
    "job spec with another subject": (
        Forgery({"baseline-spec": put("subject", 0, "digest", "sha256", value=OTHER)}),
        "subjects are not its inputs",
    ),
    "job spec of another stage": (
        Forgery({"baseline-spec": put("predicate", "stage", value="runtime")}),
        "of stage runtime configures forge",
    ),
    "two baselines": (
        Forgery({"candidate-spec": put("predicate", "config", "role", value="baseline")}),
        "expected one baseline job spec",
    ),
    "sides swapped in the measurement": (
        Forgery({"measurement": swap("predicate", one="baseline", other="candidate")}),
        "the baseline's artifact is not that of the raw data",
    ),
    "sides swapped in spec and measurement": (
        Forgery(
            {
                "runtime-spec": swap("predicate", "config", one="baseline", other="candidate"),
                "measurement": swap("predicate", "config", one="baseline", other="candidate"),
            }
        ),
        "a job spec's subjects are not its inputs",
    ),
    "sides swapped in spec, its subjects and measurement": (
        Forgery(
            {
                "runtime-spec": _swap_sides,
                "measurement": swap("predicate", "config", one="baseline", other="candidate"),
            }
        ),
        "made for another job spec",
    ),
    "sides swapped in the samples": (Forgery({"samples": _swap_samples}), "another side began than is said"),
    "sides swapped in the samples, and who began": (
        Forgery({"samples": _swap_samples_and_turns}),
        "latency summary is not that of the raw data",
    ),
    "other subjects of the measurement": (
        Forgery({"measurement": put("subject", 1, "digest", "sha256", value=OTHER)}),
        "subjects are not the artifacts measured",
    ),
    "measurement with more threads than asked": (
        Forgery({"measurement": put("predicate", "config", "threads", value=2)}),
        "another configuration than its job spec",
    ),
    "plan with a wider margin": (
        Forgery(
            {
                label: put("predicate", "config", "plan", "gates", "p50", value=50)
                for label in ("runtime-spec", "measurement")
            }
        ),
        "the plan's gates are not the policy's",
    ),
    "plan with another look": (
        Forgery(
            {
                label: put("predicate", "config", "plan", "looks", value=[8])
                for label in ("runtime-spec", "measurement")
            }
        ),
        "the plan's looks are not the policy's",
    ),
    "stopped between looks": (
        Forgery({"samples": lambda it: it["pairs"].append({**it["pairs"][0], "index": 8})}),
        "9 pairs are not a planned look",
    ),
    "a pair chosen twice": (
        Forgery({"samples": lambda it: it["pairs"].__setitem__(7, it["pairs"][0])}),
        "pairs are missing",
    ),
    "a block left out": (
        Forgery({"samples": lambda it: it["pairs"][3]["candidate"]["blocks"].pop()}),
        "the samples lack planned blocks",
    ),
    "a slow call left out": (
        Forgery({"samples": put("pairs", 0, "candidate", "blocks", 0, "samples_ns", value=[])}),
        "different numbers of calls",
    ),
    "a call that took no time": (
        Forgery({"samples": put("pairs", 0, "candidate", "blocks", 0, "samples_ns", 0, value=0)}),
        "a call took no time",
    ),
    "one faster sample": (
        Forgery({"samples": put("pairs", 0, "candidate", "blocks", 0, "samples_ns", 0, value=1)}),
        "the candidate's latency summary",
    ),
    "one better prediction": (
        Forgery({"quality": put("labels", 0, value=9)}),
        "accuracy is not that of the raw data",
    ),
    "no outputs at all": (
        Forgery({"quality": put("samples", value=0)}),
        "no output was looked at",
    ),
    "a prediction left out": (
        Forgery({"quality": lambda it: it["candidate"]["predictions"].pop()}),
        "predictions are missing",
    ),
    "a better stated median": (
        Forgery({"measurement": put("predicate", "candidate", "p50_ms", value=0.1)}),
        "the candidate's p50",
    ),
    "a better stated accuracy": (
        Forgery(
            {"measurement": put("predicate", "candidate", "accuracy", "metrics", value={"top1_accuracy": 0})}
        ),
        "the candidate's accuracy",
    ),
    "more stated memory": (
        Forgery({"measurement": put("predicate", "baseline", "peak_memory_bytes", value=1)}),
        "the baseline's peak memory",
    ),
}


@pytest.mark.parametrize("case", CHAIN)
def test_a_broken_chain_is_named(folder: EvidenceFolder, case: str) -> None:
    forgery, words = CHAIN[case]
    error = refused(forgery.apply(folder), folder)
    assert error.code == "chain_broken"
    assert words in error.detail


def test_less_isolation_than_the_policy_demands_is_refused(folder: EvidenceFolder) -> None:
    demand = {"policy": put("min_isolation", value="namespaces")}
    for label, path in (
        ("measurement", ("predicate", "isolation")),
        ("baseline-build", (*INSIDE, "isolation")),
    ):
        error = refused(Forgery({**demand, label: put(*path, value="none")}).apply(folder), folder)
        assert (error.code, "at isolation none" in error.detail) == ("chain_broken", True)


@pytest.mark.parametrize("label", SEALED)
def test_a_document_signed_by_a_stranger_is_refused(folder: EvidenceFolder, label: str) -> None:
    error = refused(Forgery(signers={label: STRANGER}).apply(folder), folder)
    assert (error.code, STRANGER.public.keyid in error.detail) == ("key_unknown", True)


def test_a_job_spec_signed_by_the_runner_is_refused(folder: EvidenceFolder) -> None:
    forgery = Forgery(signers={"runtime-spec": folder.evidence.runner})
    assert refused(forgery.apply(folder), folder).code == "key_unknown"


def test_a_measurement_by_a_key_that_only_it_names_is_refused(folder: EvidenceFolder) -> None:
    forgery = Forgery(
        {"measurement": put("predicate", "binding", "runner_key", value=STRANGER.public.base64)},
        signers={"measurement": STRANGER},
    )
    assert refused(forgery.apply(folder), folder).code == "key_unknown"


def test_a_measurement_moved_from_another_job_is_refused(folder: EvidenceFolder) -> None:
    theirs = documents(make_folder(Scene(job_id="job_other", images=4, calls=1, blocks=1, ratio=0.3)))
    forgery = Forgery(
        seals={"measurement": lambda _: theirs["measurement"].data},
        texts={label: lambda _, label=label: theirs[label].payload for label in ("samples", "quality")},
    )
    error = refused(forgery.apply(folder), folder)
    assert (error.code, "made for another job spec" in error.detail) == ("chain_broken", True)


# --- the decision --------------------------------------------------------------------------------

DECISION = ("predicate", "deployment_decision")


@pytest.mark.parametrize(
    "edit",
    [
        put(*DECISION, "decision", value="deployable"),
        put(*DECISION, "reason", value="It is good."),
        put(*DECISION, "policy_digest", value=OTHER),
        put(*DECISION, "basis", value="unsigned"),
        put("predicate", "comparison", "latency", 0, "ratio_high", value=0.4),
        put("predicate", "comparison", "accuracy", value=None),
        put("predicate", "guard_analysis", "evidence", value=[]),
        put("predicate", "guard_analysis", value=None),
        put("predicate", "job_id", value="job_other"),
        put("subject", 0, "digest", "sha256", value=OTHER),
    ],
)
def test_another_decision_than_the_evidence_gives_is_refused(
    folder: EvidenceFolder, edit: Callable[[Any], None]
) -> None:
    assert refused(Forgery({"decision": edit}).apply(folder), folder).code == "decision_differs"
    by_stranger = Forgery({"decision": edit}, signers={"decision": STRANGER})
    assert refused(by_stranger.apply(folder), folder).code == "key_unknown"


def test_the_difference_is_named(folder: EvidenceFolder) -> None:
    files = Forgery({"decision": put(*DECISION, "decision", value="blocked")}).apply(folder)
    assert "'review_required' instead of 'blocked'" in refused(files, folder).detail


def test_a_decision_under_an_altered_policy_is_refused(folder: EvidenceFolder) -> None:
    """All is linked anew, so the chain holds; but that policy decides otherwise."""
    files = Forgery({"policy": put("accuracy", "margin_pp", value=90)}).apply(folder)
    assert refused(files, folder).code == "decision_differs"


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda it: it["predicate"]["evidence"].pop(), "chain_broken"),
        (lambda it: it["predicate"]["evidence"].append(it["predicate"]["evidence"][0]), "chain_broken"),
        (lambda it: it["predicate"]["evidence"].reverse(), "decision_differs"),
        (lambda it: it["predicate"]["evidence"].clear(), "chain_broken"),
        (put("predicate", "evidence", 0, "digest", value=OTHER), "evidence_missing"),
        (put("predicate", "evidence", 0, "kind", value="samples"), "evidence_missing"),
    ],
)
def test_an_altered_evidence_list_is_refused(
    folder: EvidenceFolder, edit: Callable[[Any], None], code: str
) -> None:
    assert refused(Forgery({"decision": edit}).apply(folder), folder).code == code
    with pytest.raises(Refused):
        verify(Forgery({"decision": edit}).apply(folder), None)


# --- spelling ------------------------------------------------------------------------------------


def duplicated(text: bytes) -> bytes:
    """The first member twice."""
    key = text[1 : text.index(b":") + 1]
    return b"{" + key + b"null," + text[1:]


def reordered(text: bytes) -> bytes:
    members = list(json.loads(text).items())
    return json.dumps(dict(reversed(members)), separators=(",", ":"), ensure_ascii=False).encode()


SPELLINGS = {
    "a key twice": duplicated,
    "another order": reordered,
    "a space": lambda text: text.replace(b":", b": ", 1),
    "a newline at the end": lambda text: text + b"\n",
    "an escape": lambda text: text.replace(b"schema_version", b"schema\\u005fversion", 1)
    if b"schema_version" in text
    else text.replace(b"predicateType", b"predicate\\u0054ype", 1),
    "a float for an integer": lambda text: text.replace(b":1,", b":1.0,", 1)
    if b":1," in text
    else text.replace(b":1}", b":1.0}", 1),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "truncated": lambda text: text[:-1],
    "nested too deeply": lambda text: b"[" * 5000 + b"]" * 5000,
    "nothing": lambda text: b"",
}  # fmt: skip


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_only_canonical_bytes_count(folder: EvidenceFolder, label: str, spelling: str) -> None:
    original = documents(folder)[label].payload
    if SPELLINGS[spelling](original) == original:
        pytest.skip("this document has nothing to spell so")
    error = refused(Forgery(texts={label: SPELLINGS[spelling]}).apply(folder), folder)
    assert error.code in ("not_canonical", "statement_invalid")


def resealed(edit: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def change(envelope: bytes) -> bytes:
        value = json.loads(envelope)
        edit(value)
        return canonical(value)

    return change


ENVELOPES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "base64 without padding": (
        resealed(lambda it: it["signatures"][0].update(sig=it["signatures"][0]["sig"].rstrip("="))),
        "envelope_invalid",
    ),
    "base64 with free bits set": (
        resealed(lambda it: it["signatures"][0].update(sig=_free_bits(it["signatures"][0]["sig"]))),
        "envelope_invalid",
    ),
    "base64 with a line break": (
        resealed(lambda it: it.update(payload=it["payload"][:76] + "\n" + it["payload"][76:])),
        "envelope_invalid",
    ),
    "url-safe base64": (
        resealed(lambda it: it.update(payload="-_" + it["payload"][2:])),
        "envelope_invalid",
    ),
    "another key id": (
        resealed(lambda it: it["signatures"][0].update(keyid="0" * 64)),
        "key_unknown",
    ),
    "another spelling of the key id": (
        resealed(lambda it: it["signatures"][0].update(keyid=it["signatures"][0]["keyid"].upper())),
        "key_unknown",
    ),
    "an extra signature": (
        resealed(lambda it: it["signatures"].append(it["signatures"][0])),
        "envelope_invalid",
    ),
    "no signature": (resealed(lambda it: it["signatures"].clear()), "envelope_invalid"),
    "another payload type": (
        resealed(lambda it: it.update(payloadType="text/plain")),
        "envelope_invalid",
    ),
    "an extra field": (resealed(lambda it: it.update(extra=1)), "not_canonical"),
    "a space": (lambda envelope: envelope.replace(b":", b": ", 1), "not_canonical"),
    "a newline at the end": (lambda envelope: envelope + b"\n", "not_canonical"),
    "the signature of another statement": (
        resealed(lambda it: it["signatures"][0].update(sig="A" * 86 + "==")),
        "signature_invalid",
    ),
}


def _free_bits(text: str) -> str:
    """The same bytes in another spelling: the last character before the padding carries unused bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    place = len(text.rstrip("=")) - 1
    return text[:place] + alphabet[alphabet.index(text[place]) ^ 1] + text[place + 1 :]


@pytest.mark.parametrize("label", SEALED)
@pytest.mark.parametrize("case", ENVELOPES)
def test_an_envelope_has_one_form(folder: EvidenceFolder, label: str, case: str) -> None:
    change, code = ENVELOPES[case]
    if label == "decision":
        sealed = change(folder.files[folder.decision_file])
        files = {name: data for name, data in folder.files.items() if name != folder.decision_file}
        files[evidence_name("decision", sha256_hex(sealed))] = sealed
    else:
        files = Forgery(seals={label: change}).apply(folder)
    assert refused(files, folder).code == code


# --- the folder ----------------------------------------------------------------------------------


def test_two_files_with_each_others_contents_are_refused(folder: EvidenceFolder) -> None:
    names = sorted(folder.files)
    for one, other in pairwise(names):
        files = {**folder.files, one: folder.files[other], other: folder.files[one]}
        assert refused(files, folder).code == "evidence_misnamed"


@pytest.mark.parametrize("label", LABELS)
def test_every_file_is_needed_under_its_name(folder: EvidenceFolder, label: str) -> None:
    document = documents(folder)[label]
    name = evidence_name(document.kind, document.digest)
    rest = {other: data for other, data in folder.files.items() if other != name}
    error = refused(rest, folder)
    assert error.code == "evidence_missing"
    assert label == "decision" or name in error.detail
    for other in ("notes.txt", f"../{name}", name + "\n", name.upper(), evidence_name(document.kind, OTHER)):
        assert refused({**rest, other: document.data}, folder).code == "evidence_misnamed"
    for kind in {"job-spec", "build", "measurement", "samples", "quality", "policy"} - {document.kind}:
        moved = {**rest, evidence_name(kind, document.digest): document.data}
        assert refused(moved, folder).code == "evidence_missing"


def test_a_file_that_no_decision_lists_is_refused(folder: EvidenceFolder) -> None:
    stray = b"{}"
    name = evidence_name("samples", sha256_hex(stray))
    error = refused({**folder.files, name: stray}, folder)
    assert (error.code, name in error.detail) == ("evidence_unlisted", True)


def test_two_decisions_on_one_job_are_refused(folder: EvidenceFolder) -> None:
    unguarded = make_folder(SMALL, with_guard=False)
    files = {**folder.files, unguarded.decision_file: unguarded.files[unguarded.decision_file]}
    error = refused(files, folder)
    assert (error.code, "two decisions" in error.detail) == ("chain_broken", True)


def test_several_jobs_may_share_a_folder(folder: EvidenceFolder) -> None:
    other = make_folder(Scene(job_id="job_other", images=4, calls=1, blocks=1))
    verified = verify({**folder.files, **other.files}, folder.evidence.control_plane.public)
    assert sorted(one.job_id for one in verified.decisions) == ["job_other", "job_test"]


def test_all_signed_by_another_key_is_consistent_but_not_anchored(folder: EvidenceFolder) -> None:
    forged = make_folder(SMALL, control_plane=SigningKey(b"\7" * 32), runner=SigningKey(b"\10" * 32))
    assert refused(forged.files, folder).code == "key_unknown"
    assert not verify(forged.files, None).anchored
