"""The numbers that a measurement states are those of its raw data, or it is refused."""

from collections.abc import Callable

import msgspec
import pytest

from edgeproof.contract.errors import Refused
from edgeproof.contract.results import RuntimeResult
from edgeproof.contract.samples import Block, PairSamples, RawSamples, SideQuality, SideSamples
from edgeproof.contract.statements import Measurement
from edgeproof.domain.input_shapes import image_axes
from edgeproof.domain.measurement import compare_key, fps
from edgeproof.lab.dossier import assemble
from edgeproof.lab.recompute import check_results
from edgeproof.testing.evidence import Scene, make_evidence

MADE = make_evidence(Scene(images=10, calls=3, blocks=2))
DOSSIER = assemble(MADE.documents, MADE.evidence, MADE.control_plane.public)
MEASURED, SAMPLES, QUALITY = DOSSIER.measurement.predicate, DOSSIER.samples, DOSSIER.quality
replace = msgspec.structs.replace


def stated(**changes: object) -> Measurement:
    return replace(MEASURED, candidate=replace(MEASURED.candidate, **changes))


def renamed(result: RuntimeResult, **changes: object) -> dict[str, object]:
    """``changes`` with a compare key to match."""
    to = replace(result, **changes)
    key = compare_key(to.model, to.batch, to.height, to.width, to.precision, to.run_config.threads)
    return {**changes, "compare_key": key}


def words(measured: Measurement = MEASURED, samples: RawSamples = SAMPLES, quality: object = QUALITY) -> str:
    with pytest.raises(Refused) as caught:
        check_results(measured, samples, quality)
    assert caught.value.code == "chain_broken"
    return caught.value.detail


def test_honest_numbers_hold() -> None:
    check_results(MEASURED, SAMPLES, QUALITY)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda it: {"mean_ms": it.mean_ms * 2}, "mean"),
        (lambda it: {"p50_ms": it.p50_ms * 2}, "p50"),
        (lambda it: {"p95_ms": it.p95_ms * 2}, "p95"),
        (lambda it: {"p99_ms": it.p99_ms * 2}, "p99"),
        (lambda it: {"latency_ms": replace(it.latency_ms, std=0.0)}, "latency summary"),
        (lambda it: {"latency_ms": replace(it.latency_ms, samples=1)}, "latency summary"),
        (lambda it: {"fps_value": 1e6}, "frame rate"),
        (lambda it: {"cold_start": replace(it.cold_start, load_ms=0.1)}, "cold start"),
        (lambda it: {"peak_memory_bytes": 1}, "peak memory"),
        (lambda it: {"accuracy": None}, "accuracy"),
        (lambda it: {"accuracy": replace(it.accuracy, samples=11)}, "accuracy"),
        (lambda it: {"backend": "tensorrt"}, "backend"),
        (lambda it: {"backend_key": "x__y"}, "backend key"),
        (lambda it: {"compare_key": "digits"}, "compare key"),
        (lambda it: {"precision": "fp16"}, "compare key"),
        (lambda it: {"run_config": replace(it.run_config, pairs=16)}, "number of pairs"),
        (lambda it: {"run_config": replace(it.run_config, blocks=9)}, "number of blocks"),
        (lambda it: {"run_config": replace(it.run_config, runs=9)}, "number of calls"),
        (lambda it: {"run_config": replace(it.run_config, threads=2)}, "number of threads"),
        (lambda it: {"extra": replace(it.extra, runtime_artifact_sha256="f" * 64)}, "artifact"),
        (lambda it: {"extra": replace(it.extra, source_model_sha256="f" * 64)}, "source model"),
        (lambda it: {"extra": replace(it.extra, input_mode="random")}, "input"),
        (lambda it: {"run_config": replace(it.run_config, input_source="random")}, "input"),
        (lambda it: {"height": 16}, "compare key"),
        (lambda it: {"run_config": replace(it.run_config, warmup=9)}, "number of settling calls"),
        (lambda it: renamed(it, precision="fp16"), "precision"),
        (lambda it: renamed(it, model="another"), "model"),
    ],
)
def test_a_number_of_its_own_is_refused(
    change: Callable[[RuntimeResult], dict[str, object]], what: str
) -> None:
    detail = words(stated(**change(MEASURED.candidate)))
    assert detail == f"the candidate's {what} is not that of the raw data"


