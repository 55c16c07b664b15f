"""Once per session: an initialised data folder to copy, models to analyse, and a system to hurt.

The system heals itself, so it is shared: what is killed in it, ``up`` starts again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeproof.client import Client

from .cutting_proxy import CuttingProxy
from .running_system import Up, free_port, up
from .tiny_models import TinyModels, make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that ``up`` has been started on once, without a runner, and that nobody uses."""
    data_dir = tmp_path_factory.mktemp("initialised") / "data"
    with up(data_dir, "--no-runner"):
        pass
    return data_dir


@pytest.fixture(scope="session")
def copy_of_initialised(initialised: Path) -> Callable[[Path], Path]:
    """``copy(folder)`` puts a copy there as ``data``."""

    def copy(folder: Path) -> Path:
        shutil.copytree(initialised, folder / "data")
        return folder / "data"

    return copy


@pytest.fixture
def data_dir(copy_of_initialised: Callable[[Path], Path], tmp_path: Path) -> Path:
    """An initialised data folder of this test's own."""
    return copy_of_initialised(tmp_path)


@pytest.fixture(scope="session")
def proxy() -> Iterator[CuttingProxy]:
    """Between everybody, the local runner too, and the control plane of ``system``."""
    proxy = CuttingProxy()
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def system(
    copy_of_initialised: Callable[[Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
    proxy: CuttingProxy,
) -> Iterator[Up]:
    proxy.upstream = free_port()
    data_dir = copy_of_initialised(tmp_path_factory.mktemp("system"))
    with up(
        data_dir,
        *("--port", str(proxy.upstream), "--public-url", f"http://127.0.0.1:{proxy.port}"),
        # Longer than a busy machine needs to start a killed process again.
        *("--lease-seconds", "10", "--heartbeat-seconds", "0.5"),
    ) as started:
        yield started


@pytest.fixture
def client(system: Up) -> Client:
    return system.client()


@pytest.fixture
def start_job(client: Client, models: TinyModels) -> Callable[..., str]:
    """Queues an analysis that needs no second look, the candidate being many times faster; its id."""

    def start(**options: object) -> str:
        asked = {
            "preset": "source",
            "batch": 1,
            "threads": 1,
            "runs": 30,
            "baseline": {"model_path": client.upload(models.slow)},
            **options,
        }
        return client.analyze(models.quick, options=asked).job_id

    return start
