"""The command line as scripts use it: exit codes (DESIGN decision 21) and ``--json``."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .running_system import (
    EDGEPROOF,
    Up,
    absent_runner,
    decision_of,
    edgeproof,
    ended,
    environment,
    printed,
    settled,
    until,
)
from .tiny_models import TinyModels

pytestmark = pytest.mark.slow

QUICK = ("--batch", "1", "--threads", "1", "--runs", "30", "--preset", "source")


def analyze(system: Up, model: Path, baseline: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the job as printed."""
    result = edgeproof(
        "analyze", str(model), "--baseline", str(baseline), "--data-dir", str(system.data_dir), "--json",
        *QUICK, *words,
    )  # fmt: skip
    job = printed(result)
    assert isinstance(job, dict), result
    return result.returncode, job


def decision(job: dict[str, Any]) -> str:
    return str(job["result"]["deployment_decision"]["decision"])


@pytest.mark.timeout(400)
def test_a_better_candidate_is_0_and_its_evidence_holds(
    system: Up, models: TinyModels, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def better(number: int) -> tuple[int, dict[str, Any]]:
        words = ("--dataset", str(models.dataset), "--out", str(out), "--job-id", f"better-{number}")
        return analyze(system, models.quick, models.slow, *words)

    code, job = settled(better, lambda told: decision_of(told[1].get("result")))
    assert (code, decision(job)) == (0, "deployable")
    job_id = job["job_id"]
    assert {path.name for path in out.iterdir()} == {
        "summary.json", "report.html", "report.md", "evidence", "trust.json",
    }  # fmt: skip
    verified = edgeproof("verify", str(out / "evidence"), "--trust", str(out / "trust.json"), "--json")
    assert verified.returncode == 0, verified
    assert printed(verified)["decisions"][0]["job_id"] == job_id
    shown = edgeproof("jobs", "show", job_id, "--json", "--data-dir", str(system.data_dir))
    assert (shown.returncode, printed(shown)) == (0, job)
    watched = edgeproof("jobs", "watch", job_id, "--json", "--data-dir", str(system.data_dir))
    assert (watched.returncode, printed(watched)) == (0, job)
    again = edgeproof(
        "analyze", str(models.quick), "--job-id", job_id, "--data-dir", str(system.data_dir), "--json"
    )
    assert (again.returncode, printed(again)["code"]) == (1, "job_exists")


def test_a_candidate_that_computes_something_else_is_2(system: Up, models: TinyModels) -> None:
    code, job = analyze(system, models.other, models.slow, "--dataset", str(models.dataset))
    assert (code, decision(job)) == (2, "blocked")


def test_a_slower_candidate_is_3_and_text_names_decision_and_policy(system: Up, models: TinyModels) -> None:
    result = edgeproof(
        "analyze",
        str(models.slow),
        "--baseline",
        str(models.quick),
        "--data-dir",
        str(system.data_dir),
        *QUICK,
    )
    assert result.returncode == 3, result
    assert "review_required" in result.stdout
    assert "edgeproof-default-v4 sha256:" in result.stdout


def test_an_error_is_1_in_words_and_as_json(tmp_path: Path, models: TinyModels) -> None:
    nowhere = ("jobs", "list", "--data-dir", str(tmp_path))
    told = edgeproof(*nowhere)
    assert (told.returncode, told.stdout) == (1, "")
    assert "[server_unreachable]" in told.stderr
    as_json = edgeproof(*nowhere, "--json")
    assert (as_json.returncode, printed(as_json)["code"]) == (1, "server_unreachable")
    assert printed(as_json)["status"] == 503


def test_a_job_that_fails_is_1(system: Up, tmp_path: Path, models: TinyModels) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    code, job = analyze(system, tmp_path / "text.onnx", models.slow)
    assert (code, job["error"]["code"]) == (1, "model_not_onnx")


@pytest.mark.parametrize(
    "words",
    [
        ("analyze",),
        ("analyze", "no-such.onnx"),
        ("nonsense",),
        ("jobs", "list", "--limit", "0"),
        ("up", "--no"),
    ],
)
def test_wrong_usage_is_64(words: tuple[str, ...]) -> None:
    result = edgeproof(*words)
    assert (result.returncode, result.stdout) == (64, "")
    assert "Usage: edgeproof" in result.stderr


def test_an_interrupt_is_130_and_the_job_goes_on(system: Up, models: TinyModels) -> None:
    words = ["analyze", str(models.quick), "--baseline", str(models.slow), "--job-id", "left-alone", *QUICK]
    command = [*EDGEPROOF, *words, "--data-dir", str(system.data_dir)]
    client = system.client()
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE) as cli:
        until(lambda: "left-alone" in known_jobs(system), "the job is queued")
        cli.send_signal(signal.SIGINT)
        told = cli.communicate(timeout=30)
    assert cli.returncode == 130
    assert b"Traceback" not in told[1]
    assert ended(client, "left-alone").status == "completed"


def known_jobs(system: Up) -> list[str]:
    listed = edgeproof("jobs", "list", "--json", "--data-dir", str(system.data_dir))
    return [job["job_id"] for job in printed(listed)["jobs"]]


def test_everything_that_prints_data_prints_json(system: Up, models: TinyModels) -> None:
    here = ("--data-dir", str(system.data_dir), "--json")
    system.child("runner")
    assert printed(edgeproof("runner", "enrol", *here))["token"]
    assert printed(edgeproof("fleet", "list", *here))["runners"]
    assert "jobs" in printed(edgeproof("jobs", "list", *here))
    report = printed(edgeproof("doctor", *here))
    assert report["isolation"] in ("none", "rlimit", "namespaces")
    assert {"python", "disk"} <= {check["name"] for check in report["checks"]}
    nobody = asyncio.run(absent_runner(system))
    detached = edgeproof("analyze", str(models.quick), "--detach", "--runner", nobody, *QUICK, *here)
    assert (detached.returncode, printed(detached)["status"]) == (0, "queued")
    cancelled = edgeproof("jobs", "cancel", printed(detached)["job_id"], *here)
    assert json.loads(cancelled.stdout)["cancel_requested_at"]
