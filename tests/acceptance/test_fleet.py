"""An operator at the command line: who is there, whose key is stolen, and what becomes of decisions."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgeproof.contract.envelope import SigningKey

from .running_system import decision_of, edgeproof, printed, settled, up
from .tiny_models import TinyModels

pytestmark = pytest.mark.slow


@pytest.mark.timeout(400)
def test_a_stolen_key_takes_its_decisions_with_it(data_dir: Path, models: TinyModels, tmp_path: Path) -> None:
    listed = SigningKey.generate().public
    keys = tmp_path / "runner-keys"
    keys.write_text(f"# the lab's own\n\n{listed.base64} a board\n")
    with up(data_dir, "--runner-keys", str(keys)):
        here = ("--data-dir", str(data_dir))

        def told(*words: str, code: int = 0) -> Any:
            result = edgeproof(*words, *here, "--json")
            assert result.returncode == code, result
            return printed(result)

        out = tmp_path / "out"
        asked: list[str] = []

        def better(number: int) -> subprocess.CompletedProcess[str]:
            asked.append(f"better-{number}")
            return edgeproof(
                "analyze", str(models.quick), "--baseline", str(models.slow),
                "--dataset", str(models.dataset), "--job-id", asked[-1], "--out", str(out), "--json", *here,
                *("--batch", "1", "--threads", "1", "--runs", "30", "--preset", "source"),
            )  # fmt: skip

        analyzed = settled(better, lambda one: decision_of(printed(one).get("result")))
        job_id = asked[-1]
        assert analyzed.returncode == 0, analyzed
        (runner,) = told("fleet", "list")["runners"]
        shown = told("fleet", "show", runner["runner_id"])
        assert [key["source"] for key in shown["keys"]] == ["enrolment"]
        assert shown["outcomes"] == {"COMPLETE": 3 * len(asked)}
        sources = {key["public_key"]: key["source"] for key in told("fleet", "keys", "list")["keys"]}
        assert sources[listed.base64] == "static"
        log = told("audit", "verify")
        assert log["holds"]

        removed = told(
            "fleet", "keys", "remove", shown["keys"][0]["fingerprint"],
            "--reason", "stolen", "--compromised-since", "2020-01-01T00:00:00Z",
        )  # fmt: skip
        assert removed["withdrawn"] == asked
        job = told("jobs", "show", job_id, code=3)
        assert job["withdrawn"]["signed_decision"] == "deployable"
        assert told("jobs", "watch", job_id, code=3) == job
        text = edgeproof("jobs", "show", job_id, *here)
        assert (text.returncode, "stolen" in text.stdout) == (3, True), text
        again = tmp_path / "again"
        report = edgeproof("report", job_id, "--out", str(again), *here)
        assert (report.returncode, "stolen" in report.stdout) == (3, True), report
        assert "counts no more" in (again / "report.html").read_text()
        # Offline: the decision is what it was, and the newer trust document says that it counts no more.
        evidence = str(again / "evidence")
        assert edgeproof("verify", evidence, "--trust", str(out / "trust.json")).returncode == 0
        verified = edgeproof("verify", evidence, "--trust", str(again / "trust.json"))
        assert (verified.returncode, "stolen" in verified.stdout) == (3, True), verified

        exported = tmp_path / "trust.json"
        assert edgeproof("fleet", "keys", "trust", "--out", str(exported), *here).returncode == 0
        assert exported.read_bytes() == (again / "trust.json").read_bytes()

        entries = told("audit", "list", "--subject", job_id)["entries"]
        assert {entry["act"] for entry in entries} == {"decision.signed", "decision.withdrawn"}
        assert told("audit", "verify", "--head", log["head"])["holds"]
        assert told("audit", "verify", "--head", f"1:{'0' * 64}", code=1)["faults"]

    # Started without a list it says nothing about the keys of one; with an empty one it lists none.
    def state_of_listed() -> str:
        keys_now = told("fleet", "keys", "list")["keys"]
        return str(next(key["state"] for key in keys_now if key["public_key"] == listed.base64))

    with up(data_dir, "--no-runner"):
        assert state_of_listed() == "good"
    keys.write_text("")
    with up(data_dir, "--no-runner", "--runner-keys", str(keys)):
        assert state_of_listed() == "removed"


def test_a_list_of_keys_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    keys = tmp_path / "runner-keys"
    keys.write_text("bm90IGEga2V5\n")
    result = edgeproof("up", "--data-dir", str(tmp_path / "data"), "--port", "0", "--runner-keys", str(keys))
    assert result.returncode == 1
    assert "line 1" in result.stderr
    assert not (tmp_path / "data" / "postgres").exists()
