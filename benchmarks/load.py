"""A cheap load generator: keep-alive connections over blocking-free sockets, one request in flight on each.

It shares its cores with what it measures, so it does next to nothing itself: whole requests are prepared
bytes, an answer is read up to its ``Content-Length``, and every failed or odd answer ends the run.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import quantiles
from types import MappingProxyType
from urllib.parse import urlsplit

READ_BYTES = 1 << 18
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Figures:
    """Requests per second over the whole run, and latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    answers: int
    mean_bytes: int

    def words(self) -> str:
        return (
            f"{self.per_second:8.0f} req/s   p50 {self.p50_ms:6.1f} ms   p99 {self.p99_ms:6.1f} ms"
            f"   ({self.answers} answers of {self.mean_bytes} bytes)"
        )


class _Connection:
    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self._have = bytearray()
        self._need = -1

    def ask(self, request: bytes) -> None:
        self._have.clear()
        self._need = -1
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def answered(self) -> int | None:
        """Reads what is there; the size of the answer once it is whole. Raises on any but a 200."""
        chunk = self.socket.recv(READ_BYTES)
        if not chunk:
            raise ConnectionError("the server closed a connection")
        self._have += chunk
        if self._need < 0:
            end = self._have.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = bytes(self._have[:end]).lower()
            if not head.startswith(b"http/1.1 200"):
                raise ConnectionError(bytes(self._have[:2000]).decode(errors="replace"))
            length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
            self._need = end + 4 + int(length)
        return len(self._have) if len(self._have) >= self._need else None


def request(
    url: str, method: str, path: str, token: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
) -> bytes:
    """One whole HTTP/1.1 request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {urlsplit(url).netloc}",
        f"Authorization: Bearer {token}",
    ]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def load(url: str, requests: Iterator[bytes], *, connections: int, seconds: float) -> Figures:
    """Asks ``requests`` in turn for so long, with so many in flight; the last ones are waited for."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    waiting = selectors.DefaultSelector()
    held = [_Connection(address) for _ in range(connections)]
    taken: list[float] = []
    size = 0
    began = time.perf_counter()
    for each in held:
        waiting.register(each.socket, selectors.EVENT_READ, each)
        each.ask(next(requests))
    busy = len(held)
    while busy:
        ready = waiting.select(30)
        if not ready:
            raise TimeoutError("no answer within 30 s")
        for key, _ in ready:
            one: _Connection = key.data
            got = one.answered()
            if got is None:
                continue
            now = time.perf_counter()
            taken.append(now - one.sent_at)
            size += got
            if now - began < seconds:
                one.ask(next(requests))
            else:
                busy -= 1
    passed = time.perf_counter() - began
    for each in held:
        each.socket.close()
    waiting.close()
    cut = quantiles(taken, n=100)
    return Figures(len(taken) / passed, cut[49] * 1000, cut[98] * 1000, len(taken), size // len(taken))