def first_block(**changes: object) -> RawSamples:
    pair = SAMPLES.pairs[0]
    block: Block = replace(pair.candidate.blocks[0], **changes)
    side = replace(pair.candidate, blocks=(block, *pair.candidate.blocks[1:]))
    return replace(SAMPLES, pairs=(replace(pair, candidate=side), *SAMPLES.pairs[1:]))


def test_the_protocol_was_followed() -> None:
    pairs = SAMPLES.pairs
    assert words(samples=replace(SAMPLES, pairs=pairs[:7])) == "7 pairs are not a planned look"
    assert words(samples=replace(SAMPLES, pairs=pairs[::-1])) == "pairs are missing"
    assert words(samples=first_block(samples_ns=(1_000_000,))) == "the blocks have different numbers of calls"
    assert words(samples=first_block(settle_ns=())) == "settling calls are missing"
    assert words(samples=first_block(samples_ns=(5, 0, 5))) == "a call took no time"
    assert words(samples=first_block(samples_ns=(5, -5, 5))) == "a call took no time"
    shorter = replace(pairs[0], baseline=replace(pairs[0].baseline, warmup_ns=()))
    assert words(samples=replace(SAMPLES, pairs=(shorter, *pairs[1:]))) == "warm-up calls are missing"


TURN_NS = 1 << 30
"""More than any of these blocks takes."""


def with_blocks(baseline: tuple[Block, ...], candidate: tuple[Block, ...]) -> RawSamples:
    """These as the blocks of the first pair."""
    return with_pairs(played(0, baseline, candidate), *SAMPLES.pairs[1:])


def with_pairs(*pairs: PairSamples) -> RawSamples:
    """``pairs`` at times of their own."""
    return replace(SAMPLES, pairs=tuple(shifted(pair, 64 * TURN_NS * pair.index) for pair in pairs))


def shifted(pair: PairSamples, by_ns: int) -> PairSamples:
    def later(side: SideSamples) -> SideSamples:
        return replace(side, blocks=tuple(replace(block, at_ns=block.at_ns + by_ns) for block in side.blocks))

    return replace(pair, baseline=later(pair.baseline), candidate=later(pair.candidate))


def played(index: int, baseline: tuple[Block, ...], candidate: tuple[Block, ...]) -> PairSamples:
    """A round of a side ends with its clean block; in each the side plays all its blocks that begins it."""
    pair, at = SAMPLES.pairs[index], 0
    timed: dict[str, list[Block]] = {"baseline": [], "candidate": []}
    rounds = {"baseline": in_rounds(baseline), "candidate": in_rounds(candidate)}
    order = [pair.first, *(name for name in timed if name != pair.first)]
    for number in range(max(map(len, rounds.values()))):
        for name in order if number % 2 == 0 else order[::-1]:
            for block in rounds[name][number] if number < len(rounds[name]) else ():
                timed[name].append(replace(block, at_ns=at))
                at += TURN_NS
    return replace(
        pair,
        baseline=replace(pair.baseline, blocks=tuple(timed["baseline"])),
        candidate=replace(pair.candidate, blocks=tuple(timed["candidate"])),
    )


def in_rounds(blocks: tuple[Block, ...]) -> list[list[Block]]:
    rounds: list[list[Block]] = [[]]
    for block in blocks:
        rounds[-1].append(block)
        if not block.flags:
            rounds.append([])
    return rounds


BASELINE, CANDIDATE = SAMPLES.pairs[0].baseline.blocks, SAMPLES.pairs[0].candidate.blocks
CONTENDED = replace(CANDIDATE[0], wait=0.5, flags=("contended",))


def test_repeated_blocks_are_kept_beside_the_clean_ones() -> None:
    check_results(MEASURED, with_blocks(BASELINE, (CONTENDED, *CANDIDATE)), QUALITY)
    check_results(
        MEASURED, with_blocks(BASELINE, (CANDIDATE[0], CONTENDED, CONTENDED, CANDIDATE[1])), QUALITY
    )


