"""Bad data sets, for measuring and for calibrating: nothing in them is run or unpacked without bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeproof.client import ControlPlaneClient

from . import inputs
from .system import System, analysed, demand_failed

DATA_SETS: dict[str, dict[str, Any]] = {
    "shape": {"x": np.zeros((32, 7), np.float32)},
    "dtype": {"x": np.zeros((32, 8))},
    "label-range": {"labels": np.full(32, inputs.CLASSES)},
    "label-count": {"labels": np.zeros(31, np.int64)},
    "no-input": {"x": None},
}


@pytest.mark.parametrize("case", DATA_SETS)
async def test_a_data_set_that_does_not_fit(system: System, user: ControlPlaneClient, case: str) -> None:
    job = await analysed(user, inputs.linear(), dataset=inputs.labelled(**DATA_SETS[case]))
    demand_failed(job, "dataset_invalid", "runtime", system)


async def test_a_pickle(system: System, user: ControlPlaneClient, tmp_path: Path) -> None:
    trace = tmp_path / "unpickled"
    job = await analysed(user, inputs.linear(), dataset=inputs.pickled(str(trace), member=False))
    demand_failed(job, "dataset_unsafe", "runtime", system)
    job = await analysed(
        user, inputs.linear(), preset="int8_static", calibration=inputs.pickled(str(trace), member=True)
    )
    demand_failed(job, "dataset_unsafe", "forge", system)
    assert not trace.exists()


async def test_a_bomb(system: System, user: ControlPlaneClient) -> None:
    data = inputs.bomb()
    assert len(data) < 16 << 20
    job = await analysed(user, inputs.linear(), dataset=data)
    demand_failed(job, "dataset_unsafe", "runtime", system)
    job = await analysed(user, inputs.linear(), preset="int8_static", calibration=data)
    demand_failed(job, "dataset_unsafe", "forge", system)


async def test_calibration_that_does_not_fit(system: System, user: ControlPlaneClient) -> None:
    data = inputs.npz(x=np.zeros((4, 7), np.float32))
    job = await analysed(user, inputs.linear(), preset="int8_static", calibration=data)
    demand_failed(job, "dataset_invalid", "forge", system)
