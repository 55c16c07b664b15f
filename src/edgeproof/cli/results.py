"""What an analysis leaves in a folder: reports, a summary, the evidence and the key to check it by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgeproof.cli.analysis import clear_evidence, save_evidence, write_whole
from edgeproof.cli.display import comparison_of, decision_of
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.jobs import JobView
from edgeproof.lab.report import ReportJob, render_html, render_markdown
from edgeproof.lab.verify import trust_document
from edgeproof.lab.withdrawn import revoked_of


def summary(candidate: str, job: JobView) -> dict[str, Any]:
    """One entry of ``summary.json``."""
    decision, comparison = decision_of(job), comparison_of(job)
    failed = {} if job.error is None else {"error": job.error}
    withdrawn = {} if job.withdrawn is None else {"withdrawn": job.withdrawn}
    return {
        "candidate": candidate,
        "job_id": job.job_id,
        "decision": decision.get("decision"),
        "reasons": decision.get("reasons", []),
        "latency": comparison.get("latency", []),
        "accuracy": comparison.get("accuracy"),
        **failed,
        **withdrawn,
    }


async def write_results(
    client: ControlPlaneClient, out: Path, jobs: Sequence[tuple[str, JobView]]
) -> PublicKey:
    """Writes ``summary.json``, ``report.html``, ``report.md``, ``evidence/`` and ``trust.json``.

    ``evidence/`` then holds what these jobs rest on and nothing of an earlier one. Returns the
    control plane's key, as its ``/health`` tells it.
    """
    key = PublicKey.from_base64((await client.health()).server_key)
    clear_evidence(out / "evidence")
    for _, job in jobs:
        if job.status == "completed":
            await save_evidence(client, job.job_id, out / "evidence")
    documents = _raw_data(out / "evidence")
    reported = [ReportJob(candidate=name, job=job, documents=documents) for name, job in jobs]
    entries = [summary(name, job) for name, job in jobs]
    write_whole(out / "summary.json", msgspec.json.format(msgspec.json.encode(entries), indent=2))
    write_whole(out / "report.html", render_html(reported).encode())
    write_whole(out / "report.md", render_markdown(reported).encode())
    withdrawn = [job.withdrawn for _, job in jobs if job.withdrawn is not None]
    write_whole(out / "trust.json", trust_document(key, revoked_of(withdrawn)))
    return key


def _raw_data(evidence: Path) -> dict[str, bytes]:
    """By digest, what the report draws: raw samples and outputs."""
    return {
        path.stem.rpartition("-")[2]: path.read_bytes()
        for kind in ("samples", "quality")
        for path in evidence.glob(f"{kind}-*.json")
    }
