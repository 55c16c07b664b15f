"""What an invented device would have measured: the arguments from which evidence for tests is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgeproof.contract.policy import Policy
from edgeproof.contract.requests import Precision
from edgeproof.lab.policies import default_policy

NOW = "2026-01-02T03:04:05Z"
SHAPES: dict[str, tuple[int, ...]] = {"image": (1, 1, 8, 8)}


@dataclass(frozen=True)
class Scene:
    """What the invented device would have measured. ``ratio`` is candidate over baseline latency.

    ``accuracy`` are fractions of the labels that baseline and candidate get right (None: no labels;
    then, with ``classes`` False, the outputs are no scores of classes either).
    ``jitter`` is the relative spread between process pairs. With ``settled`` False no warm-up came to rest.
    ``noise_pct`` is the device's noise floor, None one that could not be found. ``numbers`` is what the
    results claim their numbers to be: to readers they shall look like a device's. ``receipts``: the control
    plane's notes on what it took are among the evidence. With ``forged`` False the candidate came as an
    artifact, which no run built.
    """

    job_id: str = "job_test"
    ratio: float = 0.5
    accuracy: tuple[float, float] | None = (0.98, 0.98)
    classes: bool = True
    images: int = 200
    pairs: int = 8
    blocks: int = 8
    calls: int = 5
    jitter: float = 0.003
    settled: bool = True
    noise_pct: float | None = 0.5
    candidate_nonfinite: int = 0
    candidate_precision: Precision = "int8"
    numbers: Literal["measured", "estimated", "simulated"] = "measured"
    receipts: bool = False
    forged: bool = True
    seed: int = 1
    policy: Policy = field(default_factory=default_policy)
