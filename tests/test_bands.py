"""Work in bands: all of it is done, side by side, and errors come through."""

from __future__ import annotations

import threading
import time

import pytest

from narrate_stream import bands
from narrate_stream.bands import BANDS, side_by_side


def test_every_band_is_worked_on_once() -> None:
    seen: list[int] = []
    side_by_side(seen.append, range(50))
    assert sorted(seen) == list(range(50))
    side_by_side(seen.append, [])
    assert len(seen) == 50


def test_bands_are_worked_on_beside_each_other() -> None:
    meeting, threads = threading.Barrier(2, timeout=20), set()

    def work(_: int) -> None:
        meeting.wait()
        threads.add(threading.get_ident())

    side_by_side(work, range(2))
    assert len(threads) == 2


def test_nobody_waits_for_a_helper_that_is_busy_elsewhere() -> None:
    pool, count = bands._helpers()
    go, threads = threading.Event(), set()
    busy = [pool.submit(go.wait, 20) for _ in range(count)]
    side_by_side(lambda _: threads.add(threading.get_ident()), range(BANDS))
    assert threads == {threading.get_ident()}
    go.set()
    assert all(done.result() for done in busy)


def test_an_error_in_any_band_is_raised() -> None:
    def work(band: int) -> None:
        if band == BANDS - 1:
            raise ValueError("band")

    with pytest.raises(ValueError, match="band"):
        side_by_side(work, range(BANDS))


def test_an_error_is_raised_when_nobody_works_any_more() -> None:
    failed, done = threading.Event(), threading.Event()

    def work(band: int) -> None:
        if threading.current_thread() is threading.main_thread():
            helping.wait(20)
            failed.set()
            raise ValueError("first")
        helping.set()
        failed.wait(20)
        time.sleep(0.05)
        done.set()

    helping = threading.Event()
    with pytest.raises(ValueError, match="first"):
        side_by_side(work, range(2))
    assert done.is_set()
