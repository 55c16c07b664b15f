"""From a verified dossier to the decision that the control plane signs. Pure: equal dossiers, equal bytes.

What a dossier has to hold together is checked where it is assembled, not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgeproof.contract.statements import DecisionEnvelopeStatement, DecisionStatement, resource
from edgeproof.lab.compare import compare
from edgeproof.lab.decide import decide
from edgeproof.lab.guard.analyse import analyse, guard_case
from edgeproof.lab.guard.verdict import guarded

if TYPE_CHECKING:
    from edgeproof.lab.dossier import Dossier

WEAKEST_FIRST: Final = ("simulated", "estimated", "measured")


def judge(dossier: Dossier, *, with_guard: bool) -> DecisionEnvelopeStatement:
    """Compare, ask the guard if wanted, decide.

    Raises ``Refused`` (``result_invalid``) if the samples cannot be compared at all.
    """
    measured = dossier.measurement.predicate
    policy, quality = dossier.policy, dossier.quality
    results = (measured.baseline, measured.candidate)
    environment = (measured.environment_before, measured.environment_after)
    comparison = compare(*results, dossier.samples.pairs, quality, policy, measured.noise, environment)
    guard = None
    if with_guard:
        builds = (dossier.baseline_build, dossier.candidate_build)
        guard = guarded(lambda: analyse(guard_case(builds, results, quality, comparison, policy)))
    weakest = min((result.extra.measurement for result in results), key=WEAKEST_FIRST.index)
    fed = {result.run_config.input_source for result in results}
    candidate = measured.config.candidate
    return DecisionEnvelopeStatement(
        subject=(resource(candidate.model_name, candidate.artifact),),
        predicate=DecisionStatement(
            job_id=dossier.job_id,
            deployment_decision=decide(
                comparison,
                guard,
                weakest,
                "dataset" if fed == {"dataset"} else "random",
                policy,
                dossier.policy_digest,
                basis="signed",
            ),
            comparison=comparison,
            guard_analysis=guard,
            evidence=tuple(sorted(dossier.evidence, key=lambda one: (one.kind, one.digest))),
        ),
    )
