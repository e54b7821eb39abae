"""Work in bands: all of it is done, side by side, and errors come through."""

from __future__ import annotations

import threading
import time

import pytest

from narrate_stream.bands import BANDS, side_by_side


def test_every_band_is_worked_on_once_and_beside_the_others() -> None:
    seen: list[tuple[int, int]] = []
    meeting = threading.Barrier(BANDS, timeout=20)

    def work(band: int) -> None:
        meeting.wait()
        seen.append((band, threading.get_ident()))

    side_by_side(work, range(BANDS))
    assert sorted(band for band, _ in seen) == list(range(BANDS))
    assert len({thread for _, thread in seen}) == BANDS
    side_by_side(work, [])


def test_an_error_in_any_band_is_raised() -> None:
    def work(band: int) -> None:
        if band == BANDS - 1:
            raise ValueError("band")

    with pytest.raises(ValueError, match="band"):
        side_by_side(work, range(BANDS))


def test_an_error_is_raised_when_all_bands_are_done() -> None:
    failed, done = threading.Event(), threading.Event()

    def work(band: int) -> None:
        if band == 0:
            failed.set()
            raise ValueError("first")
        failed.wait(20)
        time.sleep(0.05)
        done.set()

    with pytest.raises(ValueError, match="first"):
        side_by_side(work, range(BANDS))
    assert done.is_set()
