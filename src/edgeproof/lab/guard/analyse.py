"""The guard over one measured pair: every rule that the pair's signed evidence can feed.

A rule that crashes leaves the guard ``skipped`` and the job completes. The rules of detections, frames and
earlier results take inputs that this evidence does not carry (boxes, scores, an order in time), and are not
run here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from edgeproof.contract.comparison import Comparison, GuardAnalysis, GuardEvidence
from edgeproof.contract.policy import AgreementPolicy, Policy
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.samples import RawQuality, SideQuality
from edgeproof.contract.statements import BuildStatement
from edgeproof.domain.measurement import NOT_FINITE
from edgeproof.lab.compare import CONDITIONS
from edgeproof.lab.guard import comparison as of_comparison
from edgeproof.lab.guard import pair, provenance, result
from edgeproof.lab.guard.item import skipped
from edgeproof.lab.guard.pair import NOT_BUILT, GuardCase, Papers, Rule, SideCase
from edgeproof.lab.guard.verdict import conclude, guarded

_PAPER_RULES: Final[tuple[provenance.Rule, ...]] = (
    *(partial(provenance.mismatch, id_) for id_ in provenance.RULE_FIELDS if id_ != "artifact_path_mismatch"),
    provenance.insufficient_provenance,
)


def guard_case(
    builds: tuple[BuildStatement, BuildStatement | None],
    results: tuple[RuntimeResult, RuntimeResult],
    quality: RawQuality,
    comparison: Comparison,
    policy: Policy,
) -> GuardCase:
    """The case of one measured pair; tuples are (baseline, candidate)."""
    outputs = (quality.baseline, quality.candidate)
    papers = [None if build is None else _papers(build) for build in builds]
    return GuardCase(
        sides={
            name: SideCase(told, ran, side.nonfinite)
            for name, told, ran, side in zip(("baseline", "candidate"), papers, results, outputs, strict=True)
        },
        comparison=comparison,
        disagreeing=_disagreeing(quality, outputs, policy.agreement),
        samples=quality.samples,
        thresholds=policy.guard,
        by_class=_by_class(quality) if results[1].run_config.input_source == "dataset" else None,
    )


def _papers(build: BuildStatement) -> Papers:
    told = build.predicate.buildDefinition.internalParameters
    return Papers(told.metadata, told.manifest, told.worker_runtime_summary)


def papers_agree(case: GuardCase) -> Iterator[GuardEvidence]:
    """The rules of provenance over metadata and summary of either side; the manifest has its own rule.

    Not that of paths: a runner gives its inputs names of its own, and here digests say which file ran.
    Passed items are left to ``insufficient_provenance``, one for each document.
    """
    for name, side in case.sides.items():
        if side.papers is None:
            yield skipped("insufficient_provenance", f"{name}.provenance", NOT_BUILT)
            continue
        ran = provenance.runtime_facts(msgspec.to_builtins(side.result))
        for source, document in (("metadata", side.papers.metadata), ("summary", side.papers.summary)):
            papers = provenance.ProvenanceCase(
                expected=provenance.forge_facts(msgspec.to_builtins(document)),
                observed=ran,
                expected_source=f"{name}.{source}",
                observed_source=f"{name}.runtime",
            )
            for rule in _PAPER_RULES:
                yield from (
                    one
                    for one in rule(papers)
                    if one.status != "passed" or one.type == "insufficient_provenance"
                )


def sides_compare(case: GuardCase) -> Iterator[GuardEvidence]:
    """The rules of comparison, by the comparison's own verdicts.

    How the sides ran is the guard's concern here; what other systems or backends mean, the policy's.
    """
    told = case.comparison
    before, after = (case.sides[name].result for name in ("baseline", "candidate"))
    primary, accuracy, agreement = told.latency[0], told.accuracy, told.agreement
    facts = of_comparison.ComparisonCase(
        baseline_precision=before.precision,
        candidate_precision=after.precision,
        latency_delta_pct=100 * (primary.ratio - 1),
        faster=primary.improved,
        accuracy_delta_pp=None if accuracy is None else accuracy.difference_pp,
        less_accurate=accuracy is not None and accuracy.verdict == "regression",
        shape_match=told.shape_match,
        unlike_conditions=tuple(
            f"{name} {getattr(before.run_config, name)} against {getattr(after.run_config, name)}"
            for name in CONDITIONS
            if getattr(before.run_config, name) != getattr(after.run_config, name)
        ),
        outputs_agree=None if agreement is None else agreement.verdict == "agrees",
    )
    for rule in of_comparison.RULES:
        yield from rule(facts)


def results_are_whole(case: GuardCase) -> Iterator[GuardEvidence]:
    """The rules of a result, over either side. A p99 is never certified by a duet's few process pairs."""
    compared = case.comparison.accuracy is not None or case.comparison.agreement is not None
    for name, side in case.sides.items():
        ran = side.result
        facts = result.ResultFacts(
            side=name,
            model=ran.model,
            backend=ran.backend,
            device=ran.target,
            precision=ran.precision,
            mean_ms=ran.mean_ms,
            p99_ms=ran.p99_ms,
            shape=(ran.batch, ran.height, ran.width),
            artifact_path=ran.runtime_artifact_path,
            input_shapes_known=bool(ran.input_shapes),
            run_config_known=True,
            system_known=True,
            quality_known=compared,
            tail_certified=False,
        )
        for rule in result.RULES:
            yield from rule(facts)


RULES: Final[tuple[Rule, ...]] = (*pair.RULES, papers_agree, sides_compare, results_are_whole)


def analyse(case: GuardCase, rules: Sequence[Rule] = RULES) -> GuardAnalysis:
    """The guard's answer; ``skipped``, with the kind of error, if a rule crashes."""
    return guarded(lambda: conclude([one for rule in rules for one in rule(case)]))


def _by_class(quality: RawQuality) -> tuple[Counter[int], Counter[int]] | None:
    """Of each side the inputs per class, rightly so where labels tell; derived images count as one."""
    before, after = quality.baseline.predictions, quality.candidate.predictions
    if before is None or after is None:
        return None
    labels, originals = quality.labels, quality.groups or tuple(range(quality.samples))

    def counted(found: Sequence[int]) -> Counter[int]:
        rows = zip(found, labels or found, originals, strict=True)
        put = {(one, original) for one, label, original in rows if one == label != NOT_FINITE}
        return Counter(one for one, _ in put)

    return counted(before), counted(after)


def _disagreeing(
    quality: RawQuality, outputs: tuple[SideQuality, SideQuality], policy: AgreementPolicy
) -> float | None:
    """Share of samples with another class, or, without classes, further off than a median may be."""
    if quality.samples == 0:
        return None
    before, after = (side.predictions for side in outputs)
    if before is not None and after is not None:
        return sum(one != other for one, other in zip(before, after, strict=True)) / quality.samples
    unlike = (
        cosine < policy.min_cosine or relative > policy.max_relative_error
        for cosine, relative in zip(quality.cosine, quality.relative_error, strict=True)
    )
    return sum(unlike) / quality.samples
