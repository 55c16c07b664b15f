"""The state of the device, as results carry it."""

import msgspec

from edgeproof.contract.statements import EnvironmentSnapshot
from edgeproof.domain.device_state import DeviceState, device_state

SILENT = EnvironmentSnapshot(
    at="2026-01-01T00:00:00Z",
    governor=None,
    frequency_mhz=(),
    temperature_c=None,
    throttle_count=None,
    load_1m=0.1,
    memory_available_bytes=1,
    swap_used_bytes=0,
    versions={},
)


def test_a_state_that_held_is_told_once_and_one_that_changed_twice() -> None:
    assert device_state(SILENT, SILENT) == DeviceState(None, None, None)
    one = msgspec.structs.replace(
        SILENT, power_mode="15W", governor="schedutil", max_frequency_mhz=(729.6, 1510.4)
    )
    assert device_state(one, one) == DeviceState("15W", "schedutil", "729.6, 1510.4 MHz")
    other = msgspec.structs.replace(one, power_mode="25W", governor=None, max_frequency_mhz=(3400.0,))
    assert device_state(one, other) == DeviceState(
        "15W, then 25W", "schedutil, then not told", "729.6, 1510.4 MHz, then 3400 MHz"
    )
