"""Which worker adapters there are, by the name that a job gives (``options.adapter``)."""

from __future__ import annotations

from typing import Final

from edgeproof.contract.requests import Adapter, AnalyzeOptions
from edgeproof.server.jobs.external_adapter import ExternalAdapter
from edgeproof.server.jobs.fleet_adapter import FleetAdapter
from edgeproof.server.jobs.worker_adapter import WorkerAdapter

ADAPTERS: Final[dict[Adapter, WorkerAdapter]] = {"fleet": FleetAdapter(), "external": ExternalAdapter()}


def adapter_of(options: AnalyzeOptions) -> WorkerAdapter:
    return ADAPTERS[options.adapter]
