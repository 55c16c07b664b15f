"""Seed 000's response bundle: the answer to ``POST /api/compare`` and a completed analyze job's ``result``.

The keys are the originals' (reference section 1). Its parts stay open, since a signed comparison, one of
unsigned results and a lone worker's result each have more to say; ``basis`` tells them apart.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from edgeproof.contract.base import Wire

Basis = Literal["signed", "unsigned"]


class BundleSummary(Wire, frozen=True, kw_only=True):
    """``overall`` and what follows from it are None where nothing was compared."""

    response_type: str
    overall: str | None
    comparison_mode: str | None
    precision_pair: str | None
    deployment_decision: str
    guard_status: str | None
    guard_verdict: str | None


class BundleRendered(Wire, frozen=True, kw_only=True):
    markdown: str
    html: str


class BundleComparison(Wire, frozen=True, kw_only=True):
    result: dict[str, Any]
    judgement: dict[str, Any]
    rendered: BundleRendered


class BundleProvenance(Wire, frozen=True, kw_only=True):
    runtime: dict[str, Any]
    shape: dict[str, Any]
    run_config_diff: dict[str, Any]
    source_bundle: str


class BundleMetadata(Wire, frozen=True, kw_only=True):
    """The paths are labels: nothing opens them."""

    base_path: str | None
    new_path: str | None
    legacy_warning: str | None


class BundleTimestamps(Wire, frozen=True, kw_only=True):
    base: str | None
    new: str | None


class BundleExecution(Wire, frozen=True, kw_only=True):
    base_path: str | None
    new_path: str | None
    selection_mode: str
    legacy_warning: str | None


class ResponseBundle(Wire, frozen=True, kw_only=True):
    """``guard_analysis`` is absent, not null, where no guard was asked and none answered."""

    basis: Basis
    summary: BundleSummary
    comparison: BundleComparison
    deployment_decision: dict[str, Any]
    provenance: BundleProvenance
    metadata: BundleMetadata
    timestamps: BundleTimestamps
    execution_info: BundleExecution
    guard_analysis: dict[str, Any] | UnsetType = UNSET
