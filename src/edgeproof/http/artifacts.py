"""Artifact bytes, streamed both ways; reading takes a ``Range``."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, get, head, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from edgeproof.contract.jobs import ArtifactInfo
from edgeproof.contract.runners import LEASE_HEADER
from edgeproof.domain.runs import Lease, parse_lease
from edgeproof.http.authentication import plane_of
from edgeproof.http.body_guard import BODY_KIND
from edgeproof.http.byte_ranges import byte_range
from edgeproof.http.description import TOKEN, ArtifactBody, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import DigestPath, known_digest, known_id
from edgeproof.server.artifacts import artifacts

BINARY = "application/octet-stream"
PATH = "/api/artifacts/sha256/{digest:str}"

LeaseHeader = Annotated[
    str | None,
    HeaderParameter(
        name=LEASE_HEADER, description="`<attempt>.<lease token>`; runners read and write under it"
    ),
]
RunQuery = Annotated[
    str | None,
    QueryParameter(name="run_id", description="The run under whose lease a runner reads or writes"),
]
RangeHeader = Annotated[str | None, HeaderParameter(name="Range", description="One range of bytes")]
IfRangeHeader = Annotated[str | None, HeaderParameter(name="If-Range")]


BYTES = ResponseSpec(bytes, generate_examples=False, description="All bytes", media_type=BINARY)
THERE = ResponseSpec(None, description="It is there; `Content-Length` is its size")
PART = ResponseSpec(bytes, generate_examples=False, description="The bytes of `Range`", media_type=BINARY)


def held(run_id: str | None, lease: str | None) -> tuple[str | None, Lease | None]:
    """The run and lease under which a runner acts; a user has none. Raises ``not_found``, ``stale_lease``."""
    if run_id is None:
        return None, None
    return known_id(run_id), parse_lease(lease)


@put(
    PATH,
    status_code=200,
    opt={BODY_KIND: "artifact"},
    operation_id="putArtifact",
    operation_class=ArtifactBody,
    summary="Upload an artifact under its digest",
    tags=["artifacts"],
    responses=problems(
        *TOKEN,
        "artifact_digest_mismatch",
        "body_too_large",
        "body_too_slow",
        "quota_exceeded",
        "stale_lease",
        "disk_full",
    ),
)
async def put_artifact(
    request: StrictRequest, digest: DigestPath, run_id: RunQuery = None, lease: LeaseHeader = None
) -> ArtifactInfo:
    """All bytes are taken, and kept only if they are those named. Repeating it is harmless."""
    held_run, held_lease = held(run_id, lease)
    return await artifacts.put_artifact(
        plane_of(request),
        request.user,
        known_digest(digest),
        request.stream(),
        run_id=held_run,
        lease=held_lease,
    )


@get(
    PATH,
    media_type=BINARY,
    operation_id="getArtifact",
    summary="Download an artifact",
    tags=["artifacts"],
    responses={
        200: BYTES,
        206: PART,
        **problems(*TOKEN, "not_found", "artifact_lost", "range_not_satisfiable", "stale_lease"),
    },
)
async def get_artifact(
    request: StrictRequest,
    digest: DigestPath,
    run_id: RunQuery = None,
    lease: LeaseHeader = None,
    range_: RangeHeader = None,
    if_range: IfRangeHeader = None,
) -> Stream:
    """200 with all bytes, or 206 with those of `Range`. What you may not read is not there."""
    held_run, held_lease = held(run_id, lease)
    stored = await artifacts.open_artifact(
        plane_of(request), request.user, known_digest(digest), run_id=held_run, lease=held_lease
    )
    headers = _headers(digest, stored.size)
    unchanged = if_range is None or if_range == headers["ETag"]
    part = byte_range(range_, stored.size) if unchanged else None
    start, end = part or (0, stored.size)
    headers["Content-Length"] = str(end - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
    return Stream(
        stored.read(start, end), status_code=206 if part else 200, media_type=BINARY, headers=headers
    )


@head(
    PATH,
    operation_id="headArtifact",
    summary="Whether an artifact is there, and its size",
    tags=["artifacts"],
    responses={200: THERE, **problems(*TOKEN, "not_found", "artifact_lost", "stale_lease")},
)
async def head_artifact(
    request: StrictRequest, digest: DigestPath, run_id: RunQuery = None, lease: LeaseHeader = None
) -> Response[None]:
    """As `getArtifact`, without the bytes."""
    held_run, held_lease = held(run_id, lease)
    stored = await artifacts.open_artifact(
        plane_of(request), request.user, known_digest(digest), run_id=held_run, lease=held_lease
    )
    return _HeadersOnly(None, media_type=BINARY, headers=_headers(digest, stored.size))


class _HeadersOnly(Response[None]):
    """Litestar has no rendering of "nothing" for binary media types."""

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:
        return b""


def _headers(digest: str, size: int) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, immutable, max-age=31536000",
        "Content-Length": str(size),
        "ETag": f'"{digest}"',
    }
