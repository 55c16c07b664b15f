"""The operator's fleet: the keys on the allowlist, and one runner in full."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from litestar import get, post
from litestar.params import JSONBody, PathParameter

from edgeproof.contract.errors import Refused
from edgeproof.contract.fleet import (
    AddKeyRequest,
    RemovedKey,
    RemoveKeyRequest,
    RotatedKey,
    RotateKeyRequest,
    RunnerDetail,
    RunnerKeyList,
    RunnerKeyView,
)
from edgeproof.http.authentication import plane_of
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import known_id
from edgeproof.server.fleet import runner_keys, runners
from edgeproof.server.queue import revoke

RunnerIdPath = Annotated[str, PathParameter(description="A runner's id")]


@get(
    "/api/runners/{runner_id:str}",
    operation_id="getRunner",
    summary="One runner: its keys, what it holds, what it did",
    tags=["runners"],
    responses=problems(*TOKEN, "not_found"),
)
async def show_runner(request: StrictRequest, runner_id: RunnerIdPath) -> RunnerDetail:
    """For admins."""
    return await runners.show_runner(plane_of(request), request.user, known_id(runner_id))


@get(
    "/api/runners/keys",
    operation_id="listRunnerKeys",
    summary="The allowlist of runner keys, and its past",
    tags=["runners"],
    responses=problems(*TOKEN),
)
async def list_keys(request: StrictRequest) -> RunnerKeyList:
    """For admins."""
    return await runner_keys.list_keys(plane_of(request), request.user)


@post(
    "/api/runners/keys",
    status_code=200,
    operation_id="addRunnerKey",
    summary="Put a runner key on the allowlist",
    tags=["runners"],
    responses=problems(*TOKEN, *BODY, "conflict"),
)
async def add_key(request: StrictRequest, data: JSONBody[AddKeyRequest]) -> RunnerKeyView:
    """For admins. Repeating it changes nothing; a key removed as compromised is refused."""
    key = runner_keys.key_from(data.public_key)
    return await runner_keys.allow_key(plane_of(request), request.user, key)


@post(
    "/api/runners/keys/remove",
    status_code=200,
    operation_id="removeRunnerKey",
    summary="Take a runner key off the allowlist, at once",
    tags=["runners"],
    responses=problems(*TOKEN, *BODY, "not_found"),
)
async def remove_key(request: StrictRequest, data: JSONBody[RemoveKeyRequest]) -> RemovedKey:
    """For admins. Its leases end, its tokens open nothing. With `compromised_since`, decisions that rest on
    what the server received from it since then need review again."""
    plane = plane_of(request)
    key = await runner_keys.named_key(plane, request.user, data.key)
    since = None if data.compromised_since is None else _moment(data.compromised_since)
    return await revoke.remove_key(plane, request.user, key, data.reason, since)


@post(
    "/api/runners/keys/rotate",
    status_code=200,
    operation_id="rotateRunnerKey",
    summary="Replace a runner's key by a new one, with an overlap",
    tags=["runners"],
    responses=problems(*TOKEN, *BODY, "not_found", "key_not_allowed", "conflict"),
)
async def rotate_key(request: StrictRequest, data: JSONBody[RotateKeyRequest]) -> RotatedKey:
    """For admins. The runner keeps its id; both keys are good until the overlap has passed."""
    plane = plane_of(request)
    old = await runner_keys.named_key(plane, request.user, data.old)
    new = runner_keys.key_from(data.new)
    return await runner_keys.rotate_key(plane, request.user, old, new, data.overlap_seconds)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused("invalid_request", f"compromised_since: {error}") from error
