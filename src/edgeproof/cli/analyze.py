"""``edgeproof analyze``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from edgeproof.cli import exits
from edgeproof.cli.labels import wanted_labels
from edgeproof.cli.options import connection, json_option, server_options
from edgeproof.cli.sizes import size

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def _shapes(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, list[int]] | None:
    shapes: dict[str, list[int]] = {}
    for value in values:
        name, equals, dimensions = value.rpartition("=")
        try:
            shapes[name] = [int(one) for one in dimensions.split(",")]
        except ValueError:
            equals = ""
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not NAME=1,3,224,224")
    return shapes or None


@click.command()
@click.argument("model", type=_FILE)
@click.option("--baseline", type=_FILE, help="What runs today; default: MODEL as it is.")
@click.option("--baseline-preset", metavar="NAME", help="How the baseline is built; default: source.")
@click.option("--preset", metavar="NAME", help="source, fp32, fp16, int8_dynamic or int8_static.")
@click.option("--precision", metavar="NAME", help="fp32, fp16 or int8, where no preset is named.")
@click.option("--calibration", type=_FILE, help="Calibration set (.npz) for int8_static.")
@click.option("--dataset", type=_FILE, help="Labelled test set (.npz); without it outputs are compared.")
@click.option("--backend", default="onnxruntime", show_default=True)
@click.option("--target", default="cpu", show_default=True)
@click.option("--policy", metavar="NAME|DIGEST", help="An operator's policy; default: edgeproof-default.")
@click.option("--tighten", type=_FILE, help="A policy (TOML) that decides instead; it may only be stricter.")
@click.option("--runner", metavar="ID", help="The device to measure on; default: any that fits.")
@click.option("--device-class", metavar="NAME", help="Only such devices, e.g. linux-aarch64.")
@click.option("--min-memory", "min_memory_bytes", metavar="SIZE", callback=size,
              help="Only devices with so much memory, e.g. 8GiB.")  # fmt: skip
@click.option("--min-vram", "min_vram_bytes", metavar="SIZE", callback=size,
              help="Only devices with a GPU of so much memory, e.g. 24GB.")  # fmt: skip
@click.option("--label", "runner_labels", multiple=True, metavar="KEY=VALUE", callback=wanted_labels,
              help="Only devices with this label; repeatable: all keys, any value of one.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="Default: the device's physical cores.")
@click.option("--batch", type=click.IntRange(1))
@click.option("--height", type=click.IntRange(1))
@click.option("--width", type=click.IntRange(1))
@click.option("--input-shape", "input_shapes", multiple=True, callback=_shapes, metavar="NAME=1,3,224,224")
@click.option("--runs", type=click.IntRange(5, 10_000), help="Counted calls a block; default: by speed.")
@click.option("--max-seconds", type=click.IntRange(1), help="Time limit of one run.")
@click.option("--max-memory-mb", type=click.IntRange(64), help="Memory limit of one run.")
@click.option("--no-guard", is_flag=True, help="Judge without guard.")
@click.option("--job-id", help="Name the job yourself.")
@click.option("--notes")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Write report.html, report.md, evidence/ and trust.json there.")  # fmt: skip
@click.option("--detach", is_flag=True, help="Print the queued job and leave it to run.")
@server_options
@json_option
@click.pass_context
def analyze(
    context: click.Context,
    /,
    model: Path,
    baseline: Path | None,
    baseline_preset: str | None,
    calibration: Path | None,
    dataset: Path | None,
    tighten: Path | None,
    max_seconds: int | None,
    max_memory_mb: int | None,
    no_guard: bool,
    job_id: str | None,
    notes: str | None,
    out: Path | None,
    detach: bool,
    server: str | None,
    token: str | None,
    data_dir: Path,
    as_json: bool,
    **options: Any,
) -> int:
    """Prove MODEL on a device: build it, measure it beside the baseline, judge, sign.

    Exits 0 when it is deployable, 2 when blocked, 3 when a person must look, 1 on an error.
    """
    from edgeproof.cli.analysis import Analysis

    limits = {
        "max_seconds": max_seconds,
        "max_memory_bytes": max_memory_mb << 20 if max_memory_mb else None,
    }
    options["limits"] = {key: value for key, value in limits.items() if value} or None
    options["with_guard"] = not no_guard
    if tighten is not None:
        from edgeproof.cli.policy import read_policy

        options["tighten"] = msgspec.to_builtins(read_policy(tighten))
    analysis = Analysis(
        model=model,
        baseline=baseline,
        baseline_preset=baseline_preset,
        calibration=calibration,
        dataset=dataset,
        job_id=job_id,
        notes=notes,
        options=options,
    )
    connected = connection(context, server, token, data_dir)
    return asyncio.run(_analyze(connected, analysis, out, detach, as_json))


async def _analyze(connected: Any, analysis: Any, out: Path | None, detach: bool, as_json: bool) -> int:
    from edgeproof.cli.analysis import follow, submit
    from edgeproof.cli.display import LiveJob, live, print_job, run_line
    from edgeproof.cli.printing import echo_json
    from edgeproof.cli.terminal import Terminal

    progress_console = Terminal(stderr=True)
    async with connected.client() as client:
        job = await submit(client, analysis)
        for run in job.runs:
            if run.waiting_for:
                progress_console.print(run_line(run), markup=False, soft_wrap=True)
        for lacking in job.waiting_for:
            progress_console.print(f"waiting {lacking}", markup=False, soft_wrap=True)
        if not detach:
            with live(progress_console) as progress:
                line = LiveJob(progress, analysis.model.name)
                job = await follow(client, job.job_id, line.on_event)
        if out is not None and job.status == "completed":
            from edgeproof.cli.results import write_results

            await write_results(client, out, [(analysis.model.stem, job)])
    if as_json:
        echo_json(job)
    else:
        print_job(Terminal(soft_wrap=True), job)
    return 0 if detach else exits.of_job(job)
