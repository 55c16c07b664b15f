"""After all that is bad: the same server and the same runner bring a good job to its signed decision."""

from __future__ import annotations

from edgeproof.client import ControlPlaneClient

from . import inputs
from .system import analysed


async def test_the_next_good_job(user: ControlPlaneClient) -> None:
    job = await analysed(user, inputs.linear(), dataset=inputs.labelled(), runs=5, warmup=1)
    assert (job.status, job.error) == ("completed", None)
    assert job.result is not None
    decision = job.result["deployment_decision"]
    assert decision["basis"] == "signed"
    assert decision["decision"] in (
        "deployable", "deployable_with_note", "review_required", "unknown"
    )  # fmt: skip
    assert {item.kind for item in (await user.evidence(job.job_id)).items} >= {"build", "measurement"}
