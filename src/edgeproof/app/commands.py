"""Hands each command the use case that it calls, imported on first use."""

from __future__ import annotations

import os
from pathlib import Path

from edgeproof.cli.main import cli
from edgeproof.cli.use_cases import (
    DemoOptions,
    DoctorReport,
    InstallOptions,
    JoinOptions,
    JoinReport,
    NoiseOptions,
    RunnerOptions,
    RunnerStatusReport,
    UpOptions,
)
from edgeproof.contract.statements import NoiseFloor


class WiredUseCases:
    """Each method imports what it needs and nothing before it is called."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def up(self, options: UpOptions) -> None:
        from edgeproof.app.up import run_up

        run_up(options)

    def runner(self, options: RunnerOptions) -> int:
        from edgeproof.app.runner import run_runner

        return run_runner(options)

    def noise(self, options: NoiseOptions) -> NoiseFloor:
        from edgeproof.app.noise import measure_noise

        return measure_noise(options)

    def join(self, options: JoinOptions) -> JoinReport:
        from edgeproof.app.join import join_control_plane

        return join_control_plane(options)

    def runner_status(self, home: Path) -> RunnerStatusReport:
        from edgeproof.app.runner_status import runner_status

        return runner_status(home)

    def install_runner(self, options: InstallOptions) -> str:
        from edgeproof.app.install import install_runner

        return install_runner(options)

    def demo(self, options: DemoOptions) -> int:
        from edgeproof.app.demo import run_demo

        return run_demo(options)

    def doctor(self, data_dir: Path) -> DoctorReport:
        from edgeproof.app.doctor import examine

        return examine(data_dir)


def run() -> None:
    # Taken out of the environment before anything is started (DESIGN decision 13).
    token = os.environ.pop("EDGEPROOF_TOKEN", None)
    cli(obj=WiredUseCases(token), prog_name="edgeproof")
