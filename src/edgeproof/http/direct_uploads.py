"""Uploads past the control plane: where to put the bytes, and that they are put."""

from __future__ import annotations

from typing import Annotated

from litestar import post
from litestar.params import JSONBody, PathParameter

from edgeproof.contract.jobs import ArtifactInfo
from edgeproof.contract.uploads import DirectUpload, DirectUploadRequest
from edgeproof.http.artifacts import PATH, LeaseHeader, RunQuery, held
from edgeproof.http.authentication import plane_of
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import DigestPath, known_digest, known_id
from edgeproof.server.artifacts import direct_uploads

UploadIdPath = Annotated[str, PathParameter(description="As `offerUpload` gave it")]


@post(
    f"{PATH}/direct",
    status_code=200,
    operation_id="offerUpload",
    summary="Ask for a URL of the object store to put an artifact at",
    tags=["artifacts"],
    responses=problems(*TOKEN, *BODY, "body_too_large", "quota_exceeded", "stale_lease"),
)
async def offer_upload(
    request: StrictRequest,
    digest: DigestPath,
    data: JSONBody[DirectUploadRequest],
    run_id: RunQuery = None,
    lease: LeaseHeader = None,
) -> DirectUpload:
    """Without a URL in the answer, use `putArtifact`: it always works."""
    held_run, held_lease = held(run_id, lease)
    return await direct_uploads.offer_upload(
        plane_of(request), request.user, known_digest(digest), data.size, run_id=held_run, lease=held_lease
    )


@post(
    f"{PATH}/direct/{{upload_id:str}}",
    status_code=200,
    operation_id="finishUpload",
    summary="Say that the bytes are at the URL",
    tags=["artifacts"],
    responses=problems(
        *TOKEN, "not_found", "artifact_digest_mismatch", "body_too_large", "quota_exceeded", "stale_lease"
    ),
)
async def finish_upload(
    request: StrictRequest,
    digest: DigestPath,
    upload_id: UploadIdPath,
    run_id: RunQuery = None,
    lease: LeaseHeader = None,
) -> ArtifactInfo:
    """The bytes count once they were read back and have the digest."""
    held_run, held_lease = held(run_id, lease)
    return await direct_uploads.finish_upload(
        plane_of(request),
        request.user,
        known_digest(digest),
        known_id(upload_id),
        run_id=held_run,
        lease=held_lease,
    )
