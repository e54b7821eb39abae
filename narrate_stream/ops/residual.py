"""What F_R adds to the physical path: per texel, nine harmonics of the light's direction in three colours (paper, 4.3).

The light's own nine coefficients, sky and lamps together, times those of a texel are the shading that horizons and
normals lack there: light thrown from skin to skin.

Convention: a residual is (..., 27), three colours of nine harmonics each; its shading is relative to the albedo,
as all shading.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import rotated_sh, sh_basis
from narrate_stream.types import Array

RANGE = 0.08  # of a coefficient: three times what faces show; a byte tells 0.0006 apart
ZERO = 128
STORED = 600.0  # of coefficients as int16, in training's files


def lamp_sh(directions: NDArray[Any], colours: NDArray[Any]) -> NDArray[np.float64]:
    """(9, 3) radiance coefficients of K lamps of no size: directions (K, 3), colours (K, 3), irradiance over pi."""
    return np.asarray(np.pi * sh_basis(np.asarray(directions, np.float64)).T @ colours, np.float64)


def packed(residual: NDArray[Any]) -> NDArray[np.uint8]:
    """Bytes of coefficients; beyond RANGE they are cut off."""
    return np.asarray(np.round(np.clip(residual / RANGE, -1, 1) * (ZERO - 1) + ZERO), np.uint8)


def unpacked(stored: NDArray[np.uint8]) -> Array:
    """The inverse of `packed`."""
    return np.asarray((stored.astype(np.float32) - ZERO) * np.float32(RANGE / (ZERO - 1)), np.float32)


def spread(stored: NDArray[np.uint8], rows: int, size: tuple[int, int]) -> Array:
    """(h, w, 27) over an atlas of `size` (w, h) what is stored over the canvas, its first `rows`; none below."""
    out = np.zeros((size[1], size[0], 27), np.float32)
    out[:rows] = cv2.resize(unpacked(stored), (size[0], rows), interpolation=cv2.INTER_LINEAR)
    return out


def turned(residual: NDArray[Any], rotation: NDArray[np.float64]) -> Array:
    """The same residual (..., 27), or transfer (..., 9), of a surface turned (or mirrored) by `rotation` (3, 3)."""
    parts = residual.reshape(-1, 9) @ rotated_sh(np.eye(9), rotation).T
    return np.asarray(parts.reshape(residual.shape), np.float32)


def lit(residual: Array, sh: NDArray[Any]) -> Array:
    """(..., 3) shading that a residual (..., 27) adds under a light with coefficients sh (9, 3)."""
    by_colour = np.zeros((3, 9, 3), np.float32)
    by_colour[[0, 1, 2], :, [0, 1, 2]] = sh.T
    return np.asarray(residual.reshape(-1, 27) @ by_colour.reshape(27, 3)).reshape(*residual.shape[:-1], 3)
