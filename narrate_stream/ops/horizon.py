"""Horizons: how high, in every direction round a point of the surface, the surface itself hides the sky (Max 1988).

One byte for each of a few azimuths answers for every light whether it is seen, with an edge as sharp as the light is
small, and is as cheap for the sun as for a window: what moves is a number that is compared. Baked once by
`offline.bake`; the paper's light stage has the same role (4.3).

Convention: azimuth k of A points along (cos 2 pi k / A, sin 2 pi k / A) in the plane of the picture (x right, y up);
elevation is the angle over that plane toward the viewer, radians, -pi/2 .. pi/2 as bytes 0 .. 255.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import COSINE, sh_basis, stage_directions
from narrate_stream.types import Array

AZIMUTHS = 32
SHARPEST = 0.04  # radians: half the width of the edge that a point light's shadow has; sharper, far ones show texels
SKY = 400  # directions of the sky over which hidden light is summed


def encoded(elevation: NDArray[Any]) -> NDArray[np.uint8]:
    """Bytes of elevations in radians."""
    return np.asarray(np.clip(elevation / np.pi + 0.5, 0, 1) * 255 + 0.5, np.uint8)


def horizon_toward(count: int, d: NDArray[Any]) -> tuple[int, int, float]:
    """The two of `count` planes of horizons beside direction d (3,), and the second one's share."""
    turn = math.atan2(d[1], d[0]) / (2 * math.pi) * count % count
    first = int(turn) % count
    return first, (first + 1) % count, turn - int(turn)


def seen(planes: NDArray[np.uint8], d: NDArray[Any], radius: float) -> Array:
    """(h, w) 0..1 how much is seen of a round light in direction d (3,), unit, of `radius` radians, over the horizons
    (A, h, w) bytes."""
    return smooth(risen(planes, d, radius))


def risen(planes: NDArray[np.uint8], d: NDArray[Any], radius: float) -> Array:
    """(h, w) how far that light has risen: 0 just hidden, 1 just whole; `seen` is the same, held and eased."""
    first, second, steps, above = rise(d, radius, len(planes))
    mixed = cv2.addWeighted(planes[first], steps[0], planes[second], steps[1], above, dtype=cv2.CV_32F)
    return np.asarray(mixed, np.float32)


def rise(d: NDArray[Any], radius: float, count: int = AZIMUTHS) -> tuple[int, int, tuple[float, float], float]:
    """Planes first and second, steps a and b, and above: over horizons of bytes p that light has `risen` to
    above + a p[first] + b p[second]."""
    first, second, share = horizon_toward(count, d)
    elevation = math.atan2(d[2], math.hypot(d[0], d[1]))
    scale = 0.5 / max(radius, SHARPEST)
    step = -scale * math.pi / 255
    return first, second, ((1 - share) * step, share * step), (elevation + math.pi / 2) * scale + 0.5


def smooth(t: Array) -> Array:
    """t (float32) held to 0..1 and eased at both ends: the part of a disc over a straight edge, within 0.006. In
    place."""
    np.clip(t, 0, 1, out=t)
    return np.asarray(t * (np.float32(0.4) + t * (np.float32(1.8) - np.float32(1.2) * t)))


def transfer(planes: NDArray[np.uint8], normals: Array) -> Array:
    """(h, w, 9) shading of normals (h, w, 3) by a sky of spherical harmonics, less what the horizons (A, h, w) hide:
    shading = transfer @ sh, sh (9, C) radiance."""
    out = (sh_basis(normals) * COSINE).astype(np.float32)
    sky = stage_directions(SKY)
    basis = (sh_basis(sky) * (4 / SKY)).astype(np.float32)  # 4 pi / SKY of solid angle, over pi
    for d, y in zip(sky, basis, strict=True):
        cosine = normals @ d.astype(np.float32)
        if float(cosine.max()) > 0:
            hidden = np.maximum(cosine, 0) * (1 - seen(planes, d, 2 / np.sqrt(SKY)))
            out -= hidden[..., None] * y
    return np.asarray(out, np.float32)
