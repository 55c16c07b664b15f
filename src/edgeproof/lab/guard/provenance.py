"""Rules over what forge says it built and runtime says it ran (reference section 4, "provenance").

Forge's three documents write the same nine facts in different places; ``forge_facts`` reads all of them,
so that an identical pair never warns, whichever document came along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from edgeproof.contract.comparison import GuardEvidence
from edgeproof.lab.guard.item import Severity, item

AXES: Final = ("batch", "height", "width")
MAIN: Final = (
    "artifact_sha256", "source_model_sha256", "artifact_path", *AXES, "backend", "target", "precision"
)  # fmt: skip
CASELESS: Final = frozenset({"artifact_sha256", "source_model_sha256", "backend", "target", "precision"})

Path = tuple[str | int, ...]
FORGE_PLACES: Final[dict[str, tuple[Path, ...]]] = {
    "artifact_sha256": (("artifact_sha256",), ("artifact", "sha256"), ("artifacts", 0, "sha256")),
    "source_model_sha256": (("source_model_sha256",), ("source_model", "sha256")),
    "artifact_path": (
        ("artifact_path",),
        ("runtime", "artifact_path"),
        ("lab_compat", "runtime", "runtime_artifact_path"),
        ("artifact", "path"),
        ("artifacts", 0, "path"),
    ),
    **{
        axis: (
            (axis,),
            ("runtime", axis),
            ("lab_compat", "runtime", f"requested_{axis}"),
            ("runtime", f"requested_{axis}"),
        )
        for axis in AXES
    },
    "backend": (
        ("backend",), ("runtime", "engine"), ("lab_compat", "runtime", "engine"), ("build", "backend")
    ),
    "target": (
        ("target",), ("runtime", "device"), ("lab_compat", "runtime", "device"), ("build", "target")
    ),
    "precision": (
        ("precision",),
        ("runtime", "precision"),
        ("lab_compat", "runtime", "precision"),
        ("artifact", "precision"),
    ),
    "artifact_type": (("artifact_type",), ("artifact", "format"), ("artifacts", 0, "format")),
}  # fmt: skip
RUNTIME_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "artifact_sha256": ("runtime_artifact_sha256", "artifact_sha256"),
    "source_model_sha256": ("source_model_sha256",),
    "artifact_path": ("runtime_artifact_path", "artifact_path"),
    **{axis: (axis, f"requested_{axis}") for axis in AXES},
    "backend": ("backend", "engine_backend", "engine"),
    "target": ("target", "device_name", "device"),
    "precision": ("precision",),
    "artifact_type": ("artifact_type",),
}

RULE_FIELDS: Final[dict[str, tuple[tuple[str, ...], Severity]]] = {
    "artifact_sha256_mismatch": (("artifact_sha256",), "high"),
    "source_model_sha256_mismatch": (("source_model_sha256",), "high"),
    "artifact_path_mismatch": (("artifact_path",), "medium"),
    "shape_mismatch": (AXES, "medium"),
    "runtime_config_mismatch": (("backend", "target", "precision"), "medium"),
    "artifact_type_mismatch": (("artifact_type",), "medium"),
}


@dataclass(frozen=True)
class ProvenanceCase:
    """Facts by name. An axis that is there as None is one that the model does not have."""

    expected: Mapping[str, Any]
    observed: Mapping[str, Any]
    expected_source: str = "forge"
    observed_source: str = "runtime"


Rule = Callable[[ProvenanceCase], Iterator[GuardEvidence]]


def forge_facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a ``metadata.json``, ``manifest.json`` or worker summary."""
    return _facts({name: [_at(document, path) for path in paths] for name, paths in FORGE_PLACES.items()})


def runtime_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a runtime result; ``extra`` comes before ``run_config``, and that before the top level."""
    scopes = [inside for name in ("extra", "run_config") if isinstance(inside := result.get(name), Mapping)]
    return _facts(
        {
            field: [scope.get(name, _ABSENT) for scope in (*scopes, result) for name in names]
            for field, names in RUNTIME_NAMES.items()
        }
    )


def insufficient_provenance(case: ProvenanceCase) -> Iterator[GuardEvidence]:
    """One of the nine main facts is missing on a side."""
    sides = ((case.expected_source, case.expected), (case.observed_source, case.observed))
    absent = [f"{source}: {name}" for source, facts in sides for name in MAIN if name not in facts]
    yield item(
        "insufficient_provenance",
        f"{case.observed_source}.provenance",
        status="failed" if absent else "passed",
        severity="medium",
        observed=", ".join(absent) or None,
        explanation=f"missing: {', '.join(absent)}" if absent else "both sides say all nine facts",
        why="What is not said cannot be checked.",
        cause="A document is of another generation, or was cut short.",
        recommendation="Build and measure again with tools that record it.",
    )


def mismatch(id_: str, case: ProvenanceCase) -> Iterator[GuardEvidence]:
    """What both sides say of the fields of rule ``id_``, and say differently."""
    fields, severity = RULE_FIELDS[id_]
    for field in fields:
        built, ran = case.expected.get(field), case.observed.get(field)
        if built is None or ran is None:  # a missing one is insufficient_provenance's, an open axis is open
            continue
        same = _comparable(field, built) == _comparable(field, ran)
        yield item(
            id_,
            f"{case.observed_source}.{field}",
            status="passed" if same else "failed",
            severity=severity,
            observed=str(ran),
            baseline=str(built),
            explanation=(
                f"{field}: {case.observed_source} and {case.expected_source} agree"
                if same
                else f"{field}: {case.observed_source} says {ran}, {case.expected_source} says {built}"
            ),
            why="A measurement of something else says nothing about this artifact.",
            cause="Another artifact or configuration was measured than was built.",
            recommendation="Rebuild, and measure the artifact of that build.",
            context={
                "field": field,
                "expected": str(built),
                "observed": str(ran),
                "expected_source": case.expected_source,
                "observed_source": case.observed_source,
            },
        )


RULES: Final[tuple[Rule, ...]] = (
    *(partial(mismatch, id_) for id_ in RULE_FIELDS),
    insufficient_provenance,
)

_ABSENT: Final = object()


def _facts(found: Mapping[str, list[Any]]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, values in found.items():
        given = [value for value in values if value is not _ABSENT]
        known = next((value for value in given if value is not None and value != ""), None)
        if known is not None or (name in AXES and given):
            facts[name] = known
    return facts


def _at(document: Any, path: Path) -> Any:
    for step in path:
        if isinstance(step, int):
            if not isinstance(document, list | tuple) or len(document) <= step:
                return _ABSENT
        elif not isinstance(document, Mapping) or step not in document:
            return _ABSENT
        document = document[step]
    return document


def _comparable(field: str, value: Any) -> str:
    return str(value).lower() if field in CASELESS else str(value)
