"""What the fleet measured is listed beside what was posted, labelled by its basis."""

from __future__ import annotations

from typing import Any

import pytest

from edgeproof.contract.bundle import ResponseBundle
from edgeproof.contract.canonical import digest_of
from edgeproof.contract.stored_results import ResultFilter
from edgeproof.server.results.compare import compare_stored
from edgeproof.server.results.results import find_result, list_results
from edgeproof.testing.evidence import Scene


@pytest.fixture
async def done(yard: Any) -> Any:
    job = await yard.analyze(precision="fp32")
    await yard.one.work_off(Scene(ratio=0.5, images=1000))
    ended = await yard.job(job.job_id)
    assert ended.status == "completed", ended.error
    return ended


async def test_both_sides_of_a_completed_job_are_listed_as_signed(yard: Any, done: Any) -> None:
    page = await list_results(yard.plane, yard.user, ResultFilter(job=done.job_id))
    assert [(one.role, one.basis, one.source) for one in page.results] == [
        ("candidate", "signed", "measured"),
        ("baseline", "signed", "measured"),
    ]
    candidate = await find_result(yard.plane, yard.user, done.job_id)
    assert candidate is not None
    assert (candidate.role, candidate.result) == ("candidate", done.result["runtime_result"])
    assert candidate.digest == digest_of(done.result["runtime_result"])


async def test_comparing_signed_results_again_signs_nothing(yard: Any, done: Any) -> None:
    page = await list_results(yard.plane, yard.user, ResultFilter(job=done.job_id))
    new, base = page.results
    bundle = await compare_stored(yard.plane, yard.user, base.result_id, new.result_id, with_guard=True)
    assert bundle["basis"] == bundle["deployment_decision"]["basis"] == "unsigned"
    assert bundle["provenance"]["origin"]["new"]["basis"] == "signed"
    assert bundle["comparison"]["result"]["mean_ms"]["new"] == done.result["runtime_result"]["mean_ms"]


async def test_a_jobs_result_has_the_bundles_keys(yard: Any, done: Any) -> None:
    assert set(ResponseBundle.__struct_fields__) <= set(done.result)
    assert done.result["basis"] == "signed"
    assert {"runtime_result", "forge_metadata", "decision_digest", "evidence"} <= set(done.result)


async def test_a_failed_job_lists_nothing(yard: Any) -> None:
    await yard.analyze(precision="fp32")
    await yard.one.work_off(Scene(pairs=9))
    assert (await list_results(yard.plane, yard.user, ResultFilter())).results == ()
