"""``edgeproof demo``: the road that every user goes, with the example's models and a throw-away data folder.

It starts ``edgeproof up`` as a process of its own, talks to it over HTTP like anyone, and stops it. No
decision is written down here: each is what the system found on this machine today.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from edgeproof.app.child_process import stop_process
from edgeproof.app.serve import DATABASE_VARIABLE, Ready
from edgeproof.cli.analysis import Analysis, follow, submit
from edgeproof.cli.connection import read_credentials
from edgeproof.cli.display import LiveJob, live, print_candidates
from edgeproof.cli.printing import echo_json
from edgeproof.cli.results import summary, write_results
from edgeproof.cli.terminal import Terminal
from edgeproof.cli.use_cases import DemoOptions
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.contract.jobs import JobView

_LOG_NAME: Final = "edgeproof.log"
_STOP_SECONDS: Final = 40.0
"""Longer than it takes to stop its parts one after the other, each after its own bound."""


def run_demo(options: DemoOptions) -> int:
    """0 once every candidate has a decision; 1 when one of the jobs failed."""
    return asyncio.run(_demo(options))


def candidates(example: Path) -> list[tuple[str, Analysis]]:
    """The three candidates, each against the example's model as it is."""
    model, test = example / "digits.onnx", example / "test.npz"

    def int8(calibration: str) -> Analysis:
        return Analysis(
            model=model,
            calibration=example / calibration,
            dataset=test,
            options={"preset": "int8_static", "batch": 1, "threads": 1},
        )

    return [
        ("int8, calibrated", int8("calibration.npz")),
        ("int8, wrong calibration data", int8("calibration-wrong.npz")),
        (
            "a deeper model",
            Analysis(
                model=example / "digits-deeper.onnx",
                baseline=model,
                dataset=test,
                options={"preset": "source", "batch": 1, "threads": 1},
            ),
        ),
    ]


async def _demo(options: DemoOptions) -> int:
    chosen = candidates(options.example)
    for _, analysis in chosen:
        if not analysis.model.exists():
            raise Refused("invalid_request", f"{analysis.model} is missing: run this in the repository")
    console = Terminal(stderr=options.json)
    done: list[tuple[str, JobView]] = []
    with tempfile.TemporaryDirectory(prefix="edgeproof-demo-") as folder:
        async with _system(Path(folder), options.out / _LOG_NAME) as client:
            with live(console) as progress:
                for name, analysis in chosen:
                    line = LiveJob(progress, name)
                    job = await submit(client, analysis)
                    job = await follow(client, job.job_id, line.on_event)
                    line.end(job)
                    done.append((name, job))
            key = await write_results(client, options.out, done)
    if options.json:
        echo_json([summary(name, job) for name, job in done])
    else:
        print_candidates(console, done)
        out = options.out
        for text in (
            f"Report             {out / 'report.html'}",
            f"Control plane key  {key.base64}",
            f"       fingerprint {key.fingerprint}",
            f"Check it offline   edgeproof verify {out / 'evidence'} --trust {out / 'trust.json'}",
        ):
            console.print(text, markup=False, soft_wrap=True)
    return 0 if all(job.status == "completed" for _, job in done) else 1


@asynccontextmanager
async def _system(data_dir: Path, log: Path) -> AsyncIterator[ControlPlaneClient]:
    """A running system and a client of it; stopped on leaving, whatever happened."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edgeproof",
            "up",
            "--data-dir",
            str(data_dir),
            "--port",
            "0",
            "--json",
            "--parent-pid",
            str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            env={key: value for key, value in os.environ.items() if key != DATABASE_VARIABLE},
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            line = await process.stdout.readline()
            if not line:
                raise Unavailable(
                    "unavailable", f"the system did not start; see {log}\n{_last_line(log)}".strip()
                )
            ready = msgspec.json.decode(line, type=Ready)
            credentials = read_credentials(data_dir)
            if credentials is None:
                raise Unavailable("unavailable", "the system left no credentials")
            address = f"{ready.url}#{ready.fingerprint}"
            async with ControlPlaneClient(address, token=credentials.user_token) as client:
                yield client
        finally:
            await stop_process(process, _STOP_SECONDS)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")
