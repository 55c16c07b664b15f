"""The measuring process's side of its channel: JSON lines over an inherited socket.

A request is ``{"do": verb, …}``; the answer is ``{"ok": …}`` or ``{"error": {"code", "detail"}}``, after
any number of ``{"progress": [completed, total]}``. A process that answered with an error ends. The other
side is ``child.py``.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgeproof.runtime.port import Backend, ModelRefused

_PR_SET_PDEATHSIG: Final = 1
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Handler = Callable[..., Mapping[str, Any]]


class Channel:
    """Command line: ``<socket fd> <parent pid> <backend module:attribute>``."""

    def __init__(self, arguments: list[str]) -> None:
        descriptor, parent, self._reference = int(arguments[0]), int(arguments[1]), arguments[2]
        die_with(parent)
        self._requests = os.fdopen(os.dup(descriptor), "rb")
        self._answers = os.fdopen(descriptor, "wb")

    def progress(self, completed: int, total: int) -> None:
        self._send({"progress": [completed, total]})

    def serve(self, handlers: Callable[[Backend], Mapping[str, Handler]]) -> None:
        """Prepare the backend, say so, then answer requests until the other side closes."""
        backend: Backend | None = None
        try:
            module, _, attribute = self._reference.partition(":")
            backend = getattr(importlib.import_module(module), attribute)()
            backend.prepare()
            verbs = handlers(backend)
            self._send({"ok": {}})
            for line in self._requests:
                request = json.loads(line)
                self._send({"ok": verbs[request.pop("do")](**request)})
        except BaseException as error:
            refused = _refusal(backend, error)
            self._send({"error": {"code": refused.code, "detail": refused.detail}})

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._answers.write(json.dumps(message).encode() + b"\n")
            self._answers.flush()
        except BrokenPipeError:
            sys.exit(1)


def _refusal(backend: Backend | None, error: BaseException) -> ModelRefused:
    if isinstance(error, ModelRefused):
        return error
    if isinstance(error, MemoryError):
        return ModelRefused("memory_limit", "memory ran out")
    if isinstance(error, OSError) and error.errno in _FULL:
        return ModelRefused("disk_full", f"the workspace is full: {error.strerror}")
    if backend is not None and isinstance(error, Exception):
        return backend.refusal(error)
    return ModelRefused("stage_crashed", f"{type(error).__name__}: {error}")


def die_with(parent: int) -> None:
    """A stopped process reads no closed pipe: the kernel must end it with its parent."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
