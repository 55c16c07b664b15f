"""A log line says which job, run and runner it is about, in both formats."""

from __future__ import annotations

import asyncio
import logging
import sys

import msgspec

from edgeproof.app.log_output import JsonLines, TextLines
from edgeproof.contract.log_ids import about, present_ids


def record(message: str = "taken %s", *values: object, error: bool = False) -> logging.LogRecord:
    info = None
    if error:
        try:
            raise ValueError("broken\nin two lines")
        except ValueError:
            info = sys.exc_info()
    return logging.LogRecord("edgeproof.server", logging.INFO, "x.py", 1, message, values, info)


def test_a_json_line_has_the_ids_and_is_one_line() -> None:
    with about(job_id="j"), about(run_id="r", runner_id="d"):
        line = JsonLines().format(record("taken %s\n", "now", error=True))
    told = msgspec.json.decode(line)
    assert "\n" not in line
    assert (told["job_id"], told["run_id"], told["runner_id"]) == ("j", "r", "d")
    assert (told["message"], told["level"], told["logger"]) == ("taken now\n", "INFO", "edgeproof.server")
    assert "ValueError: broken" in told["error"]
    assert told["at"].endswith("Z")


def test_a_text_line_ends_with_the_ids() -> None:
    with about(run_id="r"):
        assert TextLines().format(record("taken")).endswith("INFO edgeproof.server: taken run_id=r")
    assert TextLines().format(record("taken")).endswith("taken")


def test_none_adds_nothing_and_the_ids_end_with_their_work() -> None:
    with about(job_id="j", run_id=None):
        assert present_ids() == {"job_id": "j"}
        with about(job_id="other"):
            assert present_ids() == {"job_id": "other"}
        assert present_ids() == {"job_id": "j"}
    assert present_ids() == {}


async def test_a_task_inherits_the_ids_of_where_it_was_made() -> None:
    async def ids() -> dict[str, str]:
        return dict(present_ids())

    with about(run_id="one"):
        one = asyncio.create_task(ids())
    with about(run_id="two"):
        two = asyncio.create_task(ids())
    assert (await one, await two) == ({"run_id": "one"}, {"run_id": "two"})
