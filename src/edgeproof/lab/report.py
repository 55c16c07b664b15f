"""The report: completed jobs in, one self-contained HTML page or Markdown for a pull request out.

It shows what the jobs' results and raw data say and judges nothing. The page needs no network and runs no
script. Without the extra ``report`` it has no charts and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from edgeproof.contract.canonical import decode_canonical, sha256_hex
from edgeproof.contract.comparison import (
    CertifiedPercentile,
    Comparison,
    DeploymentDecision,
    GuardAnalysis,
    GuardEvidence,
)
from edgeproof.contract.envelope import PublicKey
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobView
from edgeproof.contract.results import ForgeManifest, RuntimeResult
from edgeproof.contract.samples import RawQuality, RawSamples
from edgeproof.contract.statements import EnvironmentSnapshot, EvidenceKind, EvidenceRef
from edgeproof.domain.device_state import clocks
from edgeproof.lab.percentiles import bare_words
from edgeproof.lab.reasons import certificate_words
from edgeproof.lab.rendered import byte_size, label, template
from edgeproof.lab.series import Flips, TimeLine, distributions, flips, time_line
from edgeproof.lab.withdrawn import words

WITH_INTERVAL: Final = "interval above"
WITHOUT_INTERVAL: Final = "no interval"
PAIRED: Final = ("mean", "p50", "p90", "p95", "p99")

T = TypeVar("T")


@dataclass(frozen=True)
class ReportJob:
    """A job and the name that its user gave the candidate.

    ``documents`` are evidence bytes by digest: of them the raw samples and the raw quality are shown.
    """

    candidate: str
    job: JobView
    documents: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One figure of both sides. ``change`` is relative, where that means anything; ``kind`` certainty."""

    name: str
    baseline: float
    candidate: float
    unit: str
    kind: str = ""

    @property
    def change(self) -> float | None:
        return self.candidate / self.baseline - 1 if self.baseline > 0 else None


@dataclass(frozen=True)
class Charts:
    """SVG elements as text, nothing of them from outside; None where the raw samples were not given."""

    ratios: str
    distributions: str | None = None
    time: str | None = None
    time_wide: str | None = None


@dataclass(frozen=True)
class Section:
    """All that a template shows of one completed job. Figures are ``measured``, or what else it says.

    A side that came as an artifact has neither manifest nor build.
    """

    name: str
    job_id: str
    withdrawn: str | None
    decision: DeploymentDecision
    comparison: Comparison
    guard: GuardAnalysis | None
    objections: tuple[GuardEvidence, ...]
    passed: tuple[tuple[str, int], ...]
    baseline: RuntimeResult
    candidate: RuntimeResult
    lines: tuple[Line, ...]
    charts: Charts | None
    line: TimeLine | None
    flips: Flips | None
    manifests: Mapping[str, ForgeManifest]
    cached: Mapping[str, bool]
    builds: Mapping[str, str | None]
    dataset: str | None
    isolation: str
    surroundings: tuple[tuple[str, str, str], ...]
    after: EnvironmentSnapshot
    control_plane: str
    runner: str
    evidence: tuple[EvidenceRef, ...]
    decision_digest: str
    request: str

    @property
    def certificates(self) -> dict[str, str]:
        """Of each percentile, in words, whether this job's evidence certifies it."""
        return {told.metric: certificate_words(told) for told in self.comparison.percentiles}


@dataclass(frozen=True)
class Unfinished:
    """A job without a result, or with one that nobody signed: there is nothing to show but why."""

    name: str
    job_id: str
    status: str
    why: str


def candidate_name(job: JobView) -> str:
    """The model's name as its user gave it, else the job's id."""
    options = job.input_summary.get("options")
    provenance = options.get("provenance") if isinstance(options, dict) else None
    name = provenance.get("model_name") if isinstance(provenance, dict) else None
    return name if isinstance(name, str) and name else job.job_id


def render_html(jobs: Sequence[ReportJob]) -> str:
    """One HTML document. Raises ``Refused`` (``result_invalid``) for a result that is no analyze bundle."""
    return _render("report.html.j2", jobs)


def render_markdown(jobs: Sequence[ReportJob]) -> str:
    """The same in short, as GitHub's Markdown. Raises as ``render_html``."""
    return _render("report.md.j2", jobs)


