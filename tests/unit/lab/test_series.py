"""Distributions, time line and flips from hand-made raw data."""

from edgeproof.contract.samples import PairSamples, RawQuality, RawSamples, SideQuality
from edgeproof.lab.series import distributions, flips, time_line

from .hand_made import side


def samples(*pairs: PairSamples) -> RawSamples:
    return RawSamples(schema_version="edgeproof-samples-v1", unit="ns", pairs=pairs)


def quality(labels: tuple[int, ...] | None, before: tuple[int, ...], after: tuple[int, ...]) -> RawQuality:
    return RawQuality(
        schema_version="edgeproof-quality-v1",
        samples=len(before),
        labels=labels,
        groups=None,
        baseline=SideQuality(predictions=before, nonfinite=0),
        candidate=SideQuality(predictions=after, nonfinite=0),
        cosine=(1.0,) * len(before),
        max_abs_error=(0.0,) * len(before),
        relative_error=(0.0,) * len(before),
    )


PAIR = PairSamples(
    index=0,
    first="baseline",
    baseline=side((1_000_000, 3_000_000), (2_000_000,), (90_000_000,), flags=((), (), ("load", "swap"))),
    candidate=side((4_000_000,), (5_000_000,), flags=((), ("load",))),
    processors=(),
)


def test_a_distribution_has_the_counted_calls_alone() -> None:
    baseline, candidate = distributions(samples(PAIR))
    assert (baseline.ms, baseline.share, baseline.calls) == ((1, 2, 3), (1 / 3, 2 / 3, 1.0), 3)
    assert (candidate.ms, candidate.share) == ((4,), (1.0,))


def test_a_long_distribution_is_thinned_and_keeps_its_ends() -> None:
    long = PairSamples(
        index=0, first="baseline", baseline=side(tuple(range(1, 20_001))), candidate=side((7,)), processors=()
    )
    told = distributions(samples(long))[0]
    assert len(told.ms) == 240
    assert (told.ms[0], told.ms[-1], told.share[-1], told.calls) == (1e-6, 0.02, 1.0, 20_000)
    assert list(told.ms) == sorted(set(told.ms))
    assert told.ms[-24:] == tuple(call / 1e6 for call in range(19_977, 20_001))


def test_flagged_blocks_stay_on_the_time_line_and_are_counted_by_flag() -> None:
    line = time_line(samples(PAIR))
    assert (len(line.marks), line.left_out) == (5, 2)
    assert line.flagged == (("load", 2), ("swap", 1))
    assert sorted(mark.median_ms for mark in line.marks if not mark.flags) == [2, 2, 4]


def test_who_gets_what_right() -> None:
    told = flips(quality((0, 0, 1, 1, 2), (0, 0, 1, 0, 0), (0, 1, 1, 1, 0)))
    assert told is not None
    assert (told.both_right, told.lost, told.gained, told.both_wrong) == (2, 1, 1, 1)
    assert [(one.label, one.samples, one.lost, one.gained) for one in told.classes] == [
        (0, 2, 1, 0),
        (1, 2, 0, 1),
    ]
    assert [(one.index, one.label, one.candidate) for one in told.examples] == [(1, 0, 1)]


def test_without_labels_nothing_flips() -> None:
    assert flips(quality(None, (0,), (1,))) is None


def test_many_classes_are_cut_and_the_rest_told() -> None:
    labels = tuple(range(20))
    told = flips(quality(labels, labels, tuple(label + 1 for label in labels)))
    assert told is not None
    assert (len(told.classes), told.more_classes, len(told.examples)) == (12, 8, 12)
