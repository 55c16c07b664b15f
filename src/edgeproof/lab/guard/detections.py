"""The guard over what object detectors found, where somebody hands it over: which rules judge what.

One image is judged by the rules of a single output, a set of images by those of quality and, beside a
baseline, of both; a film by the temporal ones. A rule for one image is not asked about each of a set: there,
one odd image of a thousand is no objection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from edgeproof.contract.comparison import GuardAnalysis, GuardEvidence
from edgeproof.contract.errors import Refused
from edgeproof.contract.guard import DetectionOutput, Detections, FrameSequence
from edgeproof.lab.guard import baseline as beside
from edgeproof.lab.guard import output_quality, single_output, temporal
from edgeproof.lab.guard.verdict import conclude, not_evaluated

MOST_ITEMS: Final = 1000
"""As many as a diagnosis carries."""

_OF_ONE_IMAGE: Final = (output_quality.invalid_bbox_rate, output_quality.score_out_of_range)
"""The rules of quality that no rule of a single output has under another name."""


def judge_detections(
    found: Detections, baseline: Detections | None = None, *, latency_delta_pct: float | None = None
) -> GuardAnalysis:
    """``latency_delta_pct``: candidate against baseline, negative is faster; None if not compared.

    Raises ``Refused`` (``invalid_request``) if the baseline saw other images, for a film beside anything, and
    for a change of latency of less than a set of images.
    """
    if isinstance(found, FrameSequence) or isinstance(baseline, FrameSequence):
        if not isinstance(found, FrameSequence) or baseline is not None:
            raise Refused("invalid_request", "frames are judged by themselves, beside no baseline")
    elif baseline is not None:
        _demand_same_images(found, baseline)
    if latency_delta_pct is not None and (baseline is None or len(baseline) == 1):
        raise Refused("invalid_request", "a change of latency is judged beside a baseline's images, not one")
    if isinstance(found, FrameSequence):
        return _told(_all(temporal.RULES, found), temporal=True)
    summary = output_quality.summarise_outputs(found)
    if len(found) == 1:
        case = single_output.OutputCase(found[0], None if baseline is None else baseline[0])
        return _told([*_all(single_output.RULES, case), *_all(_OF_ONE_IMAGE, summary)])
    items = _all(output_quality.RULES, summary)
    if baseline is not None:
        before = output_quality.summarise_outputs(baseline)
        items += _all(beside.RULES, beside.BaselineCase(before, summary, latency_delta_pct))
    return _told(items)


def _all(rules: Sequence[Callable[[Any], Iterator[GuardEvidence]]], case: object) -> list[GuardEvidence]:
    return [one for rule in rules for one in rule(case)]


def _told(items: list[GuardEvidence], *, temporal: bool = False) -> GuardAnalysis:
    """The conclusion from all items; where there are too many, those that object are kept first. What no rule
    could judge is not found good."""
    if all(one.status == "skipped" for one in items):
        return not_evaluated("there is nothing in it that a rule could judge")
    told = conclude(items, temporal=temporal)
    if len(items) <= MOST_ITEMS:
        return told
    kept = sorted(items, key=lambda one: one.status not in ("failed", "warning"))[:MOST_ITEMS]
    return msgspec.structs.replace(told, evidence=tuple(kept))


def _demand_same_images(found: Sequence[DetectionOutput], baseline: Sequence[DetectionOutput]) -> None:
    one, other = ({each.image_id for each in side} for side in (found, baseline))
    if one != other:
        odd = sorted(one ^ other)
        raise Refused(
            "invalid_request",
            f"the baseline saw other images: {len(odd)} are on one side only, {odd[0]!r} for one",
        )
