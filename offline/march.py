"""Marching over a map of points: how high they rise, seen from another point, in one azimuth."""

from __future__ import annotations

import cv2
import numpy as np

from narrate_stream.types import Array

NOWHERE = -1e4  # z of what casts no shadow


def highest(
    points: Array, x: Array, y: Array, start: Array, turn: float, *, steps: int, nearest: float, slack: float = 0.0
) -> Array:
    """(h, w) the highest elevation, radians, of points (H, W, 3) seen from `start` (h, w, 3), which lies at x, y (h, w)
    of their map, in the azimuth `turn` (radians, `ops.horizon`); -pi/2 where there are none.

    Steps grow; what lies nearer than `nearest` cm beside a point does not count, and what lies nearer than 1 cm by up
    to `slack` radians less. Distances are those of the points themselves, so that a camera's perspective does not bend
    the shadows.
    """
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    out = np.full(x.shape, -np.pi / 2, np.float32)
    for t in np.geomspace(1.0, 0.6 * max(points.shape[:2]), steps).astype(np.float32):
        there = cv2.remap(
            points,
            x + t * cos,
            y - t * sin,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, NOWHERE),
        )
        step = there - start
        along = step[..., 0] * cos + step[..., 1] * sin
        rise = np.arctan(step[..., 2] / np.maximum(along, nearest))
        if slack:
            rise -= slack * np.maximum(1 - along, 0)
        np.maximum(out, np.where(along > nearest, rise, -np.pi / 2), out=out)
    return out
