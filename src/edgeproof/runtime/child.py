"""The parent's side of a measuring process: start, ask, stop, resume, kill.

The process runs in an interpreter of its own (``exec``, never ``fork``), isolated (``-I``), with an empty
environment, in the workspace. It is not a sandbox: limits and namespaces are those that we run under
ourselves. On Linux it dies with the thread that started it, so that must be one that lives to the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import msgspec

from edgeproof.contract.errors import CODES, StageFailed
from edgeproof.contract.faults import Fault

MAX_ANSWER_BYTES: Final = 256 << 20
_MEMORY_SIGNALS: Final = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)
_MEMORY_WORDS: Final = ("MemoryError", "bad_alloc", "Memory allocation", "failed to map segment")
# One thread for NumPy's own algebra, which no measured path uses: its pool costs start time and memory.
_ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

T = TypeVar("T")


class _Refusal(msgspec.Struct):
    code: str
    detail: str


class _Answer(msgspec.Struct):
    ok: msgspec.Raw = msgspec.Raw()
    error: _Refusal | None = None
    progress: tuple[int, int] | None = None


class Child:
    """One measuring process; ``label`` names it in errors (a side, or what it does)."""

    def __init__(self, module: str, backend: str, workspace: Path, label: str) -> None:
        self._label = label
        self._log = workspace / f"{label}.log"
        self._buffer = bytearray()
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            with theirs, self._log.open("wb") as log:
                self._process = self._start(module, backend, workspace, theirs.fileno(), log)
        except BaseException:
            self._socket.close()
            raise

    @staticmethod
    def _start(
        module: str, backend: str, workspace: Path, channel: int, log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", "-m", module, str(channel), str(os.getpid()), backend],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=workspace,
            env={**_ENVIRONMENT, "HOME": str(workspace), "TMPDIR": str(workspace)},
            pass_fds=[channel],
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        """Wait until interpreter and engine are imported. Raises ``StageFailed``."""
        await self._answer(dict, None)

    async def ask(
        self, verb: str, type_: type[T], on_progress: Callable[[int, int], None] | None = None, **fields: Any
    ) -> T:
        """Send a request and decode its answer as ``type_``. Raises ``StageFailed``."""
        request = msgspec.json.encode({"do": verb, **fields}) + b"\n"
        with contextlib.suppress(ConnectionError):  # its death is diagnosed where the answer is missing
            await asyncio.get_running_loop().sock_sendall(self._socket, request)
        return await self._answer(type_, on_progress)

    def stop(self) -> None:
        """Stop every thread of the process; returns once the kernel says so, microseconds later.

        Raises ``StageFailed`` if it ended instead.
        """
        os.kill(self.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._process.returncode = os.waitstatus_to_exitcode(status)
            raise self._death()

    def bind(self, processors: Sequence[int]) -> bool:
        """Let all threads of the process run there only, as those that they start; whether they do. Nowhere:
        they stay as they are."""
        if not processors:
            return False
        try:
            for thread in Path(f"/proc/{self.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), processors)
        except OSError:  # the device does not let us; a process that has ended is diagnosed by who asks it
            return False
        return True

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End and reap the process, whatever state it is in."""
        self._socket.close()
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    async def _answer(self, type_: type[T], on_progress: Callable[[int, int], None] | None) -> T:
        while True:
            line = await self._line()
            try:
                answer = msgspec.json.decode(line, type=_Answer)
                if answer.progress is not None:
                    if on_progress is not None:
                        on_progress(*answer.progress)
                    continue
                if answer.error is None:
                    return msgspec.json.decode(answer.ok, type=type_)
            except (msgspec.MsgspecError, ValueError) as error:
                raise StageFailed(
                    "stage_crashed", f"{self._label}: odd answer: {error}", fault="backend"
                ) from error
            raise self._refusal(answer.error)

    async def _line(self) -> bytes:
        loop = asyncio.get_running_loop()
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_ANSWER_BYTES:
                raise StageFailed(
                    "result_invalid", f"{self._label}: the answer is too large", fault="backend"
                )
            try:
                data = await loop.sock_recv(self._socket, 1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                await self._ended()
                raise self._death()
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def _ended(self) -> None:
        """The socket closes a moment before the process can be reaped; one that lingers is killed."""
        for _ in range(500):
            if self._process.poll() is not None:
                return
            await asyncio.sleep(0.01)
        self._process.kill()
        self._process.wait()

    def _refusal(self, refused: _Refusal) -> StageFailed:
        code = refused.code if refused.code in CODES else "stage_crashed"
        faults: dict[str, Fault] = {
            "backend_missing": "device",
            "disk_full": "device",
            "stage_crashed": "backend",
        }
        fault = faults.get(code, "user")
        return StageFailed(code, f"{self._label}: {refused.detail}", fault=fault, retryable=fault == "device")

    def _death(self) -> StageFailed:
        code = self._process.returncode
        if code is not None and -code in _MEMORY_SIGNALS:
            name = signal.Signals(-code).name
            return StageFailed("memory_limit", f"{self._label}: the process died of {name}")
        if code is not None and -code == signal.SIGXCPU:
            return StageFailed("time_limit", f"{self._label}: the process used up its processor time")
        log = self._log_tail()
        if any(words in log for words in _MEMORY_WORDS):
            return StageFailed("memory_limit", f"{self._label}: memory ran out", evidence=({"log": log},))
        evidence = ({"exit_code": code, "log": log},)
        return StageFailed(
            "stage_crashed",
            f"{self._label}: the process ended with {code}",
            fault="backend",
            evidence=evidence,
        )

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 2000))
            return log.read(2000).decode("utf-8", "replace")
        return ""


@contextlib.contextmanager
def children(*started: Callable[[], Child]) -> Iterator[list[Child]]:
    """Start processes; none is left behind, however the block ends."""
    running: list[Child] = []
    try:
        running.extend(start() for start in started)
        yield running
    finally:
        for child in running:
            child.kill()
