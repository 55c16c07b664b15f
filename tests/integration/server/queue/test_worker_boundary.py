"""External jobs on the durable store: who may answer, what is kept, and what changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec
import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.stored_results import ResultFilter
from edgeproof.contract.worker import AnalyzeBody
from edgeproof.lab.forge_handover import asked_by
from edgeproof.server.artifacts.artifacts import open_artifact
from edgeproof.server.artifacts.documents import load_document
from edgeproof.server.audit.audit import list_entries
from edgeproof.server.fleet.external_workers import create_worker, list_workers, revoke_worker
from edgeproof.server.jobs.advance import sweep
from edgeproof.server.jobs.analyze import analyze
from edgeproof.server.jobs.jobs import list_jobs
from edgeproof.server.jobs.worker_boundary import read_worker_request, respond
from edgeproof.server.plane.control_plane import Principal
from edgeproof.server.plane.principals import authenticate, create_principal
from edgeproof.server.results.results import list_results
from edgeproof.testing.external_worker import completed_answer, failed_answer


async def refusal(awaitable: Any) -> str:
    with pytest.raises(Refused) as refused:
        await awaitable
    return refused.value.code


@pytest.fixture
async def worker(yard: Any) -> Principal:
    return await authenticate(yard.plane, await create_principal(yard.plane, "external", "a Runtime"))


async def external_job(yard: Any, **options: Any) -> str:
    job_id: str = (await yard.analyze(adapter="external", **options)).job_id
    return job_id


async def stored(yard: Any, job_id: str) -> dict[str, Any]:
    """The job's row and how many events it has."""
    row = await yard.plane.database.pool.fetchrow("SELECT * FROM jobs WHERE job_id = $1", job_id)
    events = await yard.plane.database.pool.fetchval(
        "SELECT count(*) FROM job_events WHERE job_id = $1", job_id
    )
    return {**row, "events": events}


async def test_an_external_job_has_no_runs_and_no_sweep_touches_it(yard: Any) -> None:
    job_id = await external_job(yard, backend="rknn", target="rk3588", precision="w8a8")
    await sweep(yard.plane)
    job = await yard.job(job_id)
    assert (job.status, job.runs) == ("queued", ())
    assert await yard.one.claim() is None


async def test_paths_of_an_external_job_are_kept_as_text(yard: Any, worker: Principal) -> None:
    request = AnalyzeRequest(
        model_path="../models/a.onnx", manifest_path="/srv/manifest.json", options={"adapter": "external"}
    )
    job = await analyze(yard.plane, yard.user, request)
    told = await read_worker_request(yard.plane, worker, job.job_id)
    assert (told.model_path, told.manifest_path) == ("../models/a.onnx", "/srv/manifest.json")


async def test_one_transaction_takes_the_job_to_its_end(yard: Any, worker: Principal) -> None:
    job_id = await external_job(yard)
    told = await read_worker_request(yard.plane, worker, job_id)
    body = completed_answer(told)
    receipt = await respond(yard.plane, worker, job_id, body)
    assert (receipt.status, receipt.decision, receipt.error) == ("completed", "unknown", None)
    row = await stored(yard, job_id)
    assert row["worker_request"] == msgspec.to_builtins(told)
    assert row["reported_at"] == receipt.updated_at == "2026-03-02T08:16:25Z"
    # Shown as the worker says; what orders and expires is the server's own stamp.
    assert (await yard.job(job_id)).updated_at == "2026-03-02T08:16:25Z"
    assert row["updated_at"] > row["created_at"]
    digest = hashlib.sha256(body).hexdigest()
    assert row["result"]["evidence"] == [{"kind": "worker-response", "digest": digest}]
    assert row["result"]["provenance"]["worker"] == worker.principal_id
    assert await load_document(yard.plane, digest) == body
    stamps = await yard.plane.database.pool.fetch(
        "SELECT type, data ->> 'status' AS status, xmin::text FROM job_events WHERE job_id = $1 ORDER BY seq",
        job_id,
    )
    assert [(one["type"], one["status"]) for one in stamps] == [
        ("status", "queued"), ("status", "running"), ("artifact", None), ("status", "completed"),
    ]  # fmt: skip
    assert len({one["xmin"] for one in stamps[1:]}) == 1


