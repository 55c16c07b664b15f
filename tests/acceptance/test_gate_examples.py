"""The examples of the guide do what it says, as a user's pipeline would run them: against a live system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from .running_system import JOB_SECONDS, Up, decision_of, environment, settled
from .tiny_models import TinyModels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "gate"


@pytest.fixture
def checkout(models: TinyModels, tmp_path: Path) -> Path:
    """What the pipelines find in their working directory."""
    for name, source in (("candidate.onnx", models.quick), ("deployed.onnx", models.slow)):
        shutil.copy(source, tmp_path / name)
    shutil.copy(models.dataset, tmp_path / "test.npz")
    return tmp_path


def run(system: Up, checkout: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    own = {
        "EDGEPROOF_SERVER": system.address,
        "EDGEPROOF_TOKEN": system.credentials.user_token,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **more,
    }
    return subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, check=False, timeout=JOB_SECONDS,
        env=environment(**own),
    )  # fmt: skip


def gated(system: Up, checkout: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """``run``, and again where nothing but the machine's noise held the candidate up."""
    client = system.client()

    def newest(_: object) -> Mapping[str, Any]:
        (job,) = client.jobs(limit=1).jobs
        return decision_of(client.job(job.job_id).view.result)

    return settled(lambda _: run(system, checkout, *command, **more), newest)


def pipeline(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    return found


def test_the_shell_script_lets_a_better_candidate_through(system: Up, checkout: Path) -> None:
    script = str(EXAMPLES / "gate.sh")
    done = gated(system, checkout, script, "candidate.onnx", "deployed.onnx", "test.npz", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / "out" / "report.html").exists()


def test_the_shell_script_stops_one_that_computes_something_else(
    system: Up, checkout: Path, models: TinyModels
) -> None:
    shutil.copy(models.other, checkout / "candidate.onnx")
    script = str(EXAMPLES / "gate.sh")
    done = run(system, checkout, script, "candidate.onnx", "deployed.onnx", "test.npz")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "blocked: edgeproof-result/report.html says why" in done.stderr


def test_the_github_workflow(system: Up, checkout: Path) -> None:
    job = pipeline("github-actions.yml")["jobs"]["gate"]
    assert set(job["env"]) == {"EDGEPROOF_SERVER", "EDGEPROOF_TOKEN"}
    steps = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    assert steps.pop("Install") == "pip install edgeproof"
    runner = {"GITHUB_REPOSITORY": "us/models", "GITHUB_SHA": "0" * 40, "GITHUB_STEP_SUMMARY": "summary.md"}
    for name, script in steps.items():
        # As GitHub's runners start a step's shell.
        done = gated(
            system, checkout, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script, **runner
        )
        assert done.returncode == 0, (name, done.stdout + done.stderr)
    assert "deployable" in (checkout / "summary.md").read_text()


def test_the_gitlab_pipeline(system: Up, checkout: Path) -> None:
    job = pipeline("gitlab-ci.yml")["model-gate"]
    assert job["before_script"] == ["pip install edgeproof"]
    runner = {"CI_PROJECT_PATH": "us/models", "CI_COMMIT_SHA": "0" * 40}
    done = gated(system, checkout, "bash", "-eo", "pipefail", "-c", "\n".join(job["script"]), **runner)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((checkout / path).exists() for path in job["artifacts"]["paths"])


def test_the_notebook(system: Up, checkout: Path) -> None:
    """Its cells in their order, as one program: what a kernel adds is how values are shown."""
    notebook = nbformat.read(EXAMPLES / "gate.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    done = gated(system, checkout, sys.executable, "-c", "\n\n".join(cells))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deployable signed" in done.stdout
    assert "unsigned" in done.stdout.splitlines()[-1]
    assert (checkout / "report.html").exists()
    assert list((checkout / "evidence").glob("decision-*.json"))


def test_the_guide_shows_the_examples_as_they_are() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    for name in ("gate.sh", "github-actions.yml", "gitlab-ci.yml"):
        assert (EXAMPLES / name).read_text() in guide, name
    assert "examples/gate/gate.ipynb" in guide
