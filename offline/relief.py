"""The face's relief, finer than its horizons: what throws shadows on skin, marched over without the slack that `bake`
gives to all else.

What is seen is the mesh's front, by ray queries, so that shadows are those of the mesh that is shown. A point looks out
from a little above the surface, as skin's own curve does not keep light off it: that is the cosine's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.horizon import encoded
from narrate_stream.types import Array
from offline.march import NOWHERE, highest

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
PIXEL, FINEST = 0.055, 4  # cm, a pixel of the relief: the nose's edge is as narrow; most pixels along a texel
STEPS = 64
NEAREST = 0.03  # cm: what lies nearer than this beside a point is the point itself
FOLD = 0.15  # cm: specks of the mesh's depth are narrower
ABOVE = 0.04  # cm: a point looks out from this far off the surface, or its own facets would hide the sky
# radians: a horizon that rises less than GRAZING above the surface's own plane lets light pass, which comes in beside
# the point and goes round inside the skin; SLACK below that plane everything is the cosine's business
GRAZING, SLACK = 0.08, 0.3
LEVEL = 0.11  # cm over which the surface's own plane is taken
CLEFT = 1.2  # cm within a texel: before such a step a point does not know on which side it lies
WHOLE = 0.9  # share of a texel that must be good
SPECK, PIT = 8.0, 0.5  # bytes, all azimuths together, by which a texel within so many cm is deeper: a pit of the mesh
EVEN = 0.1  # cm over which horizons are evened out: nothing on a face throws a finer shadow
ROW = 128  # points in a row of a map that has no picture's shape


@dataclass(frozen=True)
class Relief:
    """points (H, W, 3) cm, NOWHERE where nobody is; start (h, w, 3) from where the texels look out, normal (h, w, 3) of
    their own plane; good (h, w) the texels that can be marched from; texel: cm."""

    points: Array
    start: Array
    normal: Array
    good: Mask
    texel: float


def finer(texel: float) -> int:
    """Pixels of the relief along a texel of `texel` cm."""
    return int(np.clip(round(texel / PIXEL), 1, FINEST))


def odd(cm: float, unit: float, most: int) -> int:
    """The odd number of units of `unit` cm nearest to `cm`, from 3 to `most`."""
    return int(np.clip(2 * round((cm / unit - 1) / 2) + 1, 3, most))


def relief_of(camera: Camera, pixels: F64, z: F64, somebody: Mask, skin: Mask, size: tuple[int, int]) -> Relief:
    """The relief at `pixels` (H, W, 2) of the camera with depths z (H, W), where there is `somebody`; `skin` (H, W):
    where it is the mesh's; size (w, h): of the horizons, in texels."""
    count = z.shape[1] // size[0]
    unit = float(pixels[0, 1, 0] - pixels[0, 0, 0]) * -float(np.median(z[skin] if skin.any() else z)) / camera.focal
    z = np.where(skin, cv2.medianBlur(z.astype(np.float32), odd(FOLD, unit, 5)), z).astype(np.float64)
    points = camera.unproject(pixels, z)
    around = np.ones((2 * count + 1,) * 2, np.uint8)
    cleft = cv2.dilate(z, around) - cv2.erode(z, around) > CLEFT
    good = shrunk((cv2.erode(skin.astype(np.uint8), around) > 0) & ~cleft, size) > WHOLE
    good &= cv2.medianBlur(good.astype(np.uint8), 3) > 0  # none alone among those that are not
    normal = shrunk(plane_normals(camera, pixels, z, LEVEL / unit), size)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    start = shrunk(points, size) + ABOVE * normal
    points[~somebody, 2] = NOWHERE
    return Relief(points.astype(np.float32), start, normal, good, unit * count)


def shrunk(picture: NDArray[Any], size: tuple[int, int]) -> Array:
    """The picture at `size` (w, h), area-averaged."""
    return np.asarray(cv2.resize(np.ascontiguousarray(picture, np.float32), size, interpolation=cv2.INTER_AREA))


def plane_normals(camera: Camera, pixels: F64, z: F64, sigma: float) -> F64:
    """(H, W, 3) unit normals, toward the viewer, of depths z (H, W) smoothed over `sigma` pixels."""
    points = camera.unproject(pixels, cv2.GaussianBlur(z, (0, 0), sigma))
    normal = np.cross(np.gradient(points, axis=1), -np.gradient(points, axis=0))
    normal *= np.where(normal[..., 2:] < 0, -1.0, 1.0)
    return np.asarray(normal / (np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12))


def with_relief(planes: NDArray[np.uint8], relief: Relief) -> NDArray[np.uint8]:
    """The horizons (A, h, w), those of the good texels by their relief."""
    rows, columns = np.nonzero(relief.good)
    if not len(rows):
        return planes
    made, count = planes.copy(), relief.points.shape[1] / planes.shape[2]
    at = np.pad(np.arange(len(rows)), (0, -len(rows) % ROW), mode="edge").reshape(-1, ROW)
    r, c = rows[at], columns[at]
    x, y = (((n + 0.5) * count - 0.5).astype(np.float32) for n in (c, r))
    start, normal = relief.start[r, c], relief.normal[r, c]
    for k in range(len(planes)):
        turn = 2 * np.pi * k / len(planes)
        own = np.arctan2(-(normal[..., 0] * np.cos(turn) + normal[..., 1] * np.sin(turn)), normal[..., 2])
        seen = highest(relief.points, x, y, start, turn, steps=STEPS, nearest=NEAREST)
        made[k][rows, columns] = encoded(above_own(seen, own)).ravel()[: len(rows)]
    made = unspecked(made, relief.good, odd(PIT, relief.texel, 9))
    soft = (cv2.GaussianBlur(plane, (0, 0), EVEN / relief.texel) for plane in made)
    return np.stack([np.where(relief.good, a, b) for a, b in zip(soft, made, strict=True)])


def above_own(seen: Array, own: Array) -> Array:
    """(...) radians, the horizon of what is `seen` over the plane of the surface's `own`."""
    over = np.maximum(seen - own, 0)
    return np.asarray(own + over - SLACK * np.maximum(1 - over / GRAZING, 0))


def unspecked(planes: NDArray[np.uint8], where: Mask, width: int) -> NDArray[np.uint8]:
    """The horizons (A, h, w) without texels in `where` that see much less than most within `width` texels."""
    depth = planes.mean(0).astype(np.uint8)
    speck = where & (depth - cv2.medianBlur(depth, width).astype(np.float32) > SPECK)
    return np.stack([np.where(speck, cv2.medianBlur(plane, width), plane) for plane in planes])
