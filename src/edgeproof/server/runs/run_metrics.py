"""The rows of ``run_model_metrics`` and ``run_hardware_metrics``: written with the outcome, read by job.

A row's key is (run, row key), and a run's rows are written only by the transaction that stores its outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from edgeproof.contract.run_metrics import HardwareMetrics, JobMetrics, ModelMetrics
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.events import demand_visible

_MODEL_COLUMNS: Final = ModelMetrics.__struct_fields__
_HARDWARE_COLUMNS: Final = HardwareMetrics.__struct_fields__


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns)


def _of_job(table: str, columns: Sequence[str]) -> str:
    return (
        f"SELECT {_listed(columns)} FROM {table} JOIN runs USING (run_id)"  # noqa: S608 - names of ours
        " WHERE job_id = $1 ORDER BY run_id, row_key"
    )


_MODELS: Final = _of_job("run_model_metrics", _MODEL_COLUMNS)
_HARDWARE: Final = _of_job("run_hardware_metrics", _HARDWARE_COLUMNS)


async def job_metrics(plane: ControlPlane, principal: Principal, job_id: str) -> JobMetrics:
    """Raises ``Refused`` (``not_found``)."""
    await demand_visible(plane, principal, job_id)
    models: list[Any] = await plane.database.pool.fetch(_MODELS, job_id)
    hardware: list[Any] = await plane.database.pool.fetch(_HARDWARE, job_id)
    return JobMetrics(
        job_id=job_id,
        models=tuple(ModelMetrics(**row) for row in models),
        hardware=tuple(HardwareMetrics(**row) for row in hardware),
    )
