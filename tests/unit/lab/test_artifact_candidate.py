"""A candidate that came as an artifact: no run forged it, and what is signed of it says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgeproof.contract.bundle import ResponseBundle
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import peek_payload
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.contract.statements import EvidenceRef, ForgeConfig, RuntimeConfig
from edgeproof.lab.bundle import response_bundle
from edgeproof.lab.dossier import assemble
from edgeproof.lab.plan import Built, Enqueue, JobFacts, Order, RunFacts, advance, first_runs, order_of
from edgeproof.lab.policies import default_policy
from edgeproof.lab.report import ReportJob, render_html, render_markdown
from edgeproof.lab.verify import verify
from edgeproof.lab.worker_request import options_of
from edgeproof.testing.evidence import NOW, EvidenceSet, Scene, make_evidence
from edgeproof.testing.folder import EvidenceFolder, make_folder

from .test_plan import CATALOGUE, LIMITS, MODEL, OTHER, uri

ALONE = Scene(forged=False, images=1000)


def order(model: str | None, artifact: str | None, **options: Any) -> Order:
    return order_of(
        uri(model) if model else None, uri(artifact) if artifact else None, options_of(options), CATALOGUE
    )


def facts(made: Order) -> JobFacts:
    return JobFacts("queued", False, made, default_policy(), LIMITS)


@pytest.fixture(scope="module")
def folder() -> EvidenceFolder:
    return make_folder(ALONE)


# --- planning ------------------------------------------------------------------------------------


def test_it_has_no_forge_run_and_goes_to_the_measurement_as_it_came() -> None:
    job = facts(order(None, OTHER, precision="int8", baseline={"model_path": uri(MODEL)}))
    (only,) = first_runs(job)
    assert isinstance(only.config, ForgeConfig)
    assert (only.stage, only.role, only.config.source) == ("forge", "baseline", MODEL)
    built = Built(artifact="a" * 64, build="b" * 64, precision="fp32")
    done = RunFacts(run_id="r", stage="forge", role="baseline", state="COMPLETE", built=built)
    assert advance(job, [replace(done, state="PENDING", built=None)]) == []
    (pair,) = advance(job, [done])
    assert isinstance(pair, Enqueue)
    assert isinstance(pair.config, RuntimeConfig)
    candidate = pair.config.candidate
    assert (candidate.artifact, candidate.source, candidate.build) == (OTHER, OTHER, None)
    assert (candidate.precision, pair.needs.precisions) == ("int8", ("fp32", "int8"))


def test_beside_its_model_it_is_forged_as_before() -> None:
    assert [run.role for run in first_runs(facts(order(MODEL, OTHER)))] == ["baseline", "candidate"]
    assert order(MODEL, None).ready is None


# --- evidence ------------------------------------------------------------------------------------


def test_its_evidence_holds_and_is_decided_and_verified(folder: EvidenceFolder) -> None:
    assert folder.dossier.candidate_build is None
    assert folder.dossier.candidate_spec is None
    kinds = sorted(one.kind for one in folder.dossier.evidence)
    assert kinds == sorted(["job-spec"] * 2 + ["build", "measurement", "samples", "quality", "policy"])
    decided = folder.decision.predicate.deployment_decision
    assert decided.decision == "deployable", decided.reasons
    (checked,) = verify(folder.files, folder.evidence.control_plane.public).decisions
    assert (checked.decision, checked.digest) == ("deployable", folder.decision_digest)


def test_receipts_are_those_of_its_two_results() -> None:
    assert make_folder(replace(ALONE, receipts=True)).dossier.received_at is not None


def test_the_guard_says_what_it_could_not_judge(folder: EvidenceFolder) -> None:
    guard = folder.decision.predicate.guard_analysis
    assert guard is not None
    assert guard.status == "ok"
    skipped = {
        one.type for one in guard.evidence if one.status == "skipped" and "candidate" in one.metric_name
    }
    assert {"provenance_mismatch", "insufficient_provenance"} <= skipped
    assert any(one.type == "provenance_mismatch" and one.status == "passed" for one in guard.evidence)


def test_its_bundle_and_report_say_so(folder: EvidenceFolder) -> None:
    bundle = response_bundle(folder.dossier, folder.decision, folder.decision_digest)
    assert bundle["forge_metadata"] is None
    assert bundle["provenance"]["forge"]["candidate"] is None
    assert bundle["provenance"]["builds"]["candidate"] is None
    assert set(ResponseBundle.__struct_fields__) <= set(bundle)
    job = JobView(
        job_id="job_test", status="completed", created_at=NOW, updated_at=NOW, error=None, result=bundle,
        input_summary={"workflow": "analyze", "options": {}}, links={}, next_actions=(),
    )  # fmt: skip
    reported = [ReportJob(candidate="as it came", job=job, documents=folder.evidence.documents)]
    artifact = folder.dossier.measurement.predicate.config.candidate.artifact
    for page in (render_html(reported), render_markdown(reported)):
        assert "measured as it came" in page
        assert artifact in page


def test_a_build_cannot_be_left_out_nor_slipped_in() -> None:
    whole, alone = make_evidence(Scene()), make_evidence(ALONE)
    candidate = {
        ref.digest
        for ref in whole.evidence
        if ref.kind in ("job-spec", "build") and b'"candidate"' in _payload(whole, ref)
    }
    without = [ref for ref in whole.evidence if ref.digest not in candidate or _is_runtime(whole, ref)]
    assert len(without) == len(whole.evidence) - 2
    _refused(whole, without)
    more = [ref for ref in whole.evidence if ref.digest in candidate and not _is_runtime(whole, ref)]
    both = EvidenceSet({**alone.documents, **whole.documents}, (), alone.control_plane, alone.runner)
    _refused(both, [*alone.evidence, *more])
    _refused(both, [*alone.evidence, *(ref for ref in more if ref.kind == "build")])


def _payload(made: EvidenceSet, ref: EvidenceRef) -> bytes:
    return peek_payload(made.documents[ref.digest])[1]


def _is_runtime(made: EvidenceSet, ref: EvidenceRef) -> bool:
    return ref.kind == "job-spec" and b'"stage":"runtime"' in _payload(made, ref)


def _refused(made: EvidenceSet, evidence: list[EvidenceRef]) -> None:
    assert all(sha256_hex(made.documents[ref.digest]) == ref.digest for ref in evidence)
    with pytest.raises(Refused) as refused:
        assemble(made.documents, evidence, made.control_plane.public)
    assert refused.value.code == "chain_broken"
