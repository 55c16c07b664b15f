"""Unsigned comparisons: two posted or kept results under a point policy. Nothing is stored or signed."""

from __future__ import annotations

from typing import Any, Final

from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import digest_of_uri
from edgeproof.contract.point_policy import PointPolicy
from edgeproof.contract.stored_results import CompareRequest, HistoryReport, ResultFilter, SelectionMode
from edgeproof.lab import unsigned_bundle
from edgeproof.lab.history import history_report
from edgeproof.lab.inferedge import inferedge_policy, with_thresholds
from edgeproof.lab.unsigned_bundle import Side, compare_unsigned
from edgeproof.server.plane.control_plane import ControlPlane, Principal
from edgeproof.server.plane.policies import find_policy
from edgeproof.server.plane.principals import require
from edgeproof.server.results.results import find_result, list_results, newest_pair

_ORIGIN: Final = ("result_id", "digest", "basis", "source", "job_id", "role")


async def compare(plane: ControlPlane, principal: Principal, request: CompareRequest) -> dict[str, Any]:
    """The response bundle of two results (``contract.bundle.ResponseBundle``).

    Raises ``Refused``: ``invalid_request``, ``unknown_result``, ``result_invalid``, ``unknown_policy``,
    ``policy_needs_samples``.
    """
    require(principal, "user", "admin")
    policy = with_thresholds(await point_policy(plane, request.policy), request.thresholds)
    labels = request.metadata
    base = _one(request.base_result, request.base, "base")
    new = _one(request.new_result, request.new, "new")
    return compare_unsigned(
        await _side(plane, principal, "base_result", base, labels.base_path),
        await _side(plane, principal, "new_result", new, labels.new_path),
        policy,
        guard_analysis=request.guard_analysis,
        with_guard=request.with_guard,
    )


async def compare_stored(
    plane: ControlPlane,
    principal: Principal,
    base: str,
    new: str,
    *,
    with_guard: bool = False,
    selection_mode: unsigned_bundle.SelectionMode = "explicit",
) -> dict[str, Any]:
    """Two kept results under ``inferedge-v1``. Raises ``Refused`` (``unknown_result``)."""
    require(principal, "user", "admin")
    return compare_unsigned(
        await _side(plane, principal, "base", base, None),
        await _side(plane, principal, "new", new, None),
        inferedge_policy(),
        with_guard=with_guard,
        selection_mode=selection_mode,
    )


async def compare_latest(
    plane: ControlPlane,
    principal: Principal,
    mode: SelectionMode,
    wanted: ResultFilter,
    *,
    with_guard: bool = False,
) -> dict[str, Any]:
    """The newest pair of kept results. Raises ``Refused`` (``not_found``) while there is none."""
    require(principal, "user", "admin")
    pair = await newest_pair(plane, principal, mode, wanted)
    if pair is None:
        raise Refused("not_found", "there are no two kept results of one model, shape, engine and device")
    return await compare_stored(plane, principal, *pair, with_guard=with_guard, selection_mode=mode)


async def history(
    plane: ControlPlane,
    principal: Principal,
    wanted: ResultFilter,
    *,
    reference: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> HistoryReport:
    """The kept results that fit ``wanted``; with ``reference`` those of the same work as that result, on its
    engine and device. Raises ``Refused`` (``unknown_result``, ``invalid_request``)."""
    require(principal, "user", "admin")
    if reference is not None:
        found = await find_result(plane, principal, reference)
        if found is None:
            raise Refused("unknown_result", f"no result {reference!r}")
        wanted = ResultFilter(
            compare_key=found.compare_key,
            backend_key=found.backend_key,
            basis=wanted.basis,
            owner=wanted.owner,
        )
    page = await list_results(plane, principal, wanted, cursor=cursor, limit=limit, without_dry_runs=True)
    return history_report(page.results, page.next_cursor)


async def point_policy(plane: ControlPlane, name_or_digest: str) -> PointPolicy:
    """A policy over results without samples; there is one. Raises ``Refused`` (``unknown_policy``,
    ``policy_needs_samples`` for one over measured pairs)."""
    policy = inferedge_policy()
    if name_or_digest == policy.name or (digest_of_uri(name_or_digest) or name_or_digest) == digest_of(
        policy
    ):
        return policy
    async with plane.database.transaction() as connection:
        kept, _ = await find_policy(connection, name_or_digest)
    raise Refused(
        "policy_needs_samples",
        f"policy {kept.name} judges the samples of measured pairs, and a result has none: use {policy.name}",
    )


def _one(long: Any, short: Any, name: str) -> Any:
    if long is not None and short is not None:
        raise Refused("invalid_request", f"{name} and {name}_result are the same thing: give one")
    given = short if long is None else long
    if given is None:
        raise Refused("invalid_request", f"{name}_result is required")
    return given


async def _side(plane: ControlPlane, principal: Principal, name: str, given: Any, label: str | None) -> Side:
    if not isinstance(given, str):
        return Side(body=given, path=label, origin={"source": "request"})
    kept = await find_result(plane, principal, given)
    if kept is None:
        raise Refused("unknown_result", f"{name}: no result {given!r}")
    return Side(body=kept.result, path=label, origin={one: getattr(kept, one) for one in _ORIGIN})
