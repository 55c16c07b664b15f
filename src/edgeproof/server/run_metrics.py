"""The rows of ``run_model_metrics`` and ``run_hardware_metrics``: written with the outcome, read by job.

A row's key is (run, row key), and a run's rows are written only by the transaction that stores its outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from edgeproof.contract.run_metrics import HardwareMetrics, JobMetrics, ModelMetrics
from edgeproof.server.control_plane import ControlPlane, Principal
from edgeproof.server.database import Connection
from edgeproof.server.events import demand_visible

_MODEL_COLUMNS: Final = ModelMetrics.__struct_fields__
_HARDWARE_COLUMNS: Final = HardwareMetrics.__struct_fields__


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns)


def _of_job(table: str, columns: Sequence[str]) -> str:
    return (
        f"SELECT {_listed(columns)} FROM {table} JOIN runs USING (run_id)"  # noqa: S608 - names of ours
        " WHERE job_id = $1 ORDER BY run_id, row_key"
    )


# One statement, for it is part of every submission.
_ADD: Final = f"""
WITH models AS (
    INSERT INTO run_model_metrics ({_listed(_MODEL_COLUMNS)})
    SELECT {_listed(_MODEL_COLUMNS)} FROM jsonb_populate_recordset(NULL::run_model_metrics, $1)
)
INSERT INTO run_hardware_metrics ({_listed(_HARDWARE_COLUMNS)})
SELECT {_listed(_HARDWARE_COLUMNS)} FROM jsonb_populate_recordset(NULL::run_hardware_metrics, $2)
"""  # noqa: S608 - names of ours
_MODELS: Final = _of_job("run_model_metrics", _MODEL_COLUMNS)
_HARDWARE: Final = _of_job("run_hardware_metrics", _HARDWARE_COLUMNS)


async def store_metrics(
    connection: Connection, models: Sequence[ModelMetrics], hardware: Sequence[HardwareMetrics]
) -> None:
    """In the transaction that stores the run's outcome."""
    await connection.execute(_ADD, models, hardware)


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
