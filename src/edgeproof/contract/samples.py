"""Raw data that a measurement names by digest: latency samples and model outputs' quality.

Both documents are canonical JSON. Times are integer nanoseconds of a monotonic clock.
"""

from __future__ import annotations

from typing import Literal

from edgeproof.contract.base import Signed


class Block(Signed, frozen=True, kw_only=True):
    """Consecutive calls of one side. ``settle_ns`` are the first calls after a switch: kept, not counted.

    ``at_ns`` is the block's start since the first block's start. ``load`` is the share (0 to 1) of the
    machine's processor time that others used during the block; ``wait`` the largest share of the block
    that one of its threads stood in a run queue. ``flags`` names what makes a block unusable
    (``domain.contamination``); a flagged block was repeated while the plan's repeats lasted.
    """

    at_ns: int
    settle_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    load: float
    wait: float
    flags: tuple[str, ...]


class SideSamples(Signed, frozen=True, kw_only=True):
    """One process: cold start, warm-up calls, blocks, peak resident memory.

    ``settled`` says whether the warm-up calls came to rest (``domain.warmup``) before the first block.
    """

    load_ns: int
    first_ns: int
    warmup_ns: tuple[int, ...]
    settled: bool
    blocks: tuple[Block, ...]
    peak_rss_bytes: int


class PairSamples(Signed, frozen=True, kw_only=True):
    """A fresh process of each side, interleaved. ``first`` is the side whose block came first.

    ``processors`` are the logical ones that both were bound to; none: all that the device allows.
    """

    index: int
    first: Literal["baseline", "candidate"]
    baseline: SideSamples
    candidate: SideSamples
    processors: tuple[int, ...]


class RawSamples(Signed, frozen=True, kw_only=True):
    """``edgeproof-samples-v1``."""

    schema_version: Literal["edgeproof-samples-v1"]
    unit: Literal["ns"]
    pairs: tuple[PairSamples, ...]


class SideQuality(Signed, frozen=True, kw_only=True):
    """Per sample: arg-max class (None where the output is not one score per class; -1 where it is not
    finite), and a count of samples with a NaN or infinite output."""

    predictions: tuple[int, ...] | None
    nonfinite: int


class RawQuality(Signed, frozen=True, kw_only=True):
    """``edgeproof-quality-v1``: outputs of both sides on the same inputs, in the data set's order.

    ``cosine``, ``max_abs_error`` and ``relative_error`` (the length of the difference in lengths of the
    baseline's output, at most 1e6) compare candidate with baseline, per sample, 6 significant digits, each of
    the output that is worst by it; a pair with a non-finite output counts as cosine 0, maximal error 0 and
    relative error 1. ``groups`` names the original from which a sample was derived, where the data set says
    so.
    """

    schema_version: Literal["edgeproof-quality-v1"]
    samples: int
    labels: tuple[int, ...] | None
    groups: tuple[int, ...] | None
    baseline: SideQuality
    candidate: SideQuality
    cosine: tuple[float, ...]
    max_abs_error: tuple[float, ...]
    relative_error: tuple[float, ...]