async def test_an_answered_result_is_listed_as_unsigned(yard: Any, worker: Principal) -> None:
    job_id = await external_job(yard)
    told = await read_worker_request(yard.plane, worker, job_id)
    await respond(yard.plane, worker, job_id, completed_answer(told))
    (kept,) = (await list_results(yard.plane, yard.user, ResultFilter(job=job_id))).results
    assert (kept.basis, kept.source, kept.role, kept.mean_ms) == ("unsigned", "worker", "candidate", 6.42)


async def test_an_answer_whose_result_breaks_its_schema_is_committed_as_a_failure(
    yard: Any, worker: Principal
) -> None:
    job_id = await external_job(yard)
    told = await read_worker_request(yard.plane, worker, job_id)
    body = completed_answer(told, runtime_result={"mean_ms": "fast"})
    receipt = await respond(yard.plane, worker, job_id, body)
    assert receipt.status == "failed"
    assert receipt.error is not None
    assert (receipt.error.code, receipt.error.stage) == ("result_invalid", "lab_validation")
    job = await yard.job(job_id)
    assert (job.status, job.result) == ("failed", None)
    assert (job.error.code, job.error.stage) == ("result_invalid", "lab_validation")
    assert job.error.evidence == receipt.error.evidence
    assert {
        "path": "$.runtime_result.mean_ms",
        "message": "Expected `float`, got `str`",
    } in job.error.evidence


@pytest.mark.parametrize("answer", [completed_answer, failed_answer])
async def test_of_many_answers_at_once_one_counts(yard: Any, worker: Principal, answer: Any) -> None:
    job_id = await external_job(yard)
    told = await read_worker_request(yard.plane, worker, job_id)
    answers = [respond(yard.plane, worker, job_id, answer(told)) for _ in range(8)]
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    taken = [one for one in outcomes if not isinstance(one, BaseException)]
    assert len(taken) == 1
    assert {one.code for one in outcomes if isinstance(one, Refused)} == {"job_terminal"}
    before = await stored(yard, job_id)
    assert await refusal(respond(yard.plane, worker, job_id, answer(told))) == "job_terminal"
    assert await stored(yard, job_id) == before


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"job_id": "job_of_another"}, "invalid_request"),
        ({"result": {"deployment_decision": {"decision": "deployable"}}}, "decision_not_yours"),
        ({"deployment_decision": {"decision": "deployable"}}, "decision_not_yours"),
        ({"status": "done"}, "invalid_request"),
        ({"completed_at": "now"}, "invalid_request"),
        ({"forge_metadata": None}, "invalid_request"),
        ({"runtime_result": None}, "invalid_request"),
        ({"error": {"code": "x"}}, "invalid_request"),
    ],
)
async def test_an_answer_of_the_wrong_form_changes_nothing(
    yard: Any, worker: Principal, changes: dict[str, Any], code: str
) -> None:
    job_id = await external_job(yard)
    before = await stored(yard, job_id)
    told = await read_worker_request(yard.plane, worker, job_id)
    assert await refusal(respond(yard.plane, worker, job_id, completed_answer(told, **changes))) == code
    assert await refusal(respond(yard.plane, worker, job_id, b"{")) == "invalid_json"
    assert await refusal(respond(yard.plane, worker, job_id, failed_answer(told, runtime_result={}))) == (
        "invalid_request"
    )
    assert await stored(yard, job_id) == before


