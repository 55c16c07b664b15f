"""What every group of calls shares: the exchange, and how a message is sent and read."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from edgeproof.client.exchange import JSON, Exchange, decoded
from edgeproof.contract.base import Wire
from edgeproof.contract.errors import Refused
from edgeproof.contract.ids import is_id
from edgeproof.contract.policy import Policy
from edgeproof.contract.runners import LEASE_HEADER
from edgeproof.domain.runs import Lease

T = TypeVar("T", bound=Wire)


class Calls:
    """One exchange with the control plane: a message out, a message in."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def _get(self, path: str, type_: type[T], query: dict[str, str] | None = None) -> T:
        return decoded(await self._exchange.send("GET", path, query=query, idempotent=True), type_)

    async def _post(
        self,
        path: str,
        message: Wire | Policy | None,
        type_: type[T],
        headers: dict[str, str] | None = None,
        *,
        idempotent: bool,
    ) -> T:
        body = None if message is None else msgspec.json.encode(message)
        sent = {**(JSON if body else {}), **(headers or {})}
        response = await self._exchange.send("POST", path, body=body, headers=sent, idempotent=idempotent)
        return decoded(response, type_)

    async def _delete(self, path: str, type_: type[T]) -> T:
        return decoded(await self._exchange.send("DELETE", path, idempotent=True), type_)

    async def _under_lease(self, run_id: str, verb: str, lease: Lease, message: Wire, type_: type[T]) -> T:
        route = f"/api/queue/{segment(run_id)}/{verb}"
        return await self._post(route, message, type_, {LEASE_HEADER: lease.header()}, idempotent=True)


def segment(id_: str) -> str:
    """An id as part of a path: nothing in it can need quoting."""
    if not is_id(id_):
        raise Refused("not_found", f"{id_!r} is no id")
    return id_
