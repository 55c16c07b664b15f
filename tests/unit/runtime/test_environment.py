from __future__ import annotations

import re

import msgspec
import pytest

from edgeproof.contract.canonical import canonical, decode_canonical
from edgeproof.contract.results import SystemInfo
from edgeproof.contract.statements import EnvironmentSnapshot
from edgeproof.runtime import environment


@pytest.mark.parametrize(
    ("cpu_max", "granted"),
    [
        ("max 100000", None),
        ("max", None),
        ("50000 100000", 1),
        ("250000 100000", 3),
        ("", None),
        ("1 0", None),
    ],
)
def test_quota_in_whole_processors(cpu_max: str, granted: int | None) -> None:
    assert environment.quota(cpu_max) == granted


def test_every_allowed_processor_is_of_one_core() -> None:
    found = sorted(number for core in environment.cores() for number in core)
    assert found == environment.allowed_processors()


def test_cores_are_among_the_allowed_processors() -> None:
    assert 1 <= environment.physical_cores() <= len(environment.allowed_processors())


def test_a_snapshot_can_be_signed() -> None:
    taken = environment.snapshot({"engine": "1"})
    assert decode_canonical(canonical(taken), EnvironmentSnapshot, what="snapshot") == taken
    assert set(taken.versions) == {"engine", "python", "kernel"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", taken.at)


def test_what_is_not_told_is_not_written() -> None:
    """So that the bytes of a snapshot from before these fields are still canonical."""
    silent = msgspec.structs.replace(
        environment.snapshot({}), power_mode=None, max_frequency_mhz=(), waits_told=True
    )
    told = msgspec.structs.replace(
        silent, power_mode="15W", max_frequency_mhz=(729.6, 1510.4), waits_told=False
    )
    new = {"power_mode", "max_frequency_mhz", "waits_told"}
    assert not new & set(msgspec.json.decode(canonical(silent)))
    for one in (silent, told):
        assert decode_canonical(canonical(one), EnvironmentSnapshot, what="snapshot") == one
    assert new <= set(msgspec.json.decode(canonical(told)))


@pytest.mark.parametrize(
    ("status", "mode"),
    [
        ("pmode:0002 fmode:quiet", "MODE_15W_6CORE"),
        ("pmode:0000\n", "MAXN"),
        ("pmode:0020", "nvpmodel 20"),
        ("fmode:quiet", None),
        ("", None),
    ],
)
def test_a_jetsons_power_mode_has_its_name(status: str, mode: str | None) -> None:
    catalogue = (
        "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_1 1\n"
        "< POWER_MODEL ID=2 NAME=MODE_15W_6CORE >\n< PM_CONFIG DEFAULT=2 >\n"
    )
    assert environment.power_mode(status, catalogue) == mode


def test_system_facts_can_be_signed() -> None:
    facts = environment.system_info()
    assert msgspec.json.decode(canonical(facts), type=SystemInfo) == facts
    assert facts.memory_bytes > 0


def test_boot_id_is_stable() -> None:
    assert environment.boot_id() == environment.boot_id() != ""


def test_noise_holds_for_a_magnitude_of_latency() -> None:
    def of(latency_ns: float) -> str:
        return environment.conditions("engine", "cpu", 1, {}, latency_ns)

    assert of(5_000_000) == of(6_000_000.5) != of(20_000)