def _render(name: str, jobs: Sequence[ReportJob]) -> str:
    proven = [job for job in jobs if job.job.result is not None and not _unsigned(job.job.result)]
    sections = [_section(job) for job in proven]
    unfinished = [_unfinished(job) for job in jobs if job not in proven]
    rendered: str = template(name).render(
        sections=sections,
        unfinished=unfinished,
        policies=sorted({(one.decision.policy_version, one.decision.policy_digest) for one in sections}),
        control_planes=sorted({one.control_plane for one in sections}),
        kinds=sorted({one.candidate.extra.measurement for one in sections}),
    )
    return rendered


def _unfinished(reported: ReportJob) -> Unfinished:
    job = reported.job
    if job.result is not None:
        told = job.result["deployment_decision"]
        why = f"{label(str(told['decision']))} on unsigned evidence, which proves nothing: {told['reason']}"
        return Unfinished(name=reported.candidate, job_id=job.job_id, status="unsigned", why=why)
    why = f"{job.error.code}: {job.error.message}" if job.error else f"the job is {job.status}"
    return Unfinished(name=reported.candidate, job_id=job.job_id, status=job.status, why=why)


def _unsigned(result: Mapping[str, Any]) -> bool:
    told = result.get("deployment_decision")
    return isinstance(told, dict) and told.get("basis") == "unsigned"


def _section(reported: ReportJob) -> Section:
    job = reported.job
    try:
        return _read(reported, job.result or {})
    except (KeyError, TypeError, msgspec.ValidationError, Refused) as error:
        raise Refused("result_invalid", f"job {job.job_id} has no result to report: {error}") from error


def _read(reported: ReportJob, result: Mapping[str, Any]) -> Section:
    job = reported.job
    compared, provenance = result["comparison"]["result"], result["provenance"]
    comparison = msgspec.convert(
        {field: compared[field] for field in Comparison.__struct_fields__}, Comparison
    )
    guard = msgspec.convert(result.get("guard_analysis"), GuardAnalysis | None)
    baseline = msgspec.convert(compared["baseline_runtime_result"], RuntimeResult)
    candidate = msgspec.convert(result["runtime_result"], RuntimeResult)
    forge = provenance["forge"]
    before, after = (
        msgspec.convert(provenance["environment"][when], EnvironmentSnapshot) for when in ("before", "after")
    )
    evidence = msgspec.convert(result["evidence"], tuple[EvidenceRef, ...])
    samples = _document(reported.documents, evidence, "samples", RawSamples)
    quality = _document(reported.documents, evidence, "quality", RawQuality)
    return Section(
        name=reported.candidate,
        job_id=job.job_id,
        withdrawn=None if job.withdrawn is None else words(job.withdrawn),
        decision=msgspec.convert(result["deployment_decision"], DeploymentDecision),
        comparison=comparison,
        guard=guard,
        objections=tuple(one for one in guard.evidence if one.status != "passed") if guard else (),
        passed=_passed(guard),
        baseline=baseline,
        candidate=candidate,
        lines=_lines(baseline, candidate, comparison.percentiles),
        charts=_charts(job.job_id, comparison, samples),
        line=time_line(samples) if samples else None,
        flips=flips(quality) if quality else None,
        manifests={
            side: msgspec.convert(told["manifest"], ForgeManifest)
            for side, told in forge.items()
            if told is not None
        },
        cached={side: told["cached"] is not None for side, told in forge.items() if told is not None},
        builds=msgspec.convert(provenance["builds"], dict[str, str | None]),
        dataset=msgspec.convert(provenance["dataset"], str | None),
        isolation=msgspec.convert(provenance["isolation"], str),
        surroundings=_surroundings(before, after),
        after=after,
        control_plane=PublicKey.from_base64(provenance["control_plane_key"]).fingerprint,
        runner=PublicKey.from_base64(provenance["runner_key"]).fingerprint,
        evidence=evidence,
        decision_digest=msgspec.convert(result["decision_digest"], str),
        request=_request(job.input_summary),
    )


def _passed(guard: GuardAnalysis | None) -> tuple[tuple[str, int], ...]:
    """How many checks of each rule passed."""
    return (
        tuple(Counter(one.type for one in guard.evidence if one.status == "passed").items()) if guard else ()
    )


