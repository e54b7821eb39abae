"""Where the canvas ends inside the picture that is shown, the person goes on as a part of the background.

The canvas is cut around head and shoulders; a photograph may show more. What lies outside is lit as background is, so
that a body which went over into it from one row to the next would show a line. It fades instead.

Convention: canvas pixels; screen = canvas * scale + (dx, dy).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
FADE = 0.12  # of the canvas' longer side


def share(
    canvas: tuple[int, int], scale: float, offset: tuple[float, float], frame: tuple[int, int], x: F64, y: F64
) -> F64:
    """(h, w) 0..1 how far the person at canvas columns x (w,) and rows y (h,) is one that moves: none at those borders
    of the canvas (W, H) that lie inside the frame (W, H), where `scale` and `offset` (dx, dy) put it."""
    along = []
    for at, size, shown, first in zip((x, y), canvas, frame, offset, strict=True):
        edges = np.array([-0.5, size - 0.5]) * scale + first
        inside = np.full(len(at), np.inf)
        if edges[0] > 0.5:
            inside = np.minimum(inside, at + 0.5)
        if edges[1] < shown - 1.5:
            inside = np.minimum(inside, size - 0.5 - at)
        t = np.clip(inside / (FADE * max(canvas)), 0, 1)
        along.append(t * t * (3 - 2 * t))
    return np.asarray(np.outer(along[1], along[0]))


def faded(
    alpha: NDArray[np.uint8], head: NDArray[np.uint8], canvas: tuple[int, int], staying: Callable[..., F64]
) -> NDArray[np.uint8]:
    """The atlas' matte (h, w), whose first rows are the canvas (W, H), fading where that ends inside the frame; no part
    of the `head` (h, w) does, which moves. `staying`: `share` of canvas, columns and rows."""
    w, h = canvas
    kept = staying(canvas, np.arange(w, dtype=np.float64), np.arange(h, dtype=np.float64))
    if kept.min() >= 1:
        return alpha
    matte = alpha.copy()
    matte[:h] = matte[:h] * np.maximum(kept, head[:h] / 255) + 0.5
    return matte


def behind(plate: F64, photograph: F64, cover: F64, staying: F64) -> F64:
    """(h, w, 3) what lies behind a person of coverage `cover` (h, w, 1) of which only the share `staying` (h, w, 1) is
    laid over it, so that the portrait at rest is the `photograph` (h, w, 3) again; `plate`: it without the person."""
    rest = 1 - cover * staying
    return np.asarray(((1 - cover) * plate + cover * (1 - staying) * photograph) / np.maximum(rest, 1e-3))