async def test_only_an_external_worker_answers_and_only_external_jobs(
    yard: Any, worker: Principal, admin: Principal, another_user: Principal
) -> None:
    job_id = await external_job(yard)
    told = await read_worker_request(yard.plane, worker, job_id)
    before = await stored(yard, job_id)
    for somebody in (yard.user, another_user, admin, yard.one.principal):
        assert await refusal(respond(yard.plane, somebody, job_id, completed_answer(told))) == "forbidden"
    assert await stored(yard, job_id) == before
    fleet = (await yard.analyze()).job_id
    assert (
        await refusal(respond(yard.plane, worker, fleet, completed_answer(told, job_id=fleet))) == "not_found"
    )
    assert await refusal(read_worker_request(yard.plane, worker, fleet)) == "not_found"
    assert await refusal(read_worker_request(yard.plane, another_user, job_id)) == "not_found"
    assert await refusal(read_worker_request(yard.plane, yard.one.principal, job_id)) == "forbidden"
    assert await refusal(respond(yard.plane, worker, "absent", completed_answer(told))) == "not_found"
    assert await read_worker_request(yard.plane, admin, job_id) == told


async def test_a_job_may_name_its_worker(yard: Any, worker: Principal) -> None:
    other = await authenticate(yard.plane, await create_principal(yard.plane, "external", "another"))
    job_id = await external_job(yard, worker=worker.principal_id)
    told = await read_worker_request(yard.plane, worker, job_id)
    assert await refusal(read_worker_request(yard.plane, other, job_id)) == "not_found"
    assert await refusal(respond(yard.plane, other, job_id, completed_answer(told))) == "not_found"
    assert (await respond(yard.plane, worker, job_id, completed_answer(told))).status == "completed"
    assert await refusal(external_job(yard, worker="external-0")) == "unknown_worker"
    assert await refusal(external_job(yard, worker=yard.user.principal_id)) == "unknown_worker"


async def test_a_token_is_made_listed_and_revoked_by_admins(yard: Any, admin: Principal) -> None:
    made = await create_worker(yard.plane, admin, "jetson lab")
    worker = await authenticate(yard.plane, made.token)
    assert (worker.kind, worker.principal_id) == ("external", made.worker_id)
    digests = await yard.plane.database.pool.fetch("SELECT token_digest FROM principals")
    assert hashlib.sha256(made.token.encode()).hexdigest() in {row[0] for row in digests}
    assert made.token not in {row[0] for row in digests}
    job_id = await external_job(yard)
    told = await read_worker_request(yard.plane, worker, job_id)
    revoked = await revoke_worker(yard.plane, admin, made.worker_id)
    assert await revoke_worker(yard.plane, admin, made.worker_id) == revoked
    assert await list_workers(yard.plane, yard.user) == (revoked,)
    assert await refusal(authenticate(yard.plane, made.token)) == "unauthenticated"
    # Also for an answer that was on the way when the token was revoked.
    assert await refusal(respond(yard.plane, worker, job_id, completed_answer(told))) == "unauthenticated"
    assert (await yard.job(job_id)).status == "queued"
    assert await refusal(external_job(yard, worker=made.worker_id)) == "unknown_worker"
    for somebody in (yard.user, worker):
        assert await refusal(create_worker(yard.plane, somebody, "x")) == "forbidden"
        assert await refusal(revoke_worker(yard.plane, somebody, made.worker_id)) == "forbidden"
    assert await refusal(revoke_worker(yard.plane, admin, yard.user.principal_id)) == "not_found"


async def test_a_worker_reads_the_inputs_of_active_jobs_that_are_its_to_answer(
    yard: Any, worker: Principal
) -> None:
    assert await refusal(open_artifact(yard.plane, worker, yard.model)) == "not_found"
    other = await authenticate(yard.plane, await create_principal(yard.plane, "external", "another"))
    job_id = await external_job(yard, worker=worker.principal_id)
    for digest in (yard.model, yard.dataset):
        assert (await open_artifact(yard.plane, worker, digest)).digest == digest
        assert await refusal(open_artifact(yard.plane, other, digest)) == "not_found"
    policy = (await stored(yard, job_id))["policy_digest"]
    assert await refusal(open_artifact(yard.plane, worker, policy)) == "not_found"
    told = await read_worker_request(yard.plane, worker, job_id)
    await respond(yard.plane, worker, job_id, failed_answer(told))
    assert await refusal(open_artifact(yard.plane, worker, yard.model)) == "not_found"


