"""One run's numbers as rows (seed 003's ``run_model_metrics`` and ``run_hardware_metrics``).

They are a view of signed evidence for queries and never evidence themselves; a number that the run did not
take is null and never zero. No verdict is among them: a run measures, the job's decision judges.
"""

from __future__ import annotations

from typing import Literal

from edgeproof.contract.base import Wire
from edgeproof.contract.ids import Digest, IdText

Basis = Literal["measured", "estimated", "simulated"]


class ModelMetrics(Wire, frozen=True, kw_only=True):
    """One model of one run. ``model_id`` is the artifact's digest; ``score`` is a fraction, and
    ``score_metric`` says of what. Latencies are milliseconds of a call; ``wall_seconds`` is the run's.
    ``p95_ms`` and ``p99_ms`` are over all counted calls of one side, which are correlated: not certified."""

    run_id: IdText
    row_key: str
    model_id: Digest
    model_name: str
    precision: str
    backend: str
    target: str
    basis: Basis
    score: float | None = None
    score_metric: str | None = None
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    samples: int | None = None
    samples_per_second: float | None = None
    tokens_per_second: float | None = None
    time_to_first_token_ms: float | None = None
    energy_joules: float | None = None
    wall_seconds: float | None = None
    peak_memory_bytes: int | None = None
    artifact_size_bytes: int | None = None


class HardwareMetrics(Wire, frozen=True, kw_only=True):
    """One device of one run; a run has as many as it used. ``energy_source`` names the meter."""

    run_id: IdText
    row_key: str
    device_kind: str
    device_name: str
    basis: Basis
    memory_bytes: int | None = None
    peak_memory_bytes: int | None = None
    temperature_c: float | None = None
    throttle_events: int | None = None
    power_limit_w: float | None = None
    energy_joules: float | None = None
    energy_source: str | None = None
    wall_seconds: float | None = None


class JobMetrics(Wire, frozen=True, kw_only=True):
    """``GET /api/jobs/{id}/metrics``: the rows of a job's completed runs, by run and row key.

    ``percentiles`` is said of every row's ``p95_ms`` and ``p99_ms``; which of them a job's blocks certify,
    its comparison tells.
    """

    job_id: str
    percentiles: Literal["not_certified"] = "not_certified"
    models: tuple[ModelMetrics, ...]
    hardware: tuple[HardwareMetrics, ...]
