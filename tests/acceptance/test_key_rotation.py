"""A runner's key replaced by another by hand, as docs/runner.md says, without the runner's id changing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .running_system import (
    EDGEPROOF,
    JOB_SECONDS,
    STOP_SECONDS,
    demand_done_once,
    edgeproof,
    environment,
    printed,
    until,
    up,
)
from .tiny_models import TinyModels

pytestmark = pytest.mark.slow

OVERLAP_HOURS = "0.002"


def start(home: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as told:
        return subprocess.Popen(
            [*EDGEPROOF, "runner", "start", "--home", str(home)], stderr=told, env=environment()
        )


def test_a_new_key_takes_over_and_the_old_one_is_refused_after_the_overlap(
    data_dir: Path, tmp_path: Path, models: TinyModels
) -> None:
    old, new, here = tmp_path / "old", tmp_path / "new", ("--json", "--data-dir", str(data_dir))

    with up(data_dir, "--no-runner") as system:

        def join(home: Path, token: str = "") -> subprocess.CompletedProcess[str]:
            words = ("runner", "join", system.address, "--home", str(home), "--json")
            return edgeproof(*words, **({"EDGEPROOF_TOKEN": token} if token else {}))

        def key_of(home: Path) -> str:
            return str(printed(edgeproof("runner", "status", "--json", "--home", str(home)))["public_key"])

        def states() -> dict[str, str]:
            listed = printed(edgeproof("fleet", "keys", "list", *here))["keys"]
            return {one["public_key"]: one["state"] for one in listed}

        def contact(home: Path) -> bool:
            told = printed(edgeproof("runner", "status", "--json", "--home", str(home)))
            return bool(told["running"] and told["last_contact_at"])

        runner_id = printed(join(old, printed(edgeproof("runner", "enrol", *here))["token"]))["runner_id"]
        # Refused, it has made its key nevertheless, and names it.
        refused = join(new)
        assert (refused.returncode, json.loads(refused.stdout)["code"]) == (1, "key_not_allowed")
        assert key_of(new) in json.loads(refused.stdout)["detail"]

        before = start(old, tmp_path / "old.log")
        try:
            until(lambda: contact(old), "the old key is at work")
            rotated = printed(
                edgeproof(
                    *("fleet", "keys", "rotate", key_of(old), key_of(new)),
                    *("--overlap-hours", OVERLAP_HOURS, *here),
                )
            )
            assert (rotated["old"]["state"], rotated["new"]["state"]) == ("good", "good")
            assert rotated["old"]["good_until"]
            assert printed(join(new))["runner_id"] == runner_id
            after = start(new, tmp_path / "new.log")
            try:
                # Nobody stopped it: it ends by itself, the overlap being over.
                assert before.wait(JOB_SECONDS) == 78
                assert "key_not_allowed" in (tmp_path / "old.log").read_text()
                assert states() == {key_of(old): "rotated_out", key_of(new): "good"}
                again = join(old)
                assert (again.returncode, json.loads(again.stdout)["code"]) == (1, "key_not_allowed")

                client = system.client()
                asked = {
                    "preset": "source", "batch": 1, "threads": 1, "runs": 30,
                    "baseline": {"model_path": client.upload(models.slow)},
                }  # fmt: skip
                job = demand_done_once(client, client.analyze(models.quick, options=asked).job_id)
                assert {run.runner_id for run in job.runs} == {runner_id}
                (listed,) = printed(edgeproof("fleet", "list", *here))["runners"]
                assert (listed["runner_id"], listed["public_key"]) == (runner_id, key_of(new))
                after.terminate()
                assert after.wait(STOP_SECONDS) == 0
            finally:
                after.kill()
                after.wait()
        finally:
            before.kill()
            before.wait()