def test_blocks_are_missing_only_where_the_repeats_were_spent() -> None:
    """The plan of these samples: two blocks, two repeats."""
    unmatched = replace(BASELINE[1], flags=("unmatched",))
    spent = with_blocks((BASELINE[0], unmatched), (CANDIDATE[0], *(CONTENDED,) * 3))
    assert words(samples=spent) == "the baseline's latency summary is not that of the raw data"
    early = with_blocks((BASELINE[0], unmatched), (CANDIDATE[0], CONTENDED))
    assert words(samples=early) == "the samples lack planned blocks"
    one_sided = with_blocks(BASELINE, (CANDIDATE[0], *(CONTENDED,) * 3))
    assert words(samples=one_sided) == "the samples lack planned blocks"
    endless = with_blocks(BASELINE, (*(CONTENDED,) * 3, *CANDIDATE))
    assert words(samples=endless) == "more blocks were played than planned"
    surplus = with_blocks((*BASELINE, BASELINE[0]), (*CANDIDATE, CANDIDATE[0]))
    assert words(samples=surplus) == "more blocks were played than planned"


def test_blocks_are_compared_with_those_that_they_were_played_with() -> None:
    pair = SAMPLES.pairs[0]

    def told(candidate: tuple[Block, ...]) -> str | None:
        side = replace(pair.candidate, blocks=candidate)
        return words(samples=replace(SAMPLES, pairs=(replace(pair, candidate=side), *SAMPLES.pairs[1:])))

    assert told(CANDIDATE[::-1]) == "blocks are not in the order of time"
    later = tuple(replace(block, at_ns=block.at_ns + 2 * CANDIDATE[1].at_ns) for block in CANDIDATE)
    assert told(later) == "blocks of one round were not played together"


def test_the_sides_took_turns_and_one_at_a_time() -> None:
    pair, *others = SAMPLES.pairs
    assert words(samples=with_pairs(replace(pair, first="candidate"), *others)) == (
        "another side began than is said"
    )
    first, second = pair.baseline.blocks
    one, other = pair.candidate.blocks
    again = {"baseline": (first, replace(second, at_ns=other.at_ns)),
             "candidate": (one, replace(other, at_ns=second.at_ns))}  # fmt: skip
    turned = replace(
        pair,
        baseline=replace(pair.baseline, blocks=again["baseline"]),
        candidate=replace(pair.candidate, blocks=again["candidate"]),
    )
    assert words(samples=with_pairs(turned, *others)) == "the sides did not take turns as planned"
    early = replace(pair.candidate, blocks=(replace(one, at_ns=first.at_ns + 1), other))
    assert words(samples=with_pairs(replace(pair, candidate=early), *others)) == (
        "blocks of one pair ran at the same time"
    )


def test_one_pair_came_after_the_other_and_each_side_began_one_of_two() -> None:
    pair, _, third, *others = SAMPLES.pairs
    copy = replace(pair, index=1)
    assert words(samples=replace(SAMPLES, pairs=(pair, copy, third, *others))) == (
        "pairs were not played in order"
    )
    assert words(samples=with_pairs(pair, copy, third, *others)) == "one side began both of two pairs"


def with_inputs(asked: dict[str, object], **shapes: tuple[int, ...]) -> Measurement:
    """Both sides fed ``shapes``, and what a runner makes of them: it knows the model's order of inputs."""

    def fed(result: RuntimeResult) -> RuntimeResult:
        batch, height, width = image_axes(shapes)
        to = replace(
            result, batch=batch, height=height, width=width, input_shapes=dict(sorted(shapes.items()))
        )
        per_second = {"fps_value": fps(to.mean_ms, to.batch)}
        return replace(to, **renamed(to), **per_second)

    return replace(
        MEASURED,
        config=replace(
            MEASURED.config, **{"input_shapes": {}, "batch": None, "height": None, "width": None, **asked}
        ),
        baseline=fed(MEASURED.baseline),
        candidate=fed(MEASURED.candidate),
    )


