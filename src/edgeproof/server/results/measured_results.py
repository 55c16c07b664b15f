"""What a completed job measured, kept beside posted results so that all are listed together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from edgeproof.contract.bundle import Basis
from edgeproof.contract.errors import Refused
from edgeproof.contract.log_ids import about
from edgeproof.contract.stored_results import ResultSource
from edgeproof.server.db.database import Connection
from edgeproof.server.results.results import Role, keep_result

_logger = logging.getLogger(__name__)
_OWNER: Final = "SELECT owner_id FROM jobs WHERE job_id = $1"


async def keep_measured(connection: Connection, job_id: str, bundle: Mapping[str, Any]) -> None:
    """Keep both sides of a signed measurement, as its response bundle shows them.

    What cannot be listed (a model whose name is too long, say) is left out and said in the log: the job's
    own decision and evidence do not need it.
    """
    owner = await connection.fetchval(_OWNER, job_id)
    sides: tuple[tuple[Role, Any], ...] = (
        ("baseline", bundle["comparison"]["result"]["baseline_runtime_result"]),
        ("candidate", bundle["runtime_result"]),
    )
    for role, body in sides:
        await _keep(connection, owner, job_id, role, body, basis="signed", source="measured")


async def keep_answered(connection: Connection, job_id: str, bundle: Mapping[str, Any]) -> None:
    """Keep the one result of an external worker's answer, as its response bundle shows it: unsigned."""
    owner = await connection.fetchval(_OWNER, job_id)
    result = bundle["runtime_result"]
    await _keep(connection, owner, job_id, "candidate", result, basis="unsigned", source="worker")


async def _keep(
    connection: Connection,
    owner: str,
    job_id: str,
    role: Role,
    body: Any,
    *,
    basis: Basis,
    source: ResultSource,
) -> None:
    try:
        await keep_result(connection, owner, body, basis=basis, source=source, job_id=job_id, role=role)
    except Refused as error:
        with about(job_id=job_id):
            _logger.warning("the job's %s is not listed: %s", role, error.detail)
