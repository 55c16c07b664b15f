"""Runners: registration, enrolment tokens, and who is there."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, post
from litestar.params import HeaderParameter, JSONBody, PathParameter

from edgeproof.contract.runners import (
    PROOF_HEADER,
    EnrolmentTokenList,
    EnrolmentTokenRequest,
    EnrolmentTokenResponse,
    EnrolmentTokenView,
    RegisterRequest,
    RegisterResponse,
    RunnerList,
)
from edgeproof.http.authentication import PUBLIC, plane_of
from edgeproof.http.body_guard import BODY_KIND
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import known_digest
from edgeproof.server.fleet import enrolment
from edgeproof.server.fleet.register import register
from edgeproof.server.fleet.runners import list_runners as registered_runners

Proof = Annotated[
    str | None,
    HeaderParameter(name=PROOF_HEADER, max_length=500, description="`<nonce>.<base64url signature>`"),
]

TokenDigestPath = Annotated[
    str, PathParameter(description="The SHA-256 of the token's text, in lower-case hexadecimal")
]


@post(
    "/api/runners/register",
    status_code=200,
    opt={PUBLIC: True, BODY_KIND: "small"},
    security=[{}],
    operation_id="registerRunner",
    summary="Register a runner, or renew its token",
    tags=["runners"],
    responses=problems(*BODY, "challenge_required", "challenge_invalid", "key_not_allowed"),
)
async def register_runner(
    request: StrictRequest, data: JSONBody[RegisterRequest], proof: Proof = None
) -> RegisterResponse:
    """Without a proof the answer is 401 `challenge_required` with a `nonce`.

    The proof signs, in the domain `edgeproof-register-v1`, the server key's id, the public URL, the nonce,
    the runner's key and the SHA-256 of the body.
    """
    return await register(plane_of(request), data, await request.body(), proof)


@get(
    "/api/runners",
    operation_id="listRunners",
    summary="List the registered runners",
    tags=["runners"],
    responses=problems(*TOKEN),
)
async def list_runners(request: StrictRequest) -> RunnerList:
    """For users and admins."""
    return RunnerList(runners=await registered_runners(plane_of(request), request.user))


@post(
    "/api/enrolment-tokens",
    status_code=201,
    operation_id="createEnrolmentToken",
    summary="Make a token that puts runner keys on the allowlist",
    tags=["runners"],
    responses=problems(*TOKEN, *BODY),
)
async def create_enrolment_token(
    request: StrictRequest, data: JSONBody[EnrolmentTokenRequest]
) -> EnrolmentTokenResponse:
    """For admins. The token is shown this once."""
    plane = plane_of(request)
    token = await enrolment.create_enrolment_token(plane, request.user, data.uses, data.ttl_seconds)
    return EnrolmentTokenResponse(token=token)


@get(
    "/api/enrolment-tokens",
    operation_id="listEnrolmentTokens",
    summary="List the enrolment tokens, by their digests",
    tags=["runners"],
    responses=problems(*TOKEN),
)
async def list_enrolment_tokens(request: StrictRequest) -> EnrolmentTokenList:
    """For admins: the newest 1000, those that are good no more too. The tokens themselves are not kept."""
    return await enrolment.list_enrolment_tokens(plane_of(request), request.user)


@delete(
    "/api/enrolment-tokens/{digest:str}",
    status_code=200,
    operation_id="revokeEnrolmentToken",
    summary="Revoke an enrolment token",
    tags=["runners"],
    responses=problems(*TOKEN, "not_found"),
)
async def revoke_enrolment_token(request: StrictRequest, digest: TokenDigestPath) -> EnrolmentTokenView:
    """For admins. It lists no more keys, and those that it listed stay; repeating this changes nothing."""
    return await enrolment.revoke_enrolment_token(plane_of(request), request.user, known_digest(digest))
