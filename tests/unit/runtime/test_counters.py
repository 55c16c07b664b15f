from __future__ import annotations

import os

from edgeproof.runtime.counters import (
    Counters,
    busy_ns,
    counts_waits,
    flags,
    other_load,
    queued_ns,
    swapped_pages,
    wait,
)

MS = 1_000_000


def test_busy_time_leaves_out_idle_and_waiting() -> None:
    ticks = busy_ns("cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 9 9 9 9 9 9 9 9 9 9\n")
    assert ticks == (1 + 2 + 4 + 8 + 16 + 32) * 10**9 // os.sysconf("SC_CLK_TCK")
    assert busy_ns("") == 0


def test_load_is_what_others_used() -> None:
    before, after = Counters(0, None, 0), Counters(60 * MS, None, 0)
    assert other_load(before, after, own_ns=40 * MS, wall_ns=40 * MS, processors=2) == 0.25
    assert other_load(before, after, own_ns=90 * MS, wall_ns=40 * MS, processors=2) == 0.0
    assert other_load(before, after, own_ns=0, wall_ns=10 * MS, processors=1) == 1.0


def test_flags() -> None:
    assert flags(Counters(0, 3, 7), Counters(9, 3, 7)) == ()
    assert flags(Counters(0, 3, 7), Counters(9, 4, 7)) == ("throttled",)
    assert flags(Counters(0, None, 7), Counters(9, None, 8)) == ("swapped",)
    assert flags(Counters(0, 1, 7, ("2000000",)), Counters(9, 1, 7, ("1400000",))) == ("frequency",)


def test_wait_is_that_of_the_slowest_thread() -> None:
    before, after = {"1": 5 * MS, "2": 0}, {"1": 6 * MS, "2": 4 * MS, "3": 2 * MS}
    assert wait(before, after, wall_ns=16 * MS) == 0.25
    assert wait(before, after, wall_ns=3 * MS) == 1.0
    assert wait({}, {}, wall_ns=MS) == 0.0
    assert wait(before, after, wall_ns=0) == 0.0


def test_every_thread_of_this_process_is_counted() -> None:
    queued = queued_ns()
    assert str(os.getpid()) in queued
    assert min(queued.values()) >= 0


def test_a_kernel_without_schedstat_or_with_zeros_in_it_counts_no_waits() -> None:
    assert counts_waits("51200000 0 12\n")
    assert not counts_waits("")
    assert not counts_waits("0 0 0\n")


def test_swapping_counts_both_ways() -> None:
    assert swapped_pages("pgpgin 5\npswpin 2\npswpout 3\npswpin_extra 9\n") == 5
    assert swapped_pages("") == 0
