"""The audit log: its entries for people, its seals for who checks it."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from edgeproof.contract.audit import AuditList, AuditPage
from edgeproof.http.authentication import plane_of
from edgeproof.http.description import TOKEN, problems
from edgeproof.http.jobs import PLAIN
from edgeproof.http.json_bodies import MAX_INTEGER, StrictRequest
from edgeproof.server.audit.audit import list_entries, sealed_pages

Before = Annotated[
    int | None, QueryParameter(name="before", ge=1, le=MAX_INTEGER, description="Entries below this id")
]
Subject = Annotated[
    str | None, QueryParameter(name="subject", pattern=PLAIN, description="Entries about this alone")
]
Actor = Annotated[
    str | None, QueryParameter(name="actor", pattern=PLAIN, description="Entries of this actor alone")
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=1000, description="Most entries on a page")]
After = Annotated[
    int, QueryParameter(name="after", ge=0, le=MAX_INTEGER, description="Seals behind this number")
]
Seals = Annotated[int, QueryParameter(name="limit", ge=1, le=20, description="Most seals on a page")]


@get(
    "/api/audit",
    operation_id="listAudit",
    summary="Who did what, newest first",
    tags=["audit"],
    responses=problems(*TOKEN),
)
async def list_audit(
    request: StrictRequest,
    before: Before = None,
    subject: Subject = None,
    actor: Actor = None,
    limit: Limit = 100,
) -> AuditList:
    """For admins. Entries that are not sealed yet are among them."""
    return await list_entries(
        plane_of(request), request.user, before=before, subject=subject, actor=actor, limit=limit
    )


@get(
    "/api/audit/seals",
    operation_id="auditSeals",
    summary="The sealed chain with its entries as they are now, and the unsealed tail",
    tags=["audit"],
    responses=problems(*TOKEN),
)
async def audit_seals(request: StrictRequest, after: After = 0, limit: Seals = 5) -> AuditPage:
    """For admins: all that is needed to check every entry, link and signature elsewhere."""
    return await sealed_pages(plane_of(request), request.user, after=after, limit=limit)
