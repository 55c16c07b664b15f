"""The table of ``fleet list``, where a terminal is narrow."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import msgspec

from edgeproof.cli.fleet import runners_table
from edgeproof.cli.terminal import Terminal
from edgeproof.contract.runners import Capabilities, EngineCapability, Gpu, RunnerView

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
ENGINES = tuple(
    EngineCapability(name=name, version="1", targets=("cpu",), precisions=("fp32",))
    for name in ("onnxruntime", "tensorrt")
)
ORIN = Gpu(name="Jetson AGX Orin", memory_bytes=64 << 30, driver="540.4", compute_capability="8.7")
RUNNER = RunnerView(
    runner_id="runner-b0182d73021fdaee",
    hostname="jetson-agx-orin-devkit-07.lab.example",
    public_key="",
    capabilities=Capabilities(
        device_class="linux-aarch64",
        cpu_count=12,
        memory_bytes=64 << 30,
        isolation="namespaces",
        backends=ENGINES,
        toolchains=(),
        gpus=(ORIN,),
    ),
    registered_at="2026-11-01T00:00:00.000000Z",
    last_seen_at="2026-11-21T11:00:01.000000Z",
    standing="quarantined",
)


def printed(*runners: RunnerView, width: int = 80) -> list[str]:
    file = io.StringIO()
    Terminal(file=file, width=width).print(runners_table(runners, NOW))
    return file.getvalue().splitlines()


def column(lines: list[str], start: int, end: int) -> str:
    return "".join(line[start:end].strip() for line in lines)


def test_nothing_is_cut_at_80_columns() -> None:
    heading, *lines = printed(RUNNER)
    assert all(len(line) <= 80 for line in lines)
    assert "…" not in "".join(lines)
    first = lines[0].split()
    assert (first[0], first[-4:]) == (RUNNER.runner_id, ["quarantined", "59", "min", "ago"])
    host, device, standing = (heading.index(word) for word in ("host", "device", "standing"))
    assert column(lines, host, device) == RUNNER.hostname
    told = "linux-aarch64, Jetson AGX Orin; onnxruntime, tensorrt; namespaces"
    assert column(lines, device, standing).replace(" ", "") == told.replace(" ", "")
    for word in ("linux-aarch64,", "onnxruntime,", "tensorrt;", "namespaces"):
        assert any(word in line.split() for line in lines), word


def test_a_runner_is_one_line_where_there_is_room() -> None:
    (line,) = printed(RUNNER, width=200)[1:]
    assert "linux-aarch64, Jetson AGX Orin; onnxruntime, tensorrt; namespaces" in line


def test_what_a_device_says_of_itself_steers_no_terminal() -> None:
    named = msgspec.structs.replace(RUNNER, hostname="[red]\x1b[2J")
    (line,) = printed(named, width=200)[1:]
    assert "[red]?[2J" in line


def test_a_runner_without_a_good_key_says_so() -> None:
    (line,) = printed(msgspec.structs.replace(RUNNER, allowed=False), width=200)[1:]
    assert "no good key" in line
    assert "quarantined" not in line
