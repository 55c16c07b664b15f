import pytest

from edgeproof.domain.contamination import alike


@pytest.mark.parametrize(
    ("wait", "other", "same"),
    [
        (0.0, 0.0, True),
        (0.0, 0.05, True),
        (0.0, 0.051, False),
        (0.01, 0.5, False),
        (0.3, 0.6, True),
        (0.3, 0.61, False),
        (1.0, 1.0, True),
    ],
)
def test_a_load_is_alike_within_the_threshold_or_a_factor_of_two(
    wait: float, other: float, same: bool
) -> None:
    assert alike(wait, other, 0.05) is alike(other, wait, 0.05) is same
