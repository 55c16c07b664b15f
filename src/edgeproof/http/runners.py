"""Runners: registration, enrolment tokens, and who is there."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.params import HeaderParameter, JSONBody

from edgeproof.contract.runners import (
    PROOF_HEADER,
    EnrolmentTokenRequest,
    EnrolmentTokenResponse,
    RegisterRequest,
    RegisterResponse,
    RunnerList,
)
from edgeproof.http.authentication import PUBLIC, plane_of
from edgeproof.http.body_guard import BODY_KIND
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.server.fleet.enrolment import create_enrolment_token as make_token
from edgeproof.server.fleet.register import register
from edgeproof.server.fleet.runners import list_runners as registered_runners

Proof = Annotated[
    str | None,
    HeaderParameter(name=PROOF_HEADER, max_length=500, description="`<nonce>.<base64url signature>`"),
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
    token = await make_token(plane_of(request), request.user, data.uses, data.ttl_seconds)
    return EnrolmentTokenResponse(token=token)
