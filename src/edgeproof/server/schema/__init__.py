"""The declared database schema: what the sum of all migrations must equal (a test compares them).

It is declared for Alembic and for readers; queries are plain SQL next to the use case that needs them.
Every time is ``timestamptz`` by the database's own clock (DESIGN decision 6).
"""

from __future__ import annotations

from edgeproof.server.schema import artifacts, audit, jobs, principals, results, run_numbers, run_queue
from edgeproof.server.schema.columns import metadata

__all__ = ["artifacts", "audit", "jobs", "metadata", "principals", "results", "run_numbers", "run_queue"]
