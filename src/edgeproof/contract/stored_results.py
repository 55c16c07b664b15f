"""Results that the control plane keeps, and what may be asked of them: list, compare, history."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from edgeproof.contract.base import Wire
from edgeproof.contract.bundle import Basis, BundleRendered
from edgeproof.contract.comparison import GuardAnalysis
from edgeproof.contract.ids import Digest, Name, Text, UtcTime
from edgeproof.contract.point_policy import ThresholdChanges

ResultSource = Literal["posted", "measured", "worker"]
SelectionMode = Literal["same_precision", "cross_precision"]
ResultReference = Annotated[str, Meta(min_length=1, max_length=200)]
"""A result's id, its digest (``sha256:<hex>`` or bare), or a job's id for its candidate's result."""


class AddResultRequest(Wire, frozen=True, kw_only=True):
    """Body of ``POST /api/results``: a runtime result as any of the tools writes it (``PlainResult``)."""

    result: dict[str, Any]


class ResultView(Wire, frozen=True, kw_only=True):
    """One kept result without its body.

    ``basis`` is ``signed`` for what a runner of ours measured and signed; ``job_id`` and ``role`` are then
    set. ``measured_at`` is the result's own time, as far as it is one and not later than ``created_at``.
    ``accuracy`` holds fractions by metric.
    """

    result_id: str
    digest: Digest
    basis: Basis
    source: ResultSource
    job_id: str | None
    role: Literal["baseline", "candidate"] | None
    created_at: UtcTime
    measured_at: UtcTime
    model: str
    engine: str
    device: str
    precision: str
    batch: int | None
    height: int | None
    width: int | None
    mean_ms: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    accuracy: dict[str, float]
    compare_key: str
    backend_key: str
    dry_run: bool


class ResultDocument(ResultView, frozen=True, kw_only=True):
    """``GET /api/results/{id}`` and the answer to ``POST /api/results``: with the result as it came."""

    result: dict[str, Any]


class ResultPage(Wire, frozen=True, kw_only=True):
    """``GET /api/results``: newest kept first; ``next_cursor`` is None on the last page."""

    results: tuple[ResultView, ...]
    next_cursor: str | None = None


class ResultFilter(Wire, frozen=True, kw_only=True):
    """What a listing shows; None: all. ``owner`` is for admins. Names match without their case."""

    model: Name | None = None
    engine: Name | None = None
    device: Name | None = None
    precision: Name | None = None
    compare_key: Text | None = None
    backend_key: Text | None = None
    basis: Basis | None = None
    source: ResultSource | None = None
    job: Name | None = None
    owner: Name | None = None


class PathLabels(Wire, frozen=True, kw_only=True):
    """How the sender calls its files: shown again, and never opened."""

    base_path: Text | None = None
    new_path: Text | None = None


class CompareRequest(Wire, frozen=True, kw_only=True):
    """Body of ``POST /api/compare``: two results, each a body or a ``ResultReference``.

    ``base`` and ``new`` are short for ``base_result`` and ``new_result``. ``guard_analysis`` is another
    guard's answer of either generation; ``with_guard`` asks ours instead; with neither there is none.
    """

    base_result: ResultReference | dict[str, Any] | None = None
    new_result: ResultReference | dict[str, Any] | None = None
    base: ResultReference | dict[str, Any] | None = None
    new: ResultReference | dict[str, Any] | None = None
    guard_analysis: dict[str, Any] | None = None
    with_guard: bool = False
    policy: Name = "inferedge-v1"
    thresholds: ThresholdChanges = field(default_factory=ThresholdChanges)
    metadata: PathLabels = field(default_factory=PathLabels)


class HistorySeries(Wire, frozen=True, kw_only=True):
    """Results of one model, shape, precision, engine and device, oldest first, and our guard on them."""

    compare_key: str
    backend_key: str
    runs: tuple[ResultView, ...]
    guard_analysis: GuardAnalysis


class HistoryReport(Wire, frozen=True, kw_only=True):
    """``GET /api/history``: the newest kept results that fit, by series; ``next_cursor`` leads to older ones.

    A dry run has no history.
    """

    count: int
    series: tuple[HistorySeries, ...]
    rendered: BundleRendered
    next_cursor: str | None = None
