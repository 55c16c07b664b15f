"""``edgeproof bench verdict`` with real processes: what it records, goes on with, and judges again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edgeproof.bench.verdict import traces
from edgeproof.bench.verdict.record import Recording, record
from edgeproof.contract.errors import Refused

BLOCKS = 10


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if is_live(one)]


def is_live(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_rotations_are_recorded_resumed_and_judged_again(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    before = children()
    said: list[str] = []

    async def one_rotation(condition: traces.Condition, *, resume: bool) -> None:
        await record(Recording(path, 1e-9, condition, resume, said.append))

    await one_rotation("quiet", resume=False)
    for _ in range(6):
        await one_rotation("quiet", resume=True)
    await one_rotation("load", resume=True)
    with pytest.raises(Refused, match="--resume"):
        await one_rotation("quiet", resume=False)
    assert children() == before

    kinds = [type(one) for one in traces.read(path)]
    assert kinds == [traces.Session, traces.Rotation] * 8
    played = [one for one in traces.read(path) if isinstance(one, traces.Rotation)]
    assert [(one.condition, one.index) for one in played] == [
        *(("quiet", at) for at in range(7)),
        ("load", 0),
    ]
    first, second, *_, seventh, loaded = played
    assert first.order == ("baseline", "twin", "by_2", "by_3", "by_3_again", "by_5")
    assert second.order == ("twin", "by_2", "by_3", "by_3_again", "by_5", "baseline")
    assert set(loaded.sides) == {"baseline", "twin"}
    for one in played:
        for side in one.sides.values():
            assert len([block for block in side.blocks if not block.flags]) <= BLOCKS <= len(side.blocks)
            assert len({len(block.samples_ns) for block in side.blocks}) == 1
    assert {len(one.before) for one in seventh.sequential.values()} == {50}
    assert first.sequential == second.sequential == loaded.sequential == {}
    assert said[0].startswith("0.5 ms rotation 1")

    judged = subprocess.run(
        [sys.executable, "-m", "edgeproof", "bench", "verdict", "--judge", str(path), "--json"],
        capture_output=True,
        check=True,
        timeout=120,
    )
    told = json.loads(judged.stdout)
    assert told["schema_version"] == "edgeproof-verdict-quality-v1"
    assert [one["rotations"] for one in told["recorded"]] == [{"0.5 ms": 7}, {"0.5 ms": 1}]
    assert {row["trials"] for row in told["rows"]} <= {0, 1}
    assert {goal["status"] for row in told["rows"] for goal in row["goals"]} == {"too few"}


async def test_traces_of_another_machine_are_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    await record(Recording(path, 1e-9, "quiet", False, lambda _: None))
    text = path.read_text()
    cpu = json.loads(text.splitlines()[0])["system"]["cpu_model"]
    path.write_text(text.replace(f'"cpu_model":"{cpu}"', '"cpu_model":"another"'))
    with pytest.raises(Refused, match="another"):
        await record(Recording(path, 1e-9, "quiet", True, lambda _: None))
