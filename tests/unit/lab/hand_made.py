"""Latency samples made by hand, for tests of what reads them."""

from edgeproof.contract.samples import Block, PairSamples, SideSamples


def side(*blocks: tuple[int, ...], flags: tuple[tuple[str, ...], ...] = ()) -> SideSamples:
    return SideSamples(
        load_ns=1,
        first_ns=1,
        warmup_ns=(),
        settled=True,
        blocks=tuple(
            Block(at_ns=0, settle_ns=(), samples_ns=samples, load=0.0, wait=0.0, flags=marks)
            for samples, marks in zip(blocks, flags or ((),) * len(blocks), strict=True)
        ),
        peak_rss_bytes=1,
    )


def pair(index: int, ratio: float, base: int = 1_000_000, blocks: int = 8) -> PairSamples:
    def calls(scale: float) -> tuple[int, ...]:
        return tuple(int(base * scale * factor) for factor in (0.99, 1.0, 1.01))

    sides = (side(*[calls(scale)] * blocks) for scale in (1.0, ratio))
    baseline, candidate = sides
    return PairSamples(index=index, first="baseline", baseline=baseline, candidate=candidate, processors=())


def pairs(count: int, ratio: float, spread: float = 0.001, blocks: int = 8) -> list[PairSamples]:
    """Eight blocks of eight pairs are what certifies p90."""
    return [
        pair(index, ratio * (1 + spread * (index - (count - 1) / 2) / count), blocks=blocks)
        for index in range(count)
    ]
