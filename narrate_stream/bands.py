"""Two cores and more for one picture: what is done row by row is done in bands, side by side.

OpenCV, numpy and Warp's CPU kernels let other threads run; each works on one core by itself. Whoever is free takes the
next band: where other cores are busy (an encoder, a browser), the thread that asked does it all, and waits for nobody.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

import cv2

BANDS = 4  # of a picture: more than there are cores on a small machine, for bands take longer or shorter
T = TypeVar("T")


@lru_cache(maxsize=1)
def _helpers() -> tuple[ThreadPoolExecutor, int]:
    """Threads, and how many of them; shared by all avatars of a process: one thread would make them wait for each other
    where there are more cores."""
    cv2.setNumThreads(1)  # its own threads, which wait for work in a loop, would be in the way of these
    count = max(2, os.cpu_count() or 1) - 1
    return ThreadPoolExecutor(count, thread_name_prefix="band"), count


def side_by_side(work: Callable[[T], object], bands: Iterable[T]) -> None:
    """Calls `work` for every band, in this thread and others; returns when all are done, or one has failed and nothing
    is being done any more."""
    left = deque(bands)

    def some() -> None:
        while left:
            try:
                band = left.popleft()
            except IndexError:  # another thread was quicker
                return
            work(band)

    pool, count = _helpers()
    helping = [pool.submit(some) for _ in range(min(count, len(left) - 1))]
    try:
        some()
    finally:
        left.clear()
        begun = [done for done in helping if not done.cancel()]
        wait(begun)  # whoever catches an error may use the same buffers again
    for done in begun:
        done.result()


def together(*works: Callable[[], object]) -> None:
    """Calls all of them as `side_by_side` does."""
    side_by_side(lambda work: work(), works)
