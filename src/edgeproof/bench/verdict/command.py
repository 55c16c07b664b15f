"""``edgeproof bench verdict``."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edgeproof.cli.options import json_option
from edgeproof.cli.printing import echo_json
from edgeproof.contract.errors import Unavailable

if TYPE_CHECKING:
    from edgeproof.bench.verdict.counts import VerdictQuality

QUICK_MINUTES: Final = 8.0
_FILE = click.Path(path_type=Path, dir_okay=False)
_RECORDING: Final = ("traces", "minutes", "resume", "quick", "load")
_NEEDED: Final = ("numpy", "onnx", "onnxruntime", "scipy")


@click.command()
@click.option("--traces", type=_FILE, default=Path("verdict-traces.jsonl"), show_default=True,
              help="Where traces are appended.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(0.0, min_open=True), default=60.0, show_default=True,
              help="How long to record.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with a file of traces that exists.")
@click.option("--quick", is_flag=True, help=f"Record for {QUICK_MINUTES:g} minutes.")
@click.option("--load", is_flag=True, help="Keep the other core busy meanwhile: a condition of its own.")
@click.option("--judge", type=_FILE, help="Record nothing: judge these traces again.")
@click.option("--markdown", is_flag=True, help="Print the whole page, as in docs/verdict-quality.md.")
@json_option
@click.pass_context
def verdict(
    context: click.Context,
    traces: Path,
    minutes: float,
    resume: bool,
    quick: bool,
    load: bool,
    judge: Path | None,
    markdown: bool,
    as_json: bool,
) -> None:
    """How often the verdict is wrong: models of known slowdown, executed here and judged by the lab.

    Fresh processes of a baseline, its twin and slowed variants play interleaved; the traces are kept and can
    be judged again. Nothing else should run on the machine meanwhile. It takes hours until every row has its
    trials: stop it at will and go on with --resume.
    """
    if judge is not None and (given := _given(context, _RECORDING)):
        raise click.UsageError(f"--judge records nothing: it takes no {', '.join(given)}")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Unavailable("unavailable", f"{', '.join(missing)} missing: pip install 'edgeproof[bench]'")
    if judge is None:
        _record(traces, QUICK_MINUTES if quick else minutes, resume=resume, load=load)
    told = _judged(judge or traces)
    if as_json:
        echo_json(told)
        return
    from edgeproof.bench.verdict.page import page, summary

    click.echo(page(told) if markdown else summary(told), nl=False)


def _given(context: click.Context, names: Iterable[str]) -> list[str]:
    """Which of these options the caller wrote."""
    told = click.core.ParameterSource.COMMANDLINE
    return [f"--{name}" for name in names if context.get_parameter_source(name) is told]


def _record(path: Path, minutes: float, *, resume: bool, load: bool) -> None:
    from edgeproof.bench.verdict.record import Recording, record

    def say(line: str) -> None:
        click.echo(line, err=True)

    recording = Recording(path, minutes, "load" if load else "quiet", resume, say)
    asyncio.run(record(recording))


def _judged(path: Path) -> VerdictQuality:
    from edgeproof.bench.verdict.counts import count
    from edgeproof.bench.verdict.traces import read

    return count(read(path))
