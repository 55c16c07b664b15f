"""One keep-alive HTTP connection that costs the load generator next to nothing."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Wire:
    """Requests one after another. ``await wire.post(path, body, lease)`` gives status and body."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host = host
        self._port = port
        self._head = (
            f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        )
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=1 << 24)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def post(self, path: str, body: bytes, lease: str | None = None) -> tuple[int, bytes]:
        """Raises ``OSError`` when the connection ends first."""
        held = "" if lease is None else f"Edgeproof-Lease: {lease}\r\n"
        head = f"POST {path} HTTP/1.1\r\n{self._head}{held}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        try:
            answer = await self._reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in answer.lower().split(b"\r\n")[1:]:
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            status = int(answer[9:12])
            return status, await self._reader.readexactly(length) if length else b""
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("the control plane closed the connection") from error


def demand(status: int, body: bytes, wanted: int = 200) -> bytes:
    """The body of an answer with the wanted status. Raises ``OSError`` for any other."""
    if status != wanted:
        raise OSError(f"the control plane answered {status}: {body[:300]!r}")
    return body