async def test_a_users_inputs_are_theirs_also_for_external_jobs(yard: Any, another_user: Principal) -> None:
    request = AnalyzeRequest(model_path=f"sha256:{yard.model}", options={"adapter": "external"})
    assert await refusal(analyze(yard.plane, another_user, request)) == "artifact_missing"


async def test_answered_jobs_keep_their_place_in_the_list(yard: Any, worker: Principal) -> None:
    first, second = await external_job(yard), await external_job(yard)
    told = await read_worker_request(yard.plane, worker, first)
    body = completed_answer(told, completed_at="2099-01-01T00:00:00Z")
    await respond(yard.plane, worker, first, body)
    page = await list_jobs(yard.plane, yard.user)
    assert [job.job_id for job in page.jobs] == [second, first]
    assert page.jobs[1].updated_at == "2099-01-01T00:00:00Z"


async def test_a_forge_hands_over_with_its_summary(yard: Any, worker: Principal, fixture_file: Any) -> None:
    summary = fixture_file("forge_worker_runtime_summary")
    handover = asked_by(msgspec.convert({**summary, "options": {"adapter": "external"}}, AnalyzeBody))
    job = await analyze(yard.plane, yard.user, handover, "key")
    assert (await analyze(yard.plane, yard.user, handover, "key")).job_id == job.job_id
    told = await read_worker_request(yard.plane, worker, job.job_id)
    assert told.model_path == summary["source_model_path"]
    assert told.options["provenance"] == told.input_summary["provenance"]


async def test_a_handed_over_artifact_is_found_by_its_digest(yard: Any, fixture_file: Any) -> None:
    summary = fixture_file("forge_worker_runtime_summary") | {
        "backend": "onnxruntime", "target": "cpu", "precision": "fp32",
        "source_model_sha256": yard.model, "artifact_sha256": yard.dataset.upper(),
    }  # fmt: skip
    job = await analyze(yard.plane, yard.user, asked_by(msgspec.convert(summary, AnalyzeBody)))
    inputs = await yard.plane.database.pool.fetch(
        "SELECT digest FROM job_artifacts WHERE job_id = $1 AND role = 'input'", job.job_id
    )
    assert {row[0] for row in inputs} == {yard.model, yard.dataset}
    missing = asked_by(msgspec.convert({**summary, "artifact_sha256": "0" * 64}, AnalyzeBody))
    assert await refusal(analyze(yard.plane, yard.user, missing)) == "artifact_missing"


async def test_who_made_revoked_and_answered_is_audited(yard: Any, admin: Principal) -> None:
    made = await create_worker(yard.plane, admin, "jetson lab")
    worker = await authenticate(yard.plane, made.token)
    job_id = await external_job(yard)
    body = completed_answer(await read_worker_request(yard.plane, worker, job_id))
    await respond(yard.plane, worker, job_id, body)
    assert await refusal(respond(yard.plane, worker, job_id, body)) == "job_terminal"
    for _ in range(2):
        await revoke_worker(yard.plane, admin, made.worker_id)
    of_worker = (await list_entries(yard.plane, admin, subject=made.worker_id)).entries
    assert [(one.actor, one.act) for one in of_worker] == [
        (admin.principal_id, "worker.revoked"), (admin.principal_id, "worker.created"),
    ]  # fmt: skip
    (answered,) = (await list_entries(yard.plane, admin, actor=made.worker_id)).entries
    assert (answered.act, answered.subject) == ("job.answered", job_id)
    assert answered.data == {"status": "completed", "response": hashlib.sha256(body).hexdigest()}
