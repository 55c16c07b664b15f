"""What a user asks for: the analyze request (seed 000), its options, and the aliases it accepts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from edgeproof.contract.base import Wire
from edgeproof.contract.ids import ArtifactUri, IdText, LabelKey, LabelValue, Name
from edgeproof.contract.policy import Policy

PositiveInt = Annotated[int, Meta(ge=1, le=1_000_000)]
Shape = Annotated[tuple[PositiveInt, ...], Meta(max_length=16)]
Precision = Literal["fp32", "fp16", "int8", "unknown"]
Adapter = Literal["fleet", "external"]
MemoryBytes = Annotated[int, Meta(ge=1, le=1 << 50)]
LabelValues = Annotated[tuple[LabelValue, ...], Meta(min_length=1, max_length=16)]

#: Aliases of other systems, read at the edge only; the name on the right is the one kept.
OPTION_ALIASES = {
    "engine": "backend",
    "engine_backend": "backend",
    "device": "target",
    "device_name": "target",
}


class BuildChoice(Wire, frozen=True, kw_only=True):
    """How one side's artifact comes to be. Paths are ``sha256:<hex>`` or an operator-allowed path."""

    model_path: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    artifact_path: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    precision: Name | None = None
    preset: Name | None = None
    calibration: ArtifactUri | None = None


class Limits(Wire, frozen=True, kw_only=True):
    """Bounds on one run; None takes the server's default."""

    max_seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    max_memory_bytes: Annotated[int, Meta(ge=64 << 20, le=1 << 50)] | None = None


class AnalyzeOptions(Wire, frozen=True, kw_only=True):
    """``options`` of an analyze request: the seed's fields and ours (DESIGN decision 18).

    ``policy`` names an operator's; ``tighten`` is a whole policy that is in no part milder than that one,
    and then decides in its stead.
    ``preset`` wins over ``precision``; int8 with ``calibration`` is static, without it dynamic.
    Without ``baseline`` the source model as it is, on the same backend, is the baseline. With fewer
    ``runs`` (counted calls a block) the tail would not differ from the median. ``warmup`` is the least number
    of warm-up calls: up to 10 of them are 10, of which two windows can be told apart; with 0 nobody sees a
    process come to rest, and the pairs are unstable.

    ``runner`` names the device; ``device_class``, ``min_memory_bytes``, ``min_vram_bytes`` (of one GPU) and
    ``runner_labels`` say what it must be like, and count for every run of the job. A label with several
    values is met by any one of them, and all labels must be met.

    ``adapter`` says who works: the fleet's runners, or a Forge or Runtime that is not ours; ``worker`` names
    the one external worker that may answer, otherwise any may.
    """

    backend: Name = "onnxruntime"
    target: Name = "cpu"
    precision: Name | None = None
    preset: Name | None = None
    batch: PositiveInt | None = None
    height: PositiveInt | None = None
    width: PositiveInt | None = None
    input_shapes: dict[str, Shape] | None = None
    threads: Annotated[int, Meta(ge=1, le=1024)] | None = None
    warmup: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    runs: Annotated[int, Meta(ge=5, le=10_000)] | None = None
    with_guard: bool = True
    notes: Annotated[str, Meta(max_length=4000)] | None = None
    baseline: BuildChoice | None = None
    calibration: ArtifactUri | None = None
    dataset: ArtifactUri | None = None
    policy: Name | None = None
    tighten: Policy | None = None
    runner: IdText | None = None
    device_class: Name | None = None
    min_memory_bytes: MemoryBytes | None = None
    min_vram_bytes: MemoryBytes | None = None
    runner_labels: Annotated[dict[LabelKey, LabelValue | LabelValues], Meta(max_length=16)] | None = None
    adapter: Adapter = "fleet"
    worker: IdText | None = None
    limits: Limits | None = None
    provenance: dict[str, Any] | None = None


class AnalyzeRequest(Wire, frozen=True, kw_only=True):
    """Body of ``POST /api/analyze``. One of ``model_path`` and ``artifact_path`` is required."""

    job_id: IdText | None = None
    model_path: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    artifact_path: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    metadata_path: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    manifest_path: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    notes: Annotated[str, Meta(max_length=4000)] | None = None
    options: dict[str, Any] = field(default_factory=dict)


class CompleteDevRequest(Wire, frozen=True, kw_only=True):
    """Body of ``POST /api/jobs/{id}/complete-dev``: a response bundle that a developer made."""

    result: dict[str, Any]
