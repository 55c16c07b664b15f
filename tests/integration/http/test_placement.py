"""Demanding a device at the command line, over real HTTP: asked for, shown as missing, met."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from edgeproof.cli.main import cli
from edgeproof.client import ControlPlaneClient
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import ClaimRequest, Gpu
from edgeproof.server.plane.control_plane import ControlPlane

from .conftest import CAPABILITIES

Run = Callable[..., Awaitable[Result]]
DEMAND = (
    *("--label", "site=lab", "--label", "site=roof"),
    *("--min-vram", "24GB", "--device-class", "linux-aarch64"),
)
ABLE = msgspec.structs.replace(
    CAPABILITIES,
    device_class="linux-aarch64",
    labels={"site": "roof"},
    gpus=(Gpu(name="Orin", memory_bytes=24 * 10**9, driver="540.4", compute_capability="8.7"),),
)


class Plain:
    """What a command is given besides its arguments: no token of the environment's."""

    token: str | None = None


@pytest.fixture
def run(url: str, user: ControlPlaneClient, admin: ControlPlaneClient) -> Run:
    async def run(*arguments: str, as_admin: bool = False) -> Result:
        words = [*arguments, "--server", url, "--token", str((admin if as_admin else user).token)]
        return await asyncio.to_thread(CliRunner().invoke, cli, words, obj=Plain())

    return run


@pytest.fixture
async def runner(
    server: ControlPlane, url: str, admin: ControlPlaneClient
) -> AsyncIterator[ControlPlaneClient]:
    async with ControlPlaneClient(url) as client:
        await client.register(SigningKey.generate(), CAPABILITIES, await admin.create_enrolment_token())
        yield client


async def test_what_is_missing_is_said_when_the_job_is_queued_and_when_it_is_shown(
    run: Run, runner: ControlPlaneClient, user: ControlPlaneClient, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"a model")
    queued = await run("analyze", str(model), "--job-id", "demanding", "--detach", *DEMAND)
    assert queued.exit_code == 0, queued.output
    missing = (
        "device class linux-aarch64 (is linux-x86_64); a GPU with 22.352 GiB (has none);"
        " label site=lab or roof (has no label site)"
    )
    assert queued.stderr.count(missing) == 2
    assert missing not in queued.stdout
    shown = await run("jobs", "show", "demanding")
    assert shown.stdout.count(f"waiting for {missing}") == 2
    assert await runner.claim(ClaimRequest()) is None
    claimed = await runner.claim(ClaimRequest(capabilities=ABLE))
    assert claimed is not None
    assert claimed.job_id == "demanding"
    assert "waiting for" not in (await run("jobs", "show", "demanding")).stdout


async def test_an_operator_sees_what_a_runner_can_do_and_what_waits_for_it(
    run: Run, runner: ControlPlaneClient, user: ControlPlaneClient
) -> None:
    await runner.claim(ClaimRequest(capabilities=ABLE))
    model = (await user.upload_bytes(b"a model")).digest
    options = {"precision": "fp16", "runner_labels": {"site": "roof"}, "min_vram_bytes": 1 << 30}
    await user.analyze(AnalyzeRequest(model_path=f"sha256:{model}", options=options))
    runner_id = (await user.runners()).runners[0].runner_id
    shown = await run("fleet", "show", runner_id, as_admin=True)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert "gpu       Orin, 22.4 GiB, driver 540.4, compute capability 8.7" in lines
    assert "label     site=roof" in lines
    words = "forge on onnxruntime/cpu, fp16, a GPU with 1 GiB, label site=roof"
    assert f"does      {words}; 1 wait" in lines
    stats = await run("queue", "stats", as_admin=True)
    assert f"{words}: 1 wait" in stats.stdout
    listed = await run("fleet", "list", as_admin=True)
    assert listed.exit_code == 0, listed.output
    (line,) = [line for line in listed.stdout.splitlines() if runner_id in line]
    assert line.rstrip().endswith(" s ago"), listed.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--min-vram", "24"),
        ("--min-memory", "lots"),
        ("--label", "lab"),
    ],
)
async def test_a_demand_that_means_nothing_is_wrong_usage(
    run: Run, server: ControlPlane, tmp_path: Path, words: tuple[str, ...]
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"a model")
    refused = await run("analyze", str(model), *words)
    assert refused.exit_code == 64, refused.output
    assert words[0] in refused.output


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"min_vram_bytes": 0}, "options.min_vram_bytes"),
        ({"runner_labels": {"site": 1}}, "options.runner_labels[...]"),
        ({"runner_labels": {"a b": "lab"}}, "options.runner_labels"),
        ({"device_class": ""}, "options.device_class"),
    ],
)
async def test_a_bad_demand_over_http_names_its_place_and_queues_nothing(
    user: ControlPlaneClient, options: dict[str, Any], path: str
) -> None:
    model = (await user.upload_bytes(b"a model")).digest
    with pytest.raises(Refused) as refused:
        await user.analyze(AnalyzeRequest(model_path=f"sha256:{model}", options=options))
    assert refused.value.code == "invalid_request"
    assert [one.path for one in refused.value.errors] == [path]
    assert (await user.jobs()).jobs == ()


@pytest.mark.parametrize(
    "labels", [{"a b": "x"}, {"": "x"}, {"site": ""}, {"site": "a\nb"}, {f"k{n}": "v" for n in range(65)}]
)
async def test_a_runner_with_labels_that_nobody_could_ask_for_is_refused(
    url: str, admin: ControlPlaneClient, labels: dict[str, str]
) -> None:
    odd = msgspec.structs.replace(CAPABILITIES, labels=labels)
    async with ControlPlaneClient(url) as client:
        with pytest.raises(Refused) as refused:
            await client.register(SigningKey.generate(), odd, await admin.create_enrolment_token())
    assert refused.value.code == "invalid_request"
    assert (await admin.runners()).runners == ()
