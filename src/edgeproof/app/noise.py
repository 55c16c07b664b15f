"""``edgeproof runner noise``: measures what this device shows where there is no difference, and remembers it.

The same confined stage that serves jobs plays a model against itself under the default policy's plan. No
control plane has a part in it.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import Final

from edgeproof.cli.use_cases import NoiseOptions
from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeOptions
from edgeproof.contract.statements import MeasuredArtifact, NoiseFloor, RunLimits, RuntimeConfig
from edgeproof.lab.noise import with_draw
from edgeproof.lab.plan import duet_plan
from edgeproof.lab.policies import default_policy
from edgeproof.runner.home import RunnerHome, usable
from edgeproof.runner.inputs import file_digest
from edgeproof.runner.isolation import detect
from edgeproof.runner.noise import RememberedNoise
from edgeproof.runner.stage import RuntimeDone, Task
from edgeproof.runner.supervisor import run_stage

_LIMITS: Final = RunLimits(max_seconds=600, max_memory_bytes=2 << 30, max_upload_bytes=512 << 20)


def measure_noise(options: NoiseOptions) -> NoiseFloor:
    """The floor that jobs now go by: a fresh draw, taken together with those remembered.

    Raises ``Refused`` (``artifact_missing`` for no such file, ``home_unusable``) and what a measurement
    raises.
    """
    return asyncio.run(_measure(options))


async def _measure(options: NoiseOptions) -> NoiseFloor:
    if not options.model.is_file():
        raise Refused("artifact_missing", f"{options.model} is not a file")
    try:
        config = _config(options)
    except OSError as error:
        raise Refused("artifact_missing", f"{options.model} cannot be read: {error.strerror}") from error
    home = RunnerHome(options.home)
    with usable(home.root):
        workspace = home.new_workspace()
    try:
        names = {role: f"input-{role}" for role in ("baseline", "candidate")}
        with usable(home.root):
            for name in names.values():
                await asyncio.to_thread(shutil.copyfile, options.model, workspace / name)
        outcome = await run_stage(
            Task(config=config, inputs=names, build_cache=None),
            workspace,
            hide=home.hidden,
            level=await detect(),
            limits=_LIMITS,
            on_progress=options.on_progress,
        )
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    assert isinstance(outcome, RuntimeDone)
    assert outcome.drawn is not None
    noise = RememberedNoise(home)
    told = with_draw(noise.read(), outcome.drawn)
    with usable(home.root):
        noise.remember(outcome.drawn)
    return told


def _config(options: NoiseOptions) -> RuntimeConfig:
    digest = file_digest(options.model)
    side = MeasuredArtifact(
        artifact=digest, build=digest, source=digest, precision="unknown", model_name=options.model.stem
    )
    return RuntimeConfig(
        backend="onnxruntime",
        target="cpu",
        threads=options.threads,
        baseline=side,
        candidate=side,
        dataset=None,
        input_shapes={},
        batch=options.batch,
        height=None,
        width=None,
        plan=duet_plan(default_policy(), AnalyzeOptions()),
        min_isolation="none",
    )