@pytest.mark.parametrize(
    ("asked", "shapes"),
    [
        # As `domain.input_shapes.resolve` feeds them; documents sort names, models do not.
        ({}, {"x": (1, 40, 100), "h0": (2, 1, 64), "c0": (2, 1, 64)}),
        ({}, {"template": (1, 3, 127, 127), "search": (1, 3, 255, 255)}),
        ({}, {"tokens": (1, 128), "image": (1, 3, 224, 224)}),
        ({}, {"scalar": ()}),
        ({"batch": 4, "input_shapes": {"a": (4, 3, 224, 224)}}, {"a": (4, 3, 224, 224), "b": (1, 10)}),
        ({"height": 8, "width": 4}, {"x": (1, 16, 8, 4)}),
        ({"height": 1, "width": 16000}, {"x": (1, 1, 16000, 1)}),
        ({"height": 4, "width": 4}, {"x": (1, 4, 4, 3)}),
        ({"batch": 2, "height": 9}, {"x": (2, 5)}),
    ],
)
def test_whatever_inputs_a_runner_feeds_hold(
    asked: dict[str, object], shapes: dict[str, tuple[int, ...]]
) -> None:
    check_results(with_inputs(asked, **shapes), SAMPLES, QUALITY)


def test_the_shape_stated_is_one_of_the_inputs() -> None:
    two = with_inputs({}, image=(1, 3, 224, 224), tokens=(1, 128))
    for height in (None, 128, 225):
        lied = replace(two, candidate=replace(two.candidate, **renamed(two.candidate, height=height)))
        assert words(lied) == "the candidate's shape is not that of its inputs"


def test_the_state_of_the_device_is_that_of_the_environment_or_not_told() -> None:
    governed = replace(MEASURED.environment_before, governor="schedutil")
    measured = replace(MEASURED, environment_before=governed, environment_after=governed)
    check_results(measured, SAMPLES, QUALITY)
    for extra in ({"governor": "performance"}, {"governor": "schedutil", "power_mode": "15W"}):
        told = replace(measured.candidate, extra=replace(measured.candidate.extra, **extra))
        assert words(replace(measured, candidate=told)) == (
            "the candidate's state of the device is not that of the environment"
        )


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({"batch": 1}, True),
        ({"batch": 8}, False),
        ({"input_shapes": {"image": (1, 1, 8, 8)}}, True),
        ({"input_shapes": {"image": (8, 1, 8, 8)}}, False),
        ({"input_shapes": {"other": (1, 1, 8, 8)}}, False),
        ({"input_shapes": {"image": (1, 1, 8, 8)}, "batch": 8}, True),
        ({"height": 8, "width": 8}, True),
        ({"width": 9}, False),
        ({"height": 16}, False),
    ],
)
def test_what_was_fed_is_what_was_asked_for(asked: dict[str, object], fits: bool) -> None:
    measured = replace(MEASURED, config=replace(MEASURED.config, **{"input_shapes": {}, **asked}))
    if fits:
        check_results(measured, SAMPLES, QUALITY)
    else:
        assert words(measured) == "the baseline was fed another shape than asked for"


def test_a_pair_is_bound_to_as_many_processors_as_threads() -> None:
    pair = SAMPLES.pairs[0]
    for processors in ((-1,), (1, 1), (2, 1), tuple(range(9))):
        bound = replace(SAMPLES, pairs=(replace(pair, processors=processors), *SAMPLES.pairs[1:]))
        assert words(samples=bound) == "a pair ran on impossible processors"


def test_what_counts_and_what_does_not_follows_from_the_load() -> None:
    assert words(samples=first_block(wait=0.5)) == (
        "a block counts although the load differed between the sides"
    )
    quiet = replace(CONTENDED, wait=0.01)
    assert words(samples=with_blocks(BASELINE, (quiet, *CANDIDATE))) == (
        "a block is said to be contended that hardly waited"
    )
    odd = replace(CONTENDED, flags=("slow",))
    assert words(samples=with_blocks(BASELINE, (odd, *CANDIDATE))) == "a block has an unknown flag"


