"""The lamps mirrored in the eyes: where the cornea, a small ball, reflects each of them toward the viewer.

A catchlight stays with the light: it moves over the iris when the eye turns, and not with it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.ops import horizon
from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.lighting import Lighting, area_spread
from narrate_stream.renderer import GBuffer
from narrate_stream.shading import LARGE, atlas_scale
from narrate_stream.types import Image

F64 = NDArray[np.float64]
CORNEA, BEHIND = 0.78, 0.42  # cm: radius of the cornea; how far its centre lies behind the middle of the iris
MIRRORED = 0.025  # share of light that the cornea reflects squarely
SMALLEST = 0.035  # cm: radius of a catchlight's core; what is smaller is dimmer in proportion, as a lens blurs it
BRIGHTEST = 1.6  # linear, of the catchlight of a bare lamp
REACH = 0.75  # cm from the middle of the iris within which a reflection lies on the cornea


class Catchlights:
    """Adds catchlights to lit pictures of one model."""

    def __init__(self, model: HybridModel) -> None:
        self.model = model
        self._boxes = [eye_boxes(model, side) for side in (1, 2)]
        k = atlas_scale(model)
        h, w = model.horizons.shape[1:]
        places = [np.clip(boxes[0, 4:] * k, 0, [w - 1, h - 1]).astype(int) for boxes in self._boxes if len(boxes)]
        self._horizons = [model.horizons[:, y : y + 1, x : x + 1] for x, y in places]

    def __call__(self, picture: Image, gbuffer: GBuffer, lighting: Lighting) -> None:
        """Into `picture` (H, W, 3) sRGB, in place: the small lamps of a light, where eyes are uncovered."""
        if lighting.original:
            return
        seen = [i for i, boxes in enumerate(self._boxes) if len(boxes)]
        for which, planes in zip(seen, self._horizons, strict=True):
            for d, colour, softness in zip(lighting.directions, lighting.colours, lighting.softness, strict=True):
                if softness >= LARGE:
                    continue
                shown = horizon.seen(planes, gbuffer.rotation.T @ d, area_spread(float(softness)))
                light = colour * (1 - lighting.share) * float(shown[0, 0])
                self._add(picture, gbuffer, which, np.asarray(d, np.float64), light, float(softness))

    def _add(self, picture: Image, gbuffer: GBuffer, which: int, d: F64, light: F64, softness: float) -> None:
        """One lamp in one eye."""
        x, y, unit = gbuffer.eyes[which, :3]
        offset = reflection(d, gbuffer.eyes[which, 3:])
        size, level = spot(softness)
        if offset is None or float(light.max()) * level < 0.02:
            return
        at = np.array([x + offset[0] * unit, y - offset[1] * unit])
        radius = size * unit
        lo = np.floor(at - radius - 1.5).astype(int)
        hi = np.ceil(at + radius + 2.5).astype(int)
        if (lo < 0).any() or (hi >= [picture.shape[1], picture.shape[0]]).any():
            return
        box = np.s_[lo[1] : hi[1], lo[0] : hi[0]]
        gy, gx = np.mgrid[box]
        # at least a pixel's worth of area: a spot smaller than a pixel is dimmer, not larger
        cover = np.clip(max(radius, 0.56) - np.hypot(gx - at[0], gy - at[1]) + 0.5, 0, 1)
        cover *= min(1.0, (radius / 0.56) ** 2) * self._uncovered(gbuffer, which, box)
        linear = linear_table()[picture[box]] + (cover[..., None] * light * level).astype(np.float32)
        picture[box] = (srgb_from_linear(linear) * 255 + 0.5).astype(np.uint8)

    def _uncovered(self, gbuffer: GBuffer, which: int, box: tuple[slice, slice]) -> NDArray[np.float32]:
        """(h, w) 1 where the eye itself is seen, not its lids, soft at their edge."""
        x, y = gbuffer.map_x[box] / gbuffer.texture_scale, gbuffer.map_y[box] / gbuffer.texture_scale
        inside = np.zeros(x.shape, np.float32)
        for left, top, width, height, *_ in self._boxes[which]:
            inside[(x >= left) & (x < left + width) & (y >= top) & (y < top + height)] = 1
        return np.asarray(cv2.blur(inside, (3, 3), borderType=cv2.BORDER_REPLICATE) * inside, np.float32)


def reflection(d: F64, axis: F64) -> F64 | None:
    """(2,) cm, right and up from the middle of the iris, where a cornea that looks along `axis` (3,) mirrors a lamp in
    direction d (3,) to a viewer at (0, 0, 1); None where it does not."""
    half = d / (np.linalg.norm(d) + 1e-9) + [0, 0, 1]
    length = float(np.linalg.norm(half))
    if length < 0.4:  # from right behind
        return None
    at = (CORNEA * half / length - BEHIND * axis)[:2]
    return np.asarray(at) if float(np.hypot(*at)) < REACH else None


def spot(softness: float) -> tuple[float, float]:
    """Radius in cm of a lamp's mirror image, and its radiance over the lamp's shading."""
    spread = max(area_spread(softness), 1e-3)
    image = 0.5 * spread * CORNEA  # the half vector turns half as far
    size = max(image, SMALLEST)
    return size, min(BRIGHTEST, MIRRORED / spread**2 * (image / size) ** 2)


def eye_boxes(model: HybridModel, side: int) -> NDArray[np.float32]:
    """(n, 6) the cells of one eye (1 right, 2 left): iris and ball, which are seen at the same place."""
    source = model.source[model.eye == side]
    if len(source) == 0 or len(model.cells) == 0:
        return np.zeros((0, 6), np.float32)
    x, y = source[:, :2].mean(0)
    left, top, width, height = model.cells[:, :4].T
    iris = np.flatnonzero((x >= left) & (x < left + width) & (y >= top) & (y < top + height))
    same = np.abs(model.cells[:, 4:] - model.cells[iris[:1], 4:]).max(1) < 0.5 if len(iris) else np.zeros(0, np.bool_)
    return model.cells[same] if len(iris) else np.zeros((0, 6), np.float32)
