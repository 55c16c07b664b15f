from edgeproof.domain.warmup import finished, settled, window_calls

COLD, WARM = (1000,) * 5, (500,) * 5


def test_two_windows_in_a_row_agree() -> None:
    assert not settled(COLD, 5, 5.0)
    assert not settled(COLD + WARM, 5, 5.0)
    assert settled(COLD + WARM + WARM, 5, 5.0)
    assert settled(COLD + WARM + (524,) * 5, 5, 5.0)
    assert not settled(COLD + WARM + (526,) * 5, 5, 5.0)


def test_calls_that_a_passing_load_delayed_do_not_unsettle() -> None:
    assert settled((*WARM, 500, 510, 4000, 9000, 4000), 5, 5.0)


def test_warming_up_ends() -> None:
    restless = [100 * 2**window for window in range(9) for _ in range(2)]
    assert not finished(restless[:10], 2, 5.0, 6)
    assert finished(restless[:12], 2, 5.0, 6)
    assert not settled(restless[:12], 2, 5.0)
    assert finished(WARM + WARM, 5, 5.0, 6)


def test_windows() -> None:
    assert [window_calls(calls) for calls in (0, 11, 12, 20)] == [0, 6, 6, 10]


def test_no_window_is_too_small_to_show_anything() -> None:
    assert {window_calls(calls) for calls in (1, 2, 5, 10)} == {5}


def test_a_process_that_was_not_warmed_up_is_not_called_settled() -> None:
    assert not settled((), 0, 5.0)
    assert finished((), 0, 5.0, 6)
