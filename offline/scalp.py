"""Hair where nobody saw it: crown and back of the head, continued from the hair that the photograph shows.

Colour goes on smoothly; strands go on as if mirrored in the border of what was seen. All of it happens in a *chart*, a
picture of the scalp from above, in which front, crown and back hang together.

Convention: textures of the shell as in `offline/complete.py`; chart (2 R + 1, 2 R + 1), crown in the middle.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.types import Array
from offline.parts import F64, nearest_true
from offline.preprocess import push_pull

REACH = 0.72  # of the texture's rows, from the crown, are in the chart
SOFT = 6.0  # texels: finer than this is strands, coarser is colour
SHALLOW, DEEP = 4.0, 60.0  # texels: how far back into seen hair the mirror looks
STRANDS = 0.85  # of the strands' contrast is kept
ALIKE = 2.2  # deviations from the colour of the face's skin within which a texel is skin


def to_chart(values: Array, period: int) -> Array:
    """(n, n[, C]) chart of a texture (h, w[, C]) that repeats after `period` columns."""
    reach = int(REACH * values.shape[0])
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    column = (np.arctan2(x, y) / (2 * np.pi)) % 1 * period
    wide = np.concatenate([values[:, :period], values[:, :2]], 1).astype(np.float32)
    radius = np.hypot(x, y)
    return np.asarray(cv2.remap(wide, column, radius, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def from_chart(chart: Array, shape: tuple[int, ...], period: int) -> Array:
    """(h, w[, C]) texture of a chart; below the chart its rim goes on."""
    reach = chart.shape[0] // 2
    angle = np.arange(shape[1]) % period * 2 * np.pi / period
    radius = np.minimum(np.arange(shape[0]), reach)[:, None]
    x, y = (np.asarray(reach + radius * f(angle), np.float32) for f in (np.sin, np.cos))
    whole = chart.astype(np.float32)
    return np.asarray(cv2.remap(whole, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def mirror_places(known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(h, w, 2) column and row from which each pixel takes its strands: itself where `known`; else its mirror image in
    the border of the known, to and fro within it when the known is narrower than the pixel is far."""
    h, w = known.shape
    near = nearest_true(known)
    here = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float64)
    far = np.linalg.norm(near - here, axis=-1)
    inward = (near - here) / np.maximum(far, 1e-6)[..., None]
    depth = np.full((h, w), DEEP)
    for step in np.arange(DEEP, 0, -2.0):  # the last to be set is the nearest exit
        x, y = np.moveaxis(np.round(near + inward * step).astype(int), -1, 0)
        out = (x < 0) | (y < 0) | (x >= w) | (y >= h)
        out |= ~known[np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)]
        depth = np.where(out, step - 2, depth)
    depth = np.maximum(cv2.GaussianBlur(cv2.erode(depth, np.ones((7, 7))), (0, 0), 3.0), SHALLOW)
    back = depth - np.abs(depth - far % (2 * depth))
    return np.asarray(np.where(known[..., None], here, near + inward * back[..., None]), np.float32)


def grown_hair(colour: Array, known: NDArray[np.bool_], period: int) -> Array:
    """(h, w, 3) colour where `known` (h, w), hair like it elsewhere; `known` must have some texels."""
    weight = known.astype(np.float32)
    chart, sure = to_chart(colour, period), to_chart(weight, period)
    seen = cv2.erode((sure > 0.9).astype(np.uint8), np.ones((3, 3))) > 0
    if not seen.any():
        return push_pull(colour.astype(np.float32), weight)
    mask = seen.astype(np.float32)
    base = push_pull(chart, mask)
    low = cv2.GaussianBlur(chart * mask[..., None], (0, 0), SOFT)
    low /= np.maximum(cv2.GaussianBlur(mask, (0, 0), SOFT), 1e-3)[..., None]
    at = mirror_places(seen)
    strands = cv2.remap(chart - low, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    smooth = cv2.GaussianBlur(base, (0, 0), SOFT)
    return np.asarray(np.clip(from_chart(smooth + STRANDS * strands, known.shape, period), 0, 1))


def like_skin(colour: Array, skin: Array) -> NDArray[np.bool_]:
    """(h, w) true where a linear `colour` (h, w, 3) is that of the sample of `skin` (n, 3)."""
    tone: F64 = np.log(np.maximum(skin.astype(np.float64), 1e-3))
    middle = np.median(tone, 0)
    spread = np.maximum(1.48 * np.median(np.abs(tone - middle), 0), 0.1)
    off = (np.log(np.maximum(colour.astype(np.float64), 1e-3)) - middle) / spread
    return np.asarray(np.sqrt((off**2).mean(-1)) < ALIKE)
