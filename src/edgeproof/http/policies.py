"""Policies: what the operator keeps, and keeping another one."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.params import JSONBody, PathParameter

from edgeproof.contract.policies import PolicyList, PolicyView
from edgeproof.contract.policy import Policy
from edgeproof.http.authentication import plane_of
from edgeproof.http.description import BODY, TOKEN, problems
from edgeproof.http.json_bodies import StrictRequest
from edgeproof.http.paths import known_id
from edgeproof.server.jobs.operator_policies import keep_policy, show_policy
from edgeproof.server.jobs.operator_policies import list_policies as kept_policies

PolicyPath = Annotated[str, PathParameter(description="A policy's name, for its newest version, or digest")]


@get(
    "/api/policies",
    operation_id="listPolicies",
    summary="List the operator's policies",
    tags=["policies"],
    responses=problems(*TOKEN),
)
async def list_policies(request: StrictRequest) -> PolicyList:
    """For users and admins: by name, newest version first."""
    return PolicyList(policies=await kept_policies(plane_of(request), request.user))


@get(
    "/api/policies/{name:str}",
    operation_id="getPolicy",
    summary="One policy in full",
    tags=["policies"],
    responses=problems(*TOKEN, "not_found", "unknown_policy"),
)
async def get_policy(request: StrictRequest, name: PolicyPath) -> PolicyView:
    """For users and admins."""
    return await show_policy(plane_of(request), request.user, known_id(name))


@post(
    "/api/policies",
    status_code=200,
    operation_id="addPolicy",
    summary="Keep a policy for jobs to name",
    tags=["policies"],
    responses=problems(*TOKEN, *BODY, "policy_invalid", "conflict"),
)
async def add_policy(request: StrictRequest, data: JSONBody[Policy]) -> PolicyView:
    """For admins. The same policy again changes nothing; another one of that name and version is refused."""
    return await keep_policy(plane_of(request), request.user, data)
