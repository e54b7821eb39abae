"""Two cores for one picture: what is done row by row is done in bands, side by side.

OpenCV, numpy and Warp's CPU kernels let other threads run; each works on one core by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

BANDS = 2
T = TypeVar("T")


@lru_cache(maxsize=1)
def _helpers() -> ThreadPoolExecutor:
    """Shared by all avatars of a process: one thread would make them wait for each other where there are more cores."""
    return ThreadPoolExecutor(max(BANDS, os.cpu_count() or 1) - 1, thread_name_prefix="band")


def side_by_side(work: Callable[[T], object], bands: Sequence[T]) -> None:
    """Calls `work` for every band, the first one in this thread; returns when all are done."""
    waiting = [_helpers().submit(work, band) for band in bands[1:]]
    try:
        if bands:
            work(bands[0])
    finally:  # whoever catches an error may use the same buffers again
        wait(waiting)
    for done in waiting:
        done.result()
