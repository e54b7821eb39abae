"""Renders maps of any mesh through the product's own rasteriser: depth and position maps, statistics, tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from narrate_stream.kernels import rasterise

F64 = NDArray[np.float64]
NEVER = 4294967295


class MapRenderer:
    """Rasterises `triangles` (T, 3) and interpolates per-vertex attributes; `kept` maps its triangles to the
    caller's."""

    def __init__(self, triangles: NDArray[Any], kept: NDArray[Any] | None = None) -> None:
        self.triangles = triangles.astype(np.int32)
        self.kept = np.arange(len(triangles)) if kept is None else kept
        self.hit: NDArray[Any] = np.zeros((0, 0), np.int64)

    def _rasterise(self, screen: F64, width: int, height: int) -> tuple[NDArray[Any], NDArray[Any]]:
        n, pixels = len(self.triangles), width * height
        vertices = wp.array(screen.astype(np.float32), dtype=wp.vec3, device="cpu")
        corners = wp.array(self.triangles, dtype=wp.vec3i, device="cpu")
        core = wp.zeros(pixels, dtype=wp.int64, device="cpu")
        fringe = wp.zeros(pixels, dtype=wp.int64, device="cpu")
        setup = wp.zeros(n, dtype=wp.mat33, device="cpu")
        opaque = wp.full(n, 1, dtype=wp.uint8, device="cpu")
        alpha = wp.full((1, 1), 255, dtype=wp.uint8, device="cpu")
        given = [vertices, vertices, corners, opaque, alpha, width, 0, height, setup, core, fringe]
        rasterise.launch(rasterise.depth_pass, n, given, "cpu")
        key = core.numpy().reshape(height, width)
        return key > 0, (key & NEVER).astype(np.int64)

    def map(self, screen: F64, values: F64, width: int, height: int, *, perspective: bool = True) -> F64:
        """(height, width, C) map of `values` (V, C); `screen` (V, 3) is x, y in pixels and 1/depth; nan outside."""
        covered, self.hit = self._rasterise(screen, width, height)
        y, x = np.nonzero(covered)
        corner = self.triangles[self.hit[y, x]]
        p = screen[corner][..., :2]

        def opposite(i: int, j: int) -> F64:
            return np.asarray(
                (p[:, j, 0] - p[:, i, 0]) * (y - p[:, i, 1]) - (p[:, j, 1] - p[:, i, 1]) * (x - p[:, i, 0])
            )

        w = np.stack([opposite(1, 2), opposite(2, 0), opposite(0, 1)], -1)
        if perspective:
            w *= screen[corner][..., 2]
        w /= w.sum(-1, keepdims=True)
        out = np.full((height, width, values.shape[1]), np.nan)
        out[y, x] = np.einsum("nk,nkc->nc", w, values[corner])
        self.hit = np.where(covered, self.hit, 0)
        return out

    def orthographic(self, points: F64, width: int, height: int) -> F64:
        """(height, width) z of the nearest surface; x and y of `points` are pixels, z any unit (larger = nearer)."""
        z = points[:, 2]
        inverse = 0.2 + 0.5 * (z - z.min()) / max(float(np.ptp(z)), 1e-9)
        screen = np.stack([points[:, 0], points[:, 1], inverse], -1)
        return self.map(screen, z[:, None], width, height, perspective=False)[..., 0]


def screen_of(points: F64, pixels: F64) -> F64:
    """(V, 3) rasteriser input from camera-space points (V, 3) and their pixels (V, 2)."""
    return np.concatenate([pixels, -1 / points[:, 2:]], -1)
