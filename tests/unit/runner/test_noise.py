from pathlib import Path

import msgspec
import pytest

from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.statements import NoiseFloor
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.noise import RememberedNoise


def floor(name: str, pct: float = 1.0, background: float = 0.0) -> NoiseFloor:
    return NoiseFloor(
        conditions=sha256_hex(name.encode()),
        background=background,
        pairs=8,
        floor_pct={"p50": pct},
        measured_at="2026-01-02T03:04:05Z",
    )


def test_floors_are_remembered_by_their_conditions(tmp_path: Path) -> None:
    noise = RememberedNoise(RunnerHome(tmp_path))
    assert noise.read() == ()
    draws = (floor("a"), floor("b"), floor("a", 2.0), floor("a", 3.0))
    for one in draws:
        noise.remember(one)
    assert RememberedNoise(RunnerHome(tmp_path)).read() == draws
    noise.remember(floor("a", 0.5))
    assert noise.read() == (*draws[1:], floor("a", 0.5))


def test_a_busy_device_has_a_floor_of_its_own(tmp_path: Path) -> None:
    noise = RememberedNoise(RunnerHome(tmp_path))
    quiet = tuple(floor("a", 1.0 + at, 0.02) for at in range(3))
    busy = tuple(floor("a", 3.0 + at, 0.3) for at in range(3))
    for one in (*quiet, *busy, floor("a", 9.0, 0.02)):
        noise.remember(one)
    assert noise.read() == (*quiet[1:], *busy, floor("a", 9.0, 0.02))


def test_a_floor_of_an_earlier_form_is_measured_anew(tmp_path: Path) -> None:
    told = msgspec.to_builtins(floor("a"))
    del told["background"]
    (tmp_path / "noise.json").write_bytes(msgspec.json.encode([told]))
    assert RememberedNoise(RunnerHome(tmp_path)).read() == ()


def test_a_floor_without_figures_is_not_kept(tmp_path: Path) -> None:
    noise = RememberedNoise(RunnerHome(tmp_path))
    noise.remember(msgspec.structs.replace(floor("a"), floor_pct={}))
    assert noise.read() == ()


@pytest.mark.parametrize("damage", [b"{", b'[{"conditions": "\xff"}]'])
def test_a_broken_file_is_no_memory(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "noise.json").write_bytes(damage)
    noise = RememberedNoise(RunnerHome(tmp_path))
    assert noise.read() == ()
    noise.remember(floor("a"))
    assert noise.read() == (floor("a"),)


def test_the_newest_are_kept(tmp_path: Path) -> None:
    noise = RememberedNoise(RunnerHome(tmp_path))
    for number in range(104):
        noise.remember(floor(str(number)))
    assert noise.read() == tuple(floor(str(number)) for number in range(8, 104))
