"""A job that demands a device, at the command line: it waits, says what for, and goes to the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .running_system import edgeproof, printed, until, up
from .tiny_models import TinyModels

pytestmark = pytest.mark.slow

QUICK = ("--batch", "1", "--threads", "1", "--runs", "30", "--preset", "source")


def test_a_label_is_the_operators_to_give_and_a_users_to_ask_for(data_dir: Path, models: TinyModels) -> None:
    here = ("--data-dir", str(data_dir))

    def analyze(name: str, *words: str) -> Any:
        return edgeproof(
            "analyze", str(models.quick), "--baseline", str(models.slow), "--job-id", name, "--detach",
            *QUICK, *words, *here,
        )  # fmt: skip

    def runs(job: str) -> list[dict[str, Any]]:
        shown = printed(edgeproof("jobs", "show", job, "--json", *here))
        assert isinstance(shown, dict)
        found: list[dict[str, Any]] = shown["runs"]
        return found

    with up(
        data_dir, "--lease", "forge=45", "--upload-quota", "1GiB", EDGEPROOF_RUNNER_LABELS="site=lab"
    ) as system:
        system.child("runner")
        (runner,) = until(
            lambda: printed(edgeproof("fleet", "list", "--json", *here))["runners"], "it registers"
        )
        assert runner["capabilities"]["labels"] == {"site": "lab"}
        elsewhere = analyze("elsewhere", "--label", "site=roof", "--min-vram", "1000TiB")
        assert elsewhere.returncode == 0, elsewhere
        assert "label site=roof (has site=lab)" in elsewhere.stderr
        assert "a GPU with 1024000 GiB" in elsewhere.stderr
        here_now = analyze(
            "here", "--label", "site=lab", "--device-class", runner["capabilities"]["device_class"]
        )
        assert here_now.returncode == 0, here_now
        assert "waiting for" not in here_now.stderr
        until(lambda: all(one["runner_id"] for one in runs("here")), "the local runner has it")
        assert all(one["waiting_for"] and one["runner_id"] is None for one in runs("elsewhere"))
        shown = edgeproof("fleet", "show", runner["runner_id"], *here)
        assert "label     site=lab" in shown.stdout, shown
        assert "backend   onnxruntime" in shown.stdout
        assert "int8_dynamic, int8_static" in shown.stdout
        for job in ("here", "elsewhere"):
            assert edgeproof("jobs", "cancel", job, *here).returncode == 0
