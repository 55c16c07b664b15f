"""Runs the whole data set through both models. ``python -m edgeproof.runtime.quality``, outside timed pairs.

Both sides run at once, each on half of the threads, chunk by chunk, so that memory stays bounded by a
chunk's outputs. It also resolves shapes, checks that the two models can be compared at all, and writes
the feeds that the timed processes use.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgeproof.domain.measurement import NOT_FINITE
from edgeproof.domain.sides import SIDES
from edgeproof.runtime import dataset
from edgeproof.runtime.channel import Channel, Handler
from edgeproof.runtime.dataset import Array, Samples
from edgeproof.runtime.port import Backend, ModelRefused, Session

MAX_FEEDS: Final = 8
FEED_BYTES: Final = 32 << 20
CHUNK_BYTES: Final = 32 << 20
CHUNK_CALLS: Final = 64
MOST_RELATIVE: Final = 1e6
NEXT_TO_NOTHING: Final = 1e-6
"""Of an output's largest value, beside the largest of its row's outputs."""


def same_interface(baseline: Session, candidate: Session) -> list[int]:
    """For each output of the baseline, the index of the candidate's. Raises ``incomparable_outputs``."""

    def inputs(session: Session) -> list[tuple[str, str, int]]:
        return sorted((one.name, one.dtype, len(one.shape)) for one in session.inputs)

    if inputs(baseline) != inputs(candidate):
        raise ModelRefused(
            "incomparable_outputs", f"inputs differ: {inputs(baseline)} and {inputs(candidate)}"
        )
    names, others = ([one.name for one in session.outputs] for session in (baseline, candidate))
    if len(names) != len(others):
        raise ModelRefused("incomparable_outputs", f"{len(names)} outputs and {len(others)} outputs")
    return [others.index(one) for one in names] if set(names) == set(others) else list(range(len(names)))


def rows(outputs: Sequence[Array], per_call: int) -> list[Array]:
    """[samples, values] of each float output of one call (of every output if none is float)."""
    floats = [one for one in outputs if one.dtype.kind == "f"] or list(outputs)
    return [one.reshape(per_call, -1).astype(np.float64) for one in floats]


def worst_agreement(baseline: Sequence[Array], candidate: Sequence[Array]) -> tuple[Array, Array, Array]:
    """``agreement`` of each output by itself: per row the least cosine and the largest of either error.

    An output that is next to nothing on both sides, beside another of its row, agrees. A row that is not
    finite in some output counts as 0, 0 and 1.
    """
    both = list(zip(baseline, candidate, strict=True))
    finite = np.all([np.isfinite(left).all(1) & np.isfinite(right).all(1) for left, right in both], axis=0)
    cosines, errors, relatives = zip(*(agreement(left, right) for left, right in both), strict=True)
    peaks = np.array([[np.abs(side).max(1, initial=0.0) for side in pair] for pair in both])
    nothing = peaks.max(1) <= NEXT_TO_NOTHING * peaks.max((0, 1))
    return (
        np.where(finite, np.where(nothing, 1.0, cosines).min(0), 0.0),
        np.where(finite, np.max(errors, axis=0), 0.0),
        np.where(finite, np.where(nothing, 0.0, relatives).max(0), 1.0),
    )


def agreement(baseline: Array, candidate: Array) -> tuple[Array, Array, Array]:
    """Cosine, largest absolute difference and relative error per row, as ``RawQuality`` has them.

    A row that is not finite counts as 0, 0 and 1.
    """
    finite = np.asarray(np.isfinite(baseline).all(1) & np.isfinite(candidate).all(1))
    left, right = np.where(finite[:, None], baseline, 0.0), np.where(finite[:, None], candidate, 0.0)
    error = np.minimum(np.abs(left - right).max(1, initial=0.0), np.finfo(np.float64).max)
    scaled = [one / np.maximum(np.abs(one).max(1, initial=0.0), 1e-300)[:, None] for one in (left, right)]
    lengths = [np.sqrt((one * one).sum(1)) for one in scaled]
    product = lengths[0] * lengths[1]
    cosine = np.divide((scaled[0] * scaled[1]).sum(1), product, out=np.zeros(len(left)), where=product > 0)
    cosine[(lengths[0] == 0) & (lengths[1] == 0) & finite] = 1.0
    return np.clip(cosine, -1.0, 1.0), error, _relative(left, right, finite)


