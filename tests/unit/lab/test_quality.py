"""Accuracy and agreement from raw outputs."""

import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.policy import AccuracyPolicy, AgreementPolicy
from edgeproof.contract.samples import RawQuality, SideQuality
from edgeproof.lab.quality import accuracy_verdict, compare_accuracy, compare_agreement

ACCURACY = AccuracyPolicy(confidence=0.95, margin_pp=1.0)
AGREEMENT = AgreementPolicy(min_top1=0.98, min_cosine=0.99, max_relative_error=0.2)


def quality(
    count: int,
    *,
    lost: int = 0,
    won: int = 0,
    labels: bool = True,
    classes: bool = True,
    groups: tuple[int, ...] | None = None,
    cosine: float = 0.999,
    relative: float = 0.04,
) -> RawQuality:
    """Labels are all 1; the baseline misses the last ``won``, the candidate the first ``lost``."""
    baseline = tuple(int(index < count - won) for index in range(count))
    candidate = tuple(int(index >= lost) for index in range(count))
    return RawQuality(
        schema_version="edgeproof-quality-v1",
        samples=count,
        labels=(1,) * count if labels else None,
        groups=groups,
        baseline=SideQuality(predictions=baseline if classes else None, nonfinite=0),
        candidate=SideQuality(predictions=candidate if classes else None, nonfinite=0),
        cosine=(cosine,) * count,
        max_abs_error=tuple(index / 1000 for index in range(count)),
        relative_error=(relative,) * count,
    )


def test_a_small_loss_on_many_samples_is_no_regression() -> None:
    told = compare_accuracy(quality(3000, lost=10, won=5), ACCURACY)
    assert told is not None
    assert (told.baseline, told.candidate) == (0.998333, 0.996667)
    assert (told.baseline_only_correct, told.candidate_only_correct) == (10, 5)
    assert told.difference_pp == -0.166667
    assert -1 < told.difference_low_pp < told.difference_pp < told.difference_high_pp
    assert (told.verdict, told.samples_needed, told.clusters) == ("no_regression", None, 3000)


def test_a_collapse_is_a_regression_even_on_few() -> None:
    told = compare_accuracy(quality(50, lost=40), ACCURACY)
    assert told is not None and told.verdict == "regression" and told.difference_high_pp < -50


def test_too_few_samples_say_how_many_it_would_take() -> None:
    told = compare_accuracy(quality(200), ACCURACY)
    assert told is not None
    assert (told.verdict, told.samples_needed) == ("inconclusive", 280)


def test_images_of_one_original_widen_the_limits() -> None:
    groups = tuple(index // 10 for index in range(1000))
    alone = compare_accuracy(quality(1000, lost=20, won=18), ACCURACY)
    clustered = compare_accuracy(quality(1000, lost=20, won=18, groups=groups), ACCURACY)
    assert alone is not None and clustered is not None
    assert clustered.clusters == 100
    assert clustered.difference_low_pp < alone.difference_low_pp
    assert clustered.difference_pp == alone.difference_pp


@pytest.mark.parametrize(("labels", "classes"), [(False, True), (True, False)])
def test_accuracy_needs_labels_and_class_scores(labels: bool, classes: bool) -> None:
    assert compare_accuracy(quality(100, labels=labels, classes=classes), ACCURACY) is None


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-1.0, 5.0, "no_regression"),
        (-1.01, -1.0, "inconclusive"),
        (-3.0, -1.01, "regression"),
    ],
)
def test_the_margin_belongs_to_the_inside(low: float, high: float, verdict: str) -> None:
    assert accuracy_verdict(low, high, 1.0) == verdict


def test_agreement_wants_both_class_and_direction() -> None:
    good = compare_agreement(quality(100, labels=False), AGREEMENT)
    assert good is not None
    assert (good.top1, good.median_cosine, good.max_abs_error) == (1.0, 0.999, 0.099)
    assert good.median_relative_error == 0.04
    assert good.verdict == "agrees"
    for bad in (quality(100, lost=3), quality(100, cosine=0.9), quality(100, classes=False, cosine=0.98)):
        told = compare_agreement(bad, AGREEMENT)
        assert told is not None and told.verdict == "disagrees"
    without_classes = compare_agreement(quality(100, lost=50, classes=False), AGREEMENT)
    assert without_classes is not None and without_classes.verdict == "agrees"


@pytest.mark.parametrize("classes", [True, False])
def test_outputs_of_another_scale_disagree_whatever_their_direction(classes: bool) -> None:
    told = compare_agreement(quality(100, labels=False, classes=classes, cosine=1.0, relative=9.0), AGREEMENT)
    assert told is not None and told.verdict == "disagrees"


def test_no_sample_no_agreement() -> None:
    assert compare_agreement(quality(0), AGREEMENT) is None
    assert compare_accuracy(quality(0), ACCURACY) is None


def test_lists_of_another_length_are_refused() -> None:
    broken = RawQuality(
        schema_version="edgeproof-quality-v1",
        samples=3,
        labels=(1, 1),
        groups=None,
        baseline=SideQuality(predictions=None, nonfinite=0),
        candidate=SideQuality(predictions=None, nonfinite=0),
        cosine=(1.0,) * 3,
        max_abs_error=(0.0,) * 3,
        relative_error=(0.0,) * 3,
    )
    for compare in (lambda: compare_accuracy(broken, ACCURACY), lambda: compare_agreement(broken, AGREEMENT)):
        with pytest.raises(Refused, match="labels has 2 values for 3 samples"):
            compare()
