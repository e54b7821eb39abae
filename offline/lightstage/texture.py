"""Solid texture: noise, soft masks and looks into painted maps, as functions of points on the neutral average head."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
RGB = tuple[float, float, float]


def look(image: F32, at: NDArray[np.floating[Any]]) -> F32:
    """(N, C) bilinear samples of `image` (A, B, C) at (2, N) indices, held at the edges."""
    count, width = at.shape[1], 256
    grid = np.zeros((2, -(-count // width) * width), np.float32)  # OpenCV takes no side longer than 32767
    grid[:, :count] = at
    rows, columns = grid.reshape(2, -1, width)
    out = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out.reshape(grid.shape[1], -1)[:count], np.float32)


@lru_cache(maxsize=4)
def _cloud(slope: float, low: float, high: float) -> F32:
    """(64 * 65, 65) periodic 64^3 noise of unit variance, amplitude ~ frequency^-slope between two cycle counts; its
    slices lie under one another, each with its first row and column repeated at its end."""
    k = np.fft.fftfreq(64, 1 / 64)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None] ** 2)
    gain = np.where((radius >= low) & (radius <= high), np.maximum(radius, 1) ** -slope, 0)
    white = np.random.default_rng(7).standard_normal((64, 64, 64))
    field = np.fft.ifftn(np.fft.fftn(white) * gain).real
    wrapped = np.pad(field / field.std(), ((0, 0), (0, 1), (0, 1)), mode="wrap")
    return np.asarray(wrapped.reshape(64 * 65, 65), np.float32)


def noise(seed: int, points: F32, tile: float, layer: int, *, fine: bool = False) -> F32:
    """(N,) noise of unit variance that repeats after `tile` cm; `layer` makes fields of one `seed` independent."""
    atlas = _cloud(0.0, 10, 24) if fine else _cloud(2.3, 1, 26)
    shift = np.random.default_rng((seed, layer)).uniform(0, 64, 3).astype(np.float32)
    at = points.T * np.float32(64 / tile) + shift[:, None]
    at -= 64 * np.floor(at / 64)
    whole = np.floor(at[0])
    # Two bilinear looks and a blend: three times as fast as scipy's map_coordinates.
    near = look(atlas, np.stack([(whole % 64) * 65 + at[1], at[2]]))[:, 0]
    far = look(atlas, np.stack([((whole + 1) % 64) * 65 + at[1], at[2]]))[:, 0]
    return np.asarray(near + (far - near) * (at[0] - whole), np.float32)


def f32(values: Any) -> F32:
    """`values` as an array of float32."""
    return np.asarray(values, np.float32)


def smoothstep(x: NDArray[np.floating[Any]], low: float, high: float) -> F32:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def blob(points: F32, centre: tuple[float, float, float], radius: tuple[float, float, float]) -> F32:
    """(N,) Gaussian bump, the same on both sides of the face."""
    x, y, z = points.T
    squared = ((np.abs(x) - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2
    return np.asarray(np.exp(-0.5 * (squared + ((z - centre[2]) / radius[2]) ** 2)), np.float32)


def mix(under: F32, over: F32 | RGB, amount: F32) -> F32:
    """(N, 3): `amount` (N,) of `over`, an RGB or (N, 3), on `under` (N, 3)."""
    return np.asarray(under + (np.asarray(over, np.float32) - under) * amount[:, None], np.float32)