def _document(
    documents: Mapping[str, bytes], evidence: Sequence[EvidenceRef], kind: EvidenceKind, type_: type[T]
) -> T | None:
    """The one of ``kind`` that the evidence names, if it was given. Raises ``Refused`` for other bytes."""
    digest = next((one.digest for one in evidence if one.kind == kind), None)
    data = None if digest is None else documents.get(digest)
    if data is None:
        return None
    if sha256_hex(data) != digest:
        raise Refused("evidence_misnamed", f"the {kind} have another digest than {digest}")
    return decode_canonical(data, type_, what=f"raw {kind}")


def _charts(job_id: str, comparison: Comparison, samples: RawSamples | None) -> Charts | None:
    """None without the extra ``report``."""
    try:
        # Not at the top: Matplotlib is an extra, and half a second of start for who asks for no report.
        from edgeproof.lab import charts
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return None
    salt = f"{job_id} {comparison.compare_key}"
    ratios = charts.ratio_chart(comparison.latency, comparison.shown, salt=f"{salt} ratios")
    if samples is None:
        return Charts(ratios)
    line = time_line(samples)
    return Charts(
        ratios=ratios,
        distributions=charts.distribution_chart(distributions(samples), salt=f"{salt} calls"),
        time=charts.time_chart(line, salt=f"{salt} time"),
        time_wide=charts.time_chart(line, salt=f"{salt} time wide", width=charts.WIDE),
    )


def _lines(
    baseline: RuntimeResult, candidate: RuntimeResult, percentiles: Sequence[CertifiedPercentile]
) -> tuple[Line, ...]:
    """Latency over all counted calls, then the rest. Ratios with intervals stand elsewhere."""
    lines = [
        Line(
            name,
            getattr(baseline.latency_ms, name),
            getattr(candidate.latency_ms, name),
            "ms",
            _certainty(name, percentiles),
        )
        for name in ("mean", "p50", "p90", "p95", "p99", "min", "max", "std")
    ]
    cold, other = baseline.cold_start, candidate.cold_start
    return (
        *lines,
        Line("throughput", baseline.fps_value, candidate.fps_value, "/s", WITHOUT_INTERVAL),
        Line("load", cold.load_ms, other.load_ms, "ms", "median of starts"),
        Line("first inference", cold.first_inference_ms, other.first_inference_ms, "ms", "median of starts"),
        Line("peak memory", baseline.peak_memory_bytes, candidate.peak_memory_bytes, "B", "highest seen"),
        Line("artifact size", baseline.artifact_size_bytes, candidate.artifact_size_bytes, "B", "exact"),
    )


def _certainty(metric: str, percentiles: Sequence[CertifiedPercentile]) -> str:
    """Whether an interval is told of a latency, and of a percentile whether it is certified."""
    if metric not in PAIRED:
        return WITHOUT_INTERVAL
    told = next((certificate_words(one) for one in percentiles if one.metric == metric), bare_words(metric))
    return f"{WITH_INTERVAL}; {told}" if told else WITH_INTERVAL


def _surroundings(
    before: EnvironmentSnapshot, after: EnvironmentSnapshot
) -> tuple[tuple[str, str, str], ...]:
    """Of the device around the measurement: what, before, after."""
    return tuple(
        (name, told, later) for (name, told), (_, later) in zip(_seen(before), _seen(after), strict=True)
    )


def _seen(at: EnvironmentSnapshot) -> tuple[tuple[str, str], ...]:
    silent = "not told"
    frequency = f"{min(at.frequency_mhz):.0f}–{max(at.frequency_mhz):.0f} MHz" if at.frequency_mhz else silent
    return (
        ("time", at.at),
        ("governor", silent if at.governor is None else at.governor),
        ("power mode", silent if at.power_mode is None else at.power_mode),
        ("highest clocks", clocks(at.max_frequency_mhz) or silent),
        ("waits for a processor", "counted" if at.waits_told else silent),
        ("frequency", frequency),
        ("temperature", silent if at.temperature_c is None else f"{at.temperature_c:.1f} °C"),
        ("throttling events", silent if at.throttle_count is None else str(at.throttle_count)),
        ("load (1 min)", f"{at.load_1m:.2f}"),
        ("memory free", byte_size(at.memory_available_bytes)),
        ("swap used", byte_size(at.swap_used_bytes)),
    )


def _request(summary: Mapping[str, Any]) -> str:
    """The body that asks for the same again."""
    body = {name: value for name, value in summary.items() if name != "workflow" and value is not None}
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode()
