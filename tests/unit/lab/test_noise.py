from edgeproof.contract.policy import LatencyGate
from edgeproof.lab.dossier import assemble
from edgeproof.lab.noise import noise_floor, too_tight
from edgeproof.testing.evidence import Scene, make_evidence


def floor_of(scene: Scene) -> dict[str, float]:
    made = make_evidence(scene)
    return noise_floor(assemble(made.documents, made.evidence, made.control_plane.public).samples.pairs)


def test_the_floor_is_how_far_equal_models_seem_to_differ() -> None:
    quiet, noisy = (floor_of(Scene(ratio=1.0, jitter=jitter, calls=9)) for jitter in (0.002, 0.05))
    assert set(quiet) == set(noisy) == {"p50", "p90"}
    assert 0 < quiet["p50"] < 1 < noisy["p50"] < 15


def test_a_difference_is_noise_in_either_direction() -> None:
    slower, faster = (floor_of(Scene(ratio=ratio, jitter=0.001)) for ratio in (1.1, 1 / 1.1))
    assert abs(slower["p50"] - 10) < 1 and abs(faster["p50"] - 10) < 1


def test_too_few_pairs_have_no_floor() -> None:
    made = make_evidence()
    pairs = assemble(made.documents, made.evidence, made.control_plane.public).samples.pairs
    assert noise_floor(pairs[:4]) == {}
    assert noise_floor(()) == {}


def test_margins_below_the_floor_are_named() -> None:
    gates = (LatencyGate(metric="p50", margin_pct=3.0), LatencyGate(metric="p90", margin_pct=5.0))
    assert list(too_tight(gates, {"p50": 3.0, "p90": 4.9})) == []
    assert list(too_tight(gates, {})) == []
    assert list(too_tight(gates, {"p50": 3.21, "p90": 4.9})) == [
        "this device's noise floor for p50 is 3.21 %, so it cannot support the 3 % margin"
    ]
