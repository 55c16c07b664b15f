"""A job with an ``artifact_path`` and no ``model_path``: its candidate has no forge run, all the way."""

from __future__ import annotations

from typing import Any

from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.server.artifacts.evidence import list_evidence
from edgeproof.server.jobs.analyze import analyze
from edgeproof.testing.evidence import Scene


async def test_it_goes_from_queued_to_a_signed_decision_with_one_forge_run(yard: Any) -> None:
    request = AnalyzeRequest(
        artifact_path=f"sha256:{yard.dataset}",
        options={
            "dataset": f"sha256:{yard.dataset}",
            "precision": "fp32",
            "threads": 1,
            "baseline": {"model_path": f"sha256:{yard.model}"},
        },
    )
    job = await analyze(yard.plane, yard.user, request)
    assert [(run.stage, run.role) for run in job.runs] == [("forge", "baseline")]
    assert await yard.one.work_off(Scene(ratio=0.5, images=1000)) == 2
    done = await yard.job(job.job_id)
    assert done.status == "completed", done.error
    assert [(run.stage, run.role) for run in done.runs] == [("forge", "baseline"), ("runtime", "pair")]
    assert done.result["deployment_decision"]["decision"] == "deployable"
    assert done.result["deployment_decision"]["basis"] == "signed"
    assert done.result["forge_metadata"] is None
    ran = done.result["runtime_result"]["extra"]
    assert ran["runtime_artifact_sha256"] == ran["source_model_sha256"] == yard.dataset
    kinds = [item.kind for item in (await list_evidence(yard.plane, yard.user, job.job_id)).items]
    assert (kinds.count("build"), kinds.count("job-spec")) == (1, 2)
