"""How the log looks: text for people, or one JSON object a line for machines, both with the ids of the work.

It goes to standard error: standard output is the commands' own.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from edgeproof.cli.use_cases import LogFormat
from edgeproof.contract.log_ids import present_ids

_NOISY: Final = ("httpx", "alembic")


class JsonLines(logging.Formatter):
    """``{"at", "level", "logger", "message", job_id?, run_id?, runner_id?, "error"?}``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **present_ids(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextLines(logging.Formatter):
    """As ``logging`` writes it, with the ids behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        ids = "".join(f" {name}={value}" for name, value in present_ids().items())
        return super().formatMessage(record) + ids


def configure_logging(format_: LogFormat) -> None:
    """Once, at the start of a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if format_ == "json" else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