def warmed_up(*taken_ns: int, settled: bool) -> RawSamples:
    """The plan of these samples: windows of five calls, 12 at most, 5 %. One call tells of each."""
    pair = SAMPLES.pairs[0]
    calls = tuple(taken for taken in taken_ns for _ in range(5))
    side = replace(pair.candidate, warmup_ns=calls, settled=settled)
    return replace(SAMPLES, pairs=(replace(pair, candidate=side), *SAMPLES.pairs[1:]))


def test_the_warm_up_ended_as_the_rule_says() -> None:
    falling = tuple(2**power for power in range(20, 8, -1))
    check_results(MEASURED, warmed_up(200, 102, 100, settled=True), QUALITY)
    check_results(MEASURED, warmed_up(*falling, settled=False), QUALITY)
    assert words(samples=warmed_up(200, 100, settled=False)) == "warm-up calls are missing"
    assert words(samples=warmed_up(100, 100, 100, settled=True)) == "the warm-up went on after its end"
    assert words(samples=warmed_up(*falling, settled=True)) == "the warm-up did not end as it says"


def test_a_flagged_block_does_not_count_but_is_not_left_out() -> None:
    flagged = replace(CANDIDATE[1], flags=("throttled",))
    other = replace(CANDIDATE[1], samples_ns=(1, 1, 1))
    assert words(samples=with_blocks(BASELINE, (CANDIDATE[0], flagged, other))) == (
        "the candidate's latency summary is not that of the raw data"
    )
    assert words(samples=first_block(flags=("throttled",))) == "the samples lack planned blocks"


def test_a_side_with_every_block_flagged_has_no_samples() -> None:
    def flagged(block: Block) -> Block:
        return replace(block, flags=("swapped",))

    def all_flagged(side: SideSamples) -> tuple[Block, ...]:
        return (*map(flagged, side.blocks), flagged(side.blocks[0]))

    pairs = [
        played(pair.index, all_flagged(pair.baseline), all_flagged(pair.candidate)) for pair in SAMPLES.pairs
    ]
    assert words(samples=with_pairs(*pairs)) == "the baseline has no counted samples"


def test_a_floor_was_found_under_a_share_of_a_load() -> None:
    for background in (-0.1, 1.1):
        measured = replace(MEASURED, noise=replace(MEASURED.noise, background=background))
        assert words(measured) == "the noise floor is impossible"


def test_a_floor_is_of_some_pairs() -> None:
    assert words(replace(MEASURED, noise=replace(MEASURED.noise, pairs=0))) == "the noise floor is impossible"


@pytest.mark.parametrize("floors", [{"p50": -1.0}, {"p98": 1.0}])
def test_a_noise_floor_is_a_positive_figure_of_a_gate(floors: dict[str, float]) -> None:
    measured = replace(MEASURED, noise=replace(MEASURED.noise, floor_pct=floors))
    assert words(measured) == "the noise floor is impossible"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"samples": 0}, "no output was looked at"),
        ({"samples": 11}, "predictions are missing"),
        ({"labels": (1, 2)}, "labels are missing"),
        ({"groups": (1, 2)}, "groups are missing"),
        ({"cosine": (1.0,)}, "agreements are missing"),
        ({"labels": (-1,) * 10}, "a label is negative"),
        (
            {"candidate": SideQuality(predictions=(-1,) * 10, nonfinite=9)},
            "the count of non-finite outputs is impossible",
        ),
        (
            {"candidate": SideQuality(predictions=None, nonfinite=11)},
            "the count of non-finite outputs is impossible",
        ),
        (
            {"candidate": SideQuality(predictions=None, nonfinite=0)},
            "the candidate's accuracy is not that of the raw data",
        ),
    ],
)
def test_raw_outputs_are_whole(changes: dict[str, object], detail: str) -> None:
    assert words(quality=replace(QUALITY, **changes)) == detail


def test_labels_need_a_data_set() -> None:
    without = replace(MEASURED, config=replace(MEASURED.config, dataset=None))
    assert words(without) == "labels without a data set"
