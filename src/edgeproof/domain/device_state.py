"""The state of the device in which a measurement was made, as its result carries it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgeproof.contract.statements import EnvironmentSnapshot


class DeviceState(NamedTuple):
    """In words; None where the device does not tell. What changed meanwhile is ``15W, then 25W``."""

    power_mode: str | None
    governor: str | None
    max_clocks: str | None


def device_state(before: EnvironmentSnapshot, after: EnvironmentSnapshot) -> DeviceState:
    """What held from ``before`` the measurement until ``after`` it."""
    return DeviceState(
        power_mode=_held(before.power_mode, after.power_mode),
        governor=_held(before.governor, after.governor),
        max_clocks=_held(clocks(before.max_frequency_mhz), clocks(after.max_frequency_mhz)),
    )


def clocks(mhz: Sequence[float]) -> str | None:
    """For example ``729.6, 1510.4 MHz``."""
    return f"{', '.join(f'{one:g}' for one in mhz)} MHz" if mhz else None


def _held(before: str | None, after: str | None) -> str | None:
    return before if before == after else f"{before or 'not told'}, then {after or 'not told'}"