def _relative(left: Array, right: Array, finite: Array) -> Array:
    """Length of ``right - left`` in lengths of ``left``, ``MOST_RELATIVE`` at most; 1 if not ``finite``."""
    largest = np.maximum(np.abs(left).max(1, initial=0.0), np.abs(right).max(1, initial=0.0))
    # Divided first, so that no square leaves the range of a float.
    before, after = (one / np.maximum(largest, 1e-300)[:, None] for one in (left, right))
    off, length = (np.sqrt((one * one).sum(1)) for one in (after - before, before))
    most = np.full(len(left), MOST_RELATIVE)
    relative: Array = np.divide(off, length, out=most.copy(), where=length > off / MOST_RELATIVE)
    relative[off == 0] = 0.0
    relative[~finite] = 1.0
    return relative


class _Side:
    """One model over the data set: predictions and a count of samples that are not finite."""

    def __init__(self, session: Session, order: Sequence[int]) -> None:
        self.session = session
        self._order = order
        self.predictions: list[int] | None = []
        self.nonfinite = 0

    def run(self, feeds: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
        """The outputs of each feed, copied, in the baseline's order."""
        found = []
        for feed in feeds:
            bound = self.session.bind(feed)
            bound.call()
            outputs = bound.outputs()
            found.append([np.array(outputs[index]) for index in self._order])
        return found

    def note(self, calls: Sequence[Sequence[Array]], per_call: int, keep: int) -> list[Array]:
        """Record the first ``keep`` samples of some calls; returns the rows of each output."""
        found = zip(*(rows(outputs, per_call) for outputs in calls), strict=True)
        values = [np.concatenate(one)[:keep] for one in found]
        finite = np.all([np.isfinite(one).all(1) for one in values], axis=0)
        self.nonfinite += int((~finite).sum())
        scores = [outputs[0] for outputs in calls]
        if self.predictions is not None and classes(scores[0], per_call) is not None:
            best = np.concatenate([one.argmax(1) for one in scores])[:keep]
            self.predictions += np.where(finite, best, NOT_FINITE).tolist()
        else:
            self.predictions = None
        return values


def classes(scores: Array, per_call: int) -> int | None:
    """How many classes the first output scores, or None when it is not one score per class."""
    fits = scores.ndim == 2 and scores.shape[0] == per_call and scores.shape[1] >= 2
    return scores.shape[1] if fits and scores.dtype.kind in "fiu" else None


def write_feeds(samples: Samples, folder: Path) -> dict[str, str]:
    """The first calls' inputs, one ``.npy`` [feeds, *input shape] per input; returns name → path."""
    size = sum(array.nbytes for array in samples.feed(0).values())
    count = max(1, min(MAX_FEEDS, FEED_BYTES // max(size, 1), samples.calls))
    paths = {}
    for index, name in enumerate(samples.inputs):
        path = folder / f"feed-{index}.npy"
        # By way of memory: NumPy's own writing loses the error number of a full disk.
        buffer = io.BytesIO()
        np.save(buffer, np.stack([samples.feed(call)[name] for call in range(count)]), allow_pickle=False)
        path.write_bytes(buffer.getbuffer())
        paths[name] = str(path)
    return paths


class QualityRun:
    """The verb ``run`` of this process."""

    def __init__(self, backend: Backend, channel: Channel) -> None:
        self._backend = backend
        self._channel = channel

    def run(
        self,
        *,
        baseline: str,
        candidate: str,
        data: str | None,
        shapes: Mapping[str, Sequence[int]],
        axes: Sequence[int | None],
        threads: int,
        folder: str,
    ) -> Mapping[str, Any]:
        """``RawQuality``'s fields under ``quality``; the resolved shapes, the feeds and the task."""
        sessions = [
            self._load(side, path, max(1, threads // 2))
            for side, path in zip(SIDES, (baseline, candidate), strict=True)
        ]
        order = same_interface(*sessions)
        given = {name: tuple(shape) for name, shape in shapes.items()}
        resolved, other = (
            _named(side, dataset.resolve_shapes, session.inputs, given, axes)
            for side, session in zip(SIDES, sessions, strict=True)
        )
        if resolved != other:
            raise ModelRefused("incomparable_outputs", f"inputs differ: {resolved} and {other}")
        tensors = sessions[0].inputs
        samples = dataset.read(Path(data), tensors, resolved) if data else dataset.invent(tensors, resolved)
        feeds = write_feeds(samples, Path(folder))
        sides = [_Side(sessions[0], range(len(order))), _Side(sessions[1], order)]
        quality = self._compare(sides, samples)
        task = "inference" if quality["baseline"]["predictions"] is None else "classification"
        return {"quality": quality, "shapes": resolved, "feeds": feeds, "task": task}

    def _load(self, side: str, path: str, threads: int) -> Session:
        session: Session = _named(side, self._backend.load, Path(path), threads)
        return session

    def _compare(self, sides: Sequence[_Side], samples: Samples) -> dict[str, Any]:
        cosines: list[float] = []
        errors: list[float] = []
        relatives: list[float] = []
        per_call, call, chunk = 0, 0, 1
        count = samples.count
        with ThreadPoolExecutor(2) as pool:
            while call < samples.calls:
                feeds = [samples.feed(one) for one in range(call, min(call + chunk, samples.calls))]
                outputs = list(pool.map(self._run, SIDES, sides, [feeds, feeds]))
                if not per_call:
                    per_call = _rows_per_call(outputs, samples)
                    count = samples.count if per_call == samples.batch else samples.calls
                    size = sum(one.nbytes for one in outputs[0][0]) or 1
                    chunk = max(1, min(CHUNK_CALLS, CHUNK_BYTES // size))
                _same_shapes(outputs)
                keep = min(len(feeds) * per_call, count - call * per_call)
                noted = [side.note(found, per_call, keep) for side, found in zip(sides, outputs, strict=True)]
                cosine, error, relative = worst_agreement(*noted)
                cosines += (float(f"{one:.6g}") for one in cosine)
                errors += (float(f"{one:.6g}") for one in error)
                relatives += (float(f"{one:.6g}") for one in relative)
                call += len(feeds)
                self._channel.progress(min(call * per_call, count), count)
        both = all(side.predictions is not None for side in sides)
        return {
            "schema_version": "edgeproof-quality-v1",
            "samples": count,
            "labels": None if samples.labels is None else samples.labels.tolist(),
            "groups": None if samples.groups is None else samples.groups.tolist(),
            **{
                name: {"predictions": side.predictions if both else None, "nonfinite": side.nonfinite}
                for name, side in zip(SIDES, sides, strict=True)
            },
            "cosine": cosines,
            "max_abs_error": errors,
            "relative_error": relatives,
        }

    def _run(self, name: str, side: _Side, feeds: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
        try:
            return side.run(feeds)
        except (ModelRefused, MemoryError):
            raise
        except Exception as error:
            refused = self._backend.refusal(error)
            raise ModelRefused(refused.code, f"{name}: {refused.detail}") from error


def _named(side: str, verb: Any, *arguments: Any) -> Any:
    try:
        return verb(*arguments)
    except ModelRefused as error:
        raise ModelRefused(error.code, f"{side}: {error.detail}") from error
    except MemoryError as error:
        raise ModelRefused("memory_limit", f"{side}: memory ran out") from error


def _rows_per_call(outputs: Sequence[Sequence[Sequence[Array]]], samples: Samples) -> int:
    """Samples in one call's outputs: the batch, or 1 when they do not carry the batch axis."""
    first = outputs[0][0]
    per_call = samples.batch if all(one.shape[:1] == (samples.batch,) for one in first) else 1
    if samples.labels is not None:
        count = classes(first[0], per_call)
        if count is None or per_call != samples.batch:
            raise ModelRefused("dataset_invalid", "labels are given, but the model does not score classes")
        if samples.labels.min() < 0 or samples.labels.max() >= count:
            raise ModelRefused("dataset_invalid", f"a label lies outside the {count} classes")
    if samples.groups is not None and per_call != samples.batch:
        raise ModelRefused("dataset_invalid", "groups are given, but the outputs have no batch axis")
    return per_call


def _same_shapes(outputs: Sequence[Sequence[Sequence[Array]]]) -> None:
    for baseline, candidate in zip(*outputs, strict=True):
        for left, right in zip(baseline, candidate, strict=True):
            if left.shape != right.shape or (left.dtype.kind == "f") != (right.dtype.kind == "f"):
                raise ModelRefused(
                    "incomparable_outputs",
                    f"an output is {left.dtype} {list(left.shape)} and {right.dtype} {list(right.shape)}",
                )


if __name__ == "__main__":
    channel = Channel(sys.argv[1:])

    def handlers(backend: Backend) -> Mapping[str, Handler]:
        return {"run": QualityRun(backend, channel).run}

    channel.serve(handlers)
