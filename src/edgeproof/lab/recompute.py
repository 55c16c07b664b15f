"""Whether the numbers that a measurement states are those of the raw data it names.

Nothing here is judged. What cannot be recomputed from the raw data (artifact size, system facts, the
environment) is the runner's word.
"""

from __future__ import annotations

from edgeproof.contract.errors import Refused
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.samples import RawQuality, RawSamples, SideQuality, SideSamples
from edgeproof.contract.statements import MeasuredArtifact, Measurement, RuntimeConfig
from edgeproof.domain.measurement import accuracy_metrics, backend_key, cold_start, fps, summarise


def check_results(measured: Measurement, samples: RawSamples, quality: RawQuality) -> None:
    """Raises ``Refused`` (``chain_broken``) naming the side and the number that differ."""
    plan = measured.config.plan
    _demand(len(samples.pairs) in plan.looks, f"{len(samples.pairs)} pairs are not a planned look")
    _demand([pair.index for pair in samples.pairs] == list(range(len(samples.pairs))), "pairs are missing")
    _check_quality(measured.config, quality)
    baseline = tuple(pair.baseline for pair in samples.pairs)
    candidate = tuple(pair.candidate for pair in samples.pairs)
    config = measured.config
    _check_side("baseline", measured.baseline, config.baseline, config, baseline, quality, quality.baseline)
    _check_side(
        "candidate", measured.candidate, config.candidate, config, candidate, quality, quality.candidate
    )


def _check_side(
    name: str,
    result: RuntimeResult,
    told: MeasuredArtifact,
    config: RuntimeConfig,
    sides: tuple[SideSamples, ...],
    quality: RawQuality,
    outputs: SideQuality,
) -> None:
    try:
        summary = summarise(sides)
    except ValueError as error:
        raise Refused("chain_broken", f"the {name} has no counted samples") from error
    accuracy = result.accuracy.metrics if result.accuracy else None
    facts: dict[str, tuple[object, object]] = {
        "artifact": (result.extra.runtime_artifact_sha256, told.artifact),
        "source model": (result.extra.source_model_sha256, told.source),
        "backend": ((result.backend, result.target), (config.backend, config.target)),
        "backend key": (result.backend_key, backend_key(config.backend, config.target)),
        "latency summary": (result.latency_ms, summary),
        "mean": (result.mean_ms, summary.mean),
        "p50": (result.p50_ms, summary.p50),
        "p95": (result.p95_ms, summary.p95),
        "p99": (result.p99_ms, summary.p99),
        "frame rate": (result.fps_value, fps(summary.mean, result.batch)),
        "cold start": (result.cold_start, cold_start(sides)),
        "peak memory": (result.peak_memory_bytes, max(side.peak_rss_bytes for side in sides)),
        "number of pairs": (result.run_config.pairs, len(sides)),
        "accuracy": (accuracy, accuracy_metrics(quality.labels, outputs)),
    }
    for what, (stated, recomputed) in facts.items():
        _demand(stated == recomputed, f"the {name}'s {what} is not that of the raw data")


def _check_quality(config: RuntimeConfig, quality: RawQuality) -> None:
    count = quality.samples
    for side in (quality.baseline, quality.candidate):
        _demand(side.predictions is None or len(side.predictions) == count, "predictions are missing")
        _demand(0 <= side.nonfinite <= count, "the count of non-finite outputs is impossible")
    for name, values in (("labels", quality.labels), ("groups", quality.groups)):
        _demand(values is None or len(values) == count, f"{name} are missing")
    _demand(len(quality.cosine) == len(quality.max_abs_error) == count, "agreements are missing")
    _demand(config.dataset is not None or quality.labels is None, "labels without a data set")


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise Refused("chain_broken", message)
