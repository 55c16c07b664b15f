"""A proxy between clients and the control plane that can hold a request or swallow its reply.

It understands of HTTP/1.1 what it must: where a request begins and ends. Replies pass as bytes.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from typing import Final, Literal

_BLOCK: Final = 65536
_WAIT_SECONDS: Final = 120.0


class Caught:
    """One request that met a rule. ``happened`` says when the point is reached.

    Of a held request nothing was forwarded; of a swallowed reply nothing was passed on: the server has done
    what it was asked. ``reply`` is the answer's first block.
    """

    def __init__(self, fate: Literal["hold", "swallow"], method: str, path: re.Pattern[str]) -> None:
        self.fate = fate
        self.happened = threading.Event()
        self.answered = threading.Event()
        self.request = ""
        self.reply = b""
        self._method = method
        self._path = path
        self._forward = False
        self._decided = threading.Event()

    def wait(self) -> None:
        assert self.happened.wait(_WAIT_SECONDS), f"no {self._method} {self._path.pattern} came"

    def forward(self) -> None:
        """Let a held request go on, and wait for its answer, whoever else still does."""
        self._forward = True
        self._decided.set()
        assert self.answered.wait(_WAIT_SECONDS), f"no answer to {self.request}"

    def cut(self) -> None:
        """Break the connection."""
        self._decided.set()

    @property
    def run_id(self) -> str:
        """Of a request to the run queue."""
        return self.request.split("/")[3]

    def matches(self, method: str, path: str) -> bool:
        return method == self._method and self._path.search(path) is not None

    def decision(self) -> bool:
        """Whether to forward; waits for the test to say."""
        self._decided.wait(_WAIT_SECONDS)
        return self._forward


class CuttingProxy:
    """Listens on a port of its own for the control plane at ``127.0.0.1:upstream``."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.upstream = 0
        self._rules: list[Caught] = []
        self._connections: list[_Connection] = []
        self._severed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def hold(self, method: str, path: str) -> Caught:
        """The next such request is not forwarded before the test says so."""
        return self._add(Caught("hold", method, re.compile(path)))

    def swallow_reply(self, method: str, path: str) -> Caught:
        """The next such request reaches the server; its reply reaches nobody."""
        return self._add(Caught("swallow", method, re.compile(path)))

    @contextlib.contextmanager
    def severed(self) -> Iterator[None]:
        """Nothing passes meanwhile, on old connections or new ones, but for a request that is held."""
        with self._lock:
            self._severed = True
            for connection in self._connections:
                if connection.held is None:
                    connection.sever()
        try:
            yield
        finally:
            self._severed = False

    def close(self) -> None:
        with self._lock:
            for rule in self._rules:
                rule.cut()
        # Closing alone does not wake a thread in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _add(self, rule: Caught) -> Caught:
        with self._lock:
            self._rules.append(rule)
        return rule

    def _take(self, method: str, path: str) -> Caught | None:
        with self._lock:
            for rule in self._rules:
                if rule.matches(method, path) and not rule.request:
                    rule.request = f"{method} {path}"
                    return rule
        return None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.upstream)) as server,
        ):
            connection = _Connection(client, server)
            with self._lock:
                self._connections.append(connection)
            try:
                if self._severed:
                    return
                for head, body in connection.requests():
                    method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
                    rule = self._take(method, path)
                    if rule is not None and rule.fate == "hold":
                        connection.held = rule
                        rule.happened.set()
                        if not rule.decision():
                            return
                        # By now the server may have closed a connection that said nothing for so long.
                        connection.redial(self.upstream)
                    connection.rule = rule
                    connection.send(head)
                    for part in body:
                        connection.send(part)
                    if rule is not None and rule.fate == "swallow":
                        rule.decision()
                        return
            finally:
                with self._lock:
                    self._connections.remove(connection)
                connection.end()


class _Connection:
    """One client's connection and its own to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._client = client
        self._server = server
        self._buffer = b""
        self.rule: Caught | None = None
        self.held: Caught | None = None
        self._replies = threading.Thread(target=self._relay, daemon=True)
        self._replies.start()

    def requests(self) -> Iterator[tuple[bytes, Iterator[bytes]]]:
        """Head and body of each request. The body must be read before the next one."""
        while True:
            while b"\r\n\r\n" not in self._buffer:
                if not self._more():
                    return
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            yield head + b"\r\n\r\n", self._body(head.lower())

    def _body(self, head: bytes) -> Iterator[bytes]:
        if b"transfer-encoding: chunked" in head:
            yield from self._chunked()
            return
        found = re.search(rb"content-length: *(\d+)", head)
        left = int(found[1]) if found else 0
        while left:
            if not self._buffer and not self._more():
                return
            part, self._buffer = self._buffer[:left], self._buffer[left:]
            left -= len(part)
            yield part

    def _chunked(self) -> Iterator[bytes]:
        while True:
            while b"\r\n" not in self._buffer:
                if not self._more():
                    return
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            while len(self._buffer) < size + 2:
                if not self._more():
                    return
            part, self._buffer = self._buffer[: size + 2], self._buffer[size + 2 :]
            yield line + b"\r\n" + part
            if size == 0:
                return

    def send(self, block: bytes) -> None:
        self._server.sendall(block)

    def redial(self, port: int) -> None:
        """Go on with a new connection to the server."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._replies.join()
        self._server.close()
        self._server = socket.create_connection(("127.0.0.1", port))
        self.held = None
        self._replies = threading.Thread(target=self._relay, daemon=True)
        self._replies.start()

    def sever(self) -> None:
        for one in (self._client, self._server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.sever()
        self._replies.join()
        self._server.close()

    def _more(self) -> bool:
        block = self._client.recv(_BLOCK)
        self._buffer += block
        return bool(block)

    def _relay(self) -> None:
        with contextlib.suppress(OSError):
            while block := self._server.recv(_BLOCK):
                rule = self.rule
                if rule is not None and not rule.reply:
                    rule.reply = block
                    rule.answered.set()
                    rule.happened.set()
                if rule is None or rule.fate == "hold":
                    self._client.sendall(block)
        rule = self.rule
        if rule is not None and rule.fate == "swallow" and not rule.happened.is_set():
            # The server was gone before it answered: the rule is for the next such request.
            rule.request = ""
        if self.held is None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)
