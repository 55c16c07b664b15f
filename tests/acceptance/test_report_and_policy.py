"""``edgeproof policy …`` and ``edgeproof report`` against a real system."""

import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from .running_system import Up, decision_of, edgeproof, printed, settled
from .tiny_models import TinyModels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TEXT = (resources.files("edgeproof.lab.policies") / "edgeproof-default.toml").read_text(encoding="utf-8")
WITH_TAILS = TEXT.replace('"edgeproof-default"', '"with-tails"').replace(
    "[accuracy]",
    '[[latency.gates]]\nmetric = "mean"\nmargin_pct = 100.0\n\n'
    '[[latency.gates]]\nmetric = "p99"\nmargin_pct = 3.0\n\n[accuracy]',
    1,
)


def test_a_policy_is_added_named_by_a_job_and_its_report_written_again(
    system: Up, models: TinyModels, tmp_path: Path
) -> None:
    file, there = tmp_path / "policy.toml", ("--data-dir", str(system.data_dir))
    file.write_text(WITH_TAILS)
    checked = edgeproof("policy", "check", str(file), "--json")
    digest = printed(checked)["digest"]
    assert [one["path"] for one in printed(checked)["warnings"]] == ["$.latency.gates[3]"]
    kept = edgeproof("policy", "add", str(file), *there)
    assert kept.returncode == 0 and "p99 can never be certified" in kept.stderr
    listed = printed(edgeproof("policy", "list", *there, "--json"))["policies"]
    assert ("with-tails", digest) in [(one["name"], one["digest"]) for one in listed]
    assert printed(edgeproof("policy", "show", "with-tails", *there, "--json"))["info"]["digest"] == digest

    def with_tails(number: int) -> subprocess.CompletedProcess[str]:
        return edgeproof(
            "analyze", str(models.quick), "--baseline", str(models.slow), "--dataset", str(models.dataset),
            "--policy", "with-tails", "--job-id", f"tails-{number}", "--batch", "1", "--threads", "1",
            "--runs", "30", "--preset", "source", "--out", str(tmp_path / "first"), "--json", *there,
        )  # fmt: skip

    told = settled(with_tails, lambda one: decision_of(printed(one).get("result")))
    assert told.returncode == 0, told
    comparison = printed(told)["result"]["comparison"]["result"]
    verdicts = {gate["metric"]: gate["verdict"] for gate in comparison["latency"]}
    assert list(verdicts) == ["p50", "p90", "mean", "p99"]
    assert verdicts["p99"] == "not_decidable"
    assert [one["metric"] for one in comparison["shown"]] == ["p95"]

    again = edgeproof("report", printed(told)["job_id"], "--out", str(tmp_path / "again"), *there)
    assert again.returncode == 0, again
    for name in ("report.html", "report.md", "summary.json", "trust.json"):
        first, second = ((tmp_path / out / name).read_text() for out in ("first", "again"))
        assert first == second
    page = (tmp_path / "again" / "report.html").read_text()
    assert "not decidable here" in page
    assert page.count("<svg") == 4
    verified = edgeproof(
        "verify", str(tmp_path / "again" / "evidence"), "--trust", str(tmp_path / "again" / "trust.json")
    )
    assert verified.returncode == 0, verified


def test_what_cannot_be_done_is_said(system: Up, tmp_path: Path) -> None:
    there = ("--data-dir", str(system.data_dir), "--json")
    unknown = edgeproof("policy", "show", "nobody", *there)
    assert (unknown.returncode, printed(unknown)["code"]) == (1, "unknown_policy")
    absent = edgeproof("report", "nobody", "--out", str(tmp_path / "out"), *there[:2])
    assert absent.returncode == 1
    assert not (tmp_path / "out").exists()


def test_a_request_may_tighten_and_its_evidence_holds(system: Up, models: TinyModels, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.toml", tmp_path / "out"

    def analyze(text: str) -> tuple[int, dict[str, Any]]:
        file.write_text(text)
        told = edgeproof(
            "analyze", str(models.quick), "--baseline", str(models.slow), "--tighten", str(file),
            "--dataset", str(models.dataset), "--batch", "1", "--threads", "1", "--runs", "30",
            "--preset", "source", "--out", str(out), "--data-dir", str(system.data_dir), "--json",
        )  # fmt: skip
        return told.returncode, printed(told)

    mine = TEXT.replace('"edgeproof-default"', '"mine"')
    code, problem = analyze(mine.replace("margin_pp = 1.0", "margin_pp = 9.0", 1))
    assert (code, problem["code"]) == (1, "policy_not_allowed")
    stricter = mine.replace("margin_pct = 3.0", "margin_pct = 1.0", 1)
    code, job = settled(lambda _: analyze(stricter), lambda told: decision_of(told[1].get("result")))
    assert code == 0, job
    checked = edgeproof("verify", str(out / "evidence"), "--trust", str(out / "trust.json"))
    assert checked.returncode == 0, checked
