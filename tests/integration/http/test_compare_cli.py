"""``edgeproof compare`` and ``results``, through the API as everything else: exit 3, always."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from edgeproof.app.commands import WiredUseCases
from edgeproof.cli.compare import compare
from edgeproof.cli.guard import guard
from edgeproof.cli.kept_results import results
from edgeproof.client import ControlPlaneClient
from edgeproof.contract.errors import Refused

BASE: dict[str, Any] = {
    "model": "m", "engine": "ort", "device": "cpu", "precision": "fp32", "batch": 1, "height": 8, "width": 8,
    "mean_ms": 10.0, "p99_ms": 12.0, "run_config": {"warmup": 5}, "system": {"os": "Linux"},
}  # fmt: skip
FASTER = {**BASE, "mean_ms": 7.0, "p99_ms": 9.0}

Invoke = Callable[..., Awaitable[Result]]


@pytest.fixture
def invoke(user: ControlPlaneClient, url: str) -> Invoke:
    """Runs a command in a thread, for the server lives in this loop."""

    async def run(command: click.Command, *words: str) -> Result:
        def call() -> Result:
            asked = [*words, "--server", url, "--token", str(user.token)]
            return CliRunner().invoke(
                command, asked, obj=WiredUseCases(token=None), standalone_mode=False, catch_exceptions=False
            )

        return await asyncio.to_thread(call)

    return run


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    base, new = tmp_path / "base.json", tmp_path / "new.json"
    base.write_text(json.dumps(BASE))
    new.write_text(json.dumps(FASTER))
    return str(base), str(new)


def guard_file(tmp_path: Path, status: str) -> str:
    path = tmp_path / f"{status}.json"
    path.write_text(json.dumps({"status": status}))
    return str(path)


@pytest.mark.parametrize(
    ("status", "decision"),
    [("ok", "deployable"), ("warning", "review_required"), ("error", "blocked"), ("skipped", "unknown")],
)
async def test_whatever_is_decided_it_exits_3(
    invoke: Invoke, files: tuple[str, str], tmp_path: Path, status: str, decision: str
) -> None:
    result = await invoke(compare, *files, "--guard", guard_file(tmp_path, status), "--json")
    bundle = json.loads(result.stdout)
    assert bundle["deployment_decision"]["decision"] == decision
    assert (bundle["basis"], result.return_value) == ("unsigned", 3)


async def test_a_diagnosis_of_our_guard_is_taken(
    invoke: Invoke, files: tuple[str, str], tmp_path: Path
) -> None:
    flat = {"class_id": 0, "confidence": 0.6, "bbox": [1, 2, 0, 4]}
    seen, answer = tmp_path / "seen.json", tmp_path / "answer.json"
    seen.write_text(
        json.dumps({"model": "m", "precision": "int8", "image_id": "1.jpg", "detections": [flat]})
    )
    asked = CliRunner().invoke(guard, [str(seen), "--json"], standalone_mode=False, catch_exceptions=False)
    assert asked.return_value == 2
    answer.write_text(asked.stdout)
    bundle = json.loads((await invoke(compare, *files, "--guard", str(answer), "--json")).stdout)
    assert bundle["deployment_decision"]["decision"] == "blocked"
    assert bundle["guard_analysis"]["evidence"][0]["type"] == "bbox_collapse"


async def test_it_prints_markdown_and_writes_what_is_asked(
    invoke: Invoke, files: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out.html"
    result = await invoke(compare, *files, "--with-guard", "--html-out", str(out))
    assert result.return_value == 3
    assert "nobody signed" in result.stdout
    assert "-30.00 %" in result.stdout
    assert out.read_text().startswith("<p>")


async def test_thresholds_and_kept_results(
    invoke: Invoke, files: tuple[str, str], user: ControlPlaneClient, tmp_path: Path
) -> None:
    base = json.loads((await invoke(results, "add", files[0], "--json")).stdout)
    again = json.loads((await invoke(results, "add", files[0], "--json")).stdout)
    assert base["result_id"] == again["result_id"]
    new = await user.add_result(FASTER)
    guard = guard_file(tmp_path, "ok")
    result = await invoke(
        compare, base["result_id"], f"sha256:{new.digest}", "--guard", guard, "--latency-improve-pct", "-40",
        "--json",
    )  # fmt: skip
    decision = json.loads(result.stdout)["deployment_decision"]
    assert (decision["decision"], result.return_value) == ("deployable_with_note", 3)
    listed = (await invoke(results, "list", "--basis", "unsigned")).stdout
    assert base["result_id"] in listed
    assert new.result_id in listed
    assert "mean_ms  7" in (await invoke(results, "show", new.result_id)).stdout


@pytest.mark.parametrize(
    ("content", "code"), [("{", "invalid_json"), ("[1]", "invalid_json"), ("{}", "result_invalid")]
)
async def test_what_is_no_result_is_refused(
    invoke: Invoke, files: tuple[str, str], tmp_path: Path, content: str, code: str
) -> None:
    odd = tmp_path / "odd.json"
    odd.write_text(content)
    with pytest.raises(Refused) as refused:
        await invoke(compare, files[0], str(odd))
    assert refused.value.code == code


async def test_neither_a_file_nor_an_id_is_said(invoke: Invoke, files: tuple[str, str]) -> None:
    with pytest.raises(Refused, match="neither a file nor"):
        await invoke(compare, files[0], "no/such/file.json")
    with pytest.raises(Refused) as refused:
        await invoke(compare, files[0], "nothing-of-that-id")
    assert refused.value.code == "unknown_result"
