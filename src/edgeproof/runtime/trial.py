"""What an engine really runs on this machine, found by trying: each of its tiny models once, on zeros.

``python -m edgeproof.runtime.trial MODULE:CLASS PARENT`` is the child that tries, and prints the names of
those that ran. A child, because an engine that crashes must not take the runner with it, and so that a runner
lists its backends without importing them.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any, Final

import msgspec

from edgeproof.runtime.channel import die_with
from edgeproof.runtime.port import Backend

_logger = logging.getLogger(__name__)
_SECONDS: Final = 120.0


def names_that_ran(reference: str, seconds: float = _SECONDS) -> frozenset[str]:
    """Of the backend ``module:attribute``; none, with a line in the log, when the child did not come to an
    end by itself."""
    command = [sys.executable, "-m", __name__, reference, str(os.getpid())]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=True
        )
        for line in done.stderr.decode(errors="replace").splitlines():
            _logger.info("tried what %s runs here: %s", reference, line)
        return frozenset(msgspec.json.decode(done.stdout, type=list[str]))
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines()
        _logger.warning("what %s runs here could not be tried: %s", reference, "".join(words[-1:]) or error)
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        _logger.warning("what %s runs here could not be tried: %s", reference, error)
    return frozenset()


def _ran(backend: Backend) -> list[str]:
    backend.prepare()
    names = []
    for trial in backend.trials:
        try:
            session = backend.load(trial.model, 1)
            session.bind(_zeros(session.inputs)).call()
        except Exception as error:  # whatever an engine raises, it cannot do this
            print(f"{trial.name}: {error}", file=sys.stderr)  # noqa: T201 - read by the parent
        else:
            names.append(trial.name)
    return names


def _zeros(inputs: Any) -> dict[str, Any]:
    import numpy as np

    return {one.name: np.zeros(one.shape, one.dtype) for one in inputs}


def main() -> None:
    die_with(int(sys.argv[2]))
    # Engines print; the answer is for ours alone.
    answer = os.dup(1)
    os.dup2(2, 1)
    backend: Backend = EntryPoint("backend", sys.argv[1], "").load()()
    os.write(answer, json.dumps(_ran(backend)).encode())


if __name__ == "__main__":
    main()
