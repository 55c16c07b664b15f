"""Composes the signed job spec that binds a run to one lease (DESIGN decision 9). Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from edgeproof.contract.canonical import canonical
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.statements import (
    ForgeConfig,
    JobSpec,
    JobSpecStatement,
    RunLimits,
    StageConfig,
)
from edgeproof.lab.chain import inputs_of
from edgeproof.server.db.times import utc_text


def seal_job_spec(
    key: SigningKey,
    *,
    run_id: str,
    job_id: str,
    attempt: int,
    lease_digest: str,
    runner_key: str,
    config: StageConfig,
    limits: RunLimits,
    policy_digest: str,
    issued_at: datetime,
    grace_seconds: float,
) -> bytes:
    """The envelope's bytes. It expires once the run's time and ``grace_seconds`` have passed."""
    spec = JobSpec(
        run_id=run_id,
        job_id=job_id,
        stage="forge" if isinstance(config, ForgeConfig) else "runtime",
        attempt=attempt,
        lease_digest=lease_digest,
        runner_key=runner_key,
        control_plane_key=key.public.base64,
        model=config.source_name if isinstance(config, ForgeConfig) else config.candidate.model_name,
        tasks=_tasks(config),
        config=config,
        policy_digest=policy_digest,
        limits=limits,
        issued_at=utc_text(issued_at),
        expires_at=utc_text(issued_at + timedelta(seconds=limits.max_seconds + grace_seconds)),
    )
    return key.seal(canonical(JobSpecStatement(subject=inputs_of(config), predicate=spec)))


def _tasks(config: StageConfig) -> tuple[str, ...]:
    if isinstance(config, ForgeConfig):
        return ("build",)
    return ("latency", "agreement" if config.dataset is None else "accuracy")
