"""The lamps mirrored in the eyes: where the cornea, a small ball, reflects each of them toward the viewer.

A catchlight stays with the light: it moves over the iris when the eye turns, and not with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.horizon import rise
from narrate_stream.ops.lighting import Lighting, area_spread
from narrate_stream.renderer import GBuffer
from narrate_stream.shading import LARGE, atlas_scale
from narrate_stream.types import Array, Image

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
        self._boxes = boxed = [eye_boxes(model, side) for side in (1, 2)]
        k = atlas_scale(model)
        h, w = model.horizons.shape[1:]
        at = [np.clip(boxes[:1, 4:] * k, 0, [w - 1, h - 1]).astype(int) for boxes in boxed]  # nowhere without an eye
        self._horizons: list[list[int]] = [model.horizons[:, y, x].ravel().tolist() for x, y in (a.T for a in at)]

    def __call__(self, picture: Image, gbuffer: GBuffer, lighting: Lighting) -> None:
        """Into `picture` (H, W, 3) sRGB, in place: the small lamps of a light, where eyes are uncovered."""
        if lighting.original or lighting.share >= 1:
            return
        small = [k for k, softness in enumerate(lighting.softness) if softness < LARGE]
        for which, horizon in enumerate(self._horizons):
            for k in small if horizon else ():
                d, softness = lighting.directions[k].astype(np.float64), float(lighting.softness[k])
                seen = shown(horizon, d @ gbuffer.rotation, area_spread(softness)) * (1 - lighting.share)
                if seen > 0:
                    self._add(picture, gbuffer, which, d, lighting.colours[k] * seen, softness)

    def _add(self, picture: Image, gbuffer: GBuffer, which: int, d: F64, light: Array, softness: float) -> None:
        """One lamp in one eye."""
        x, y, unit, *axis = gbuffer.eyes[which].tolist()
        offset = reflection(d, axis)
        size, level = spot(softness)
        if offset is None or float(light.max()) * level < 0.02:
            return
        cx, cy, radius = x + offset[0] * unit, y - offset[1] * unit, size * unit
        left, top = math.floor(cx - radius - 1.5), math.floor(cy - radius - 1.5)
        right, bottom = math.ceil(cx + radius + 2.5), math.ceil(cy + radius + 2.5)
        if left < 0 or top < 0 or right >= picture.shape[1] or bottom >= picture.shape[0]:
            return
        box = slice(top, bottom), slice(left, right)
        away = np.hypot(np.arange(left, right) - cx, (np.arange(top, bottom) - cy)[:, None])
        # at least a pixel's worth of area: a spot smaller than a pixel is dimmer, not larger
        cover = np.clip(max(radius, 0.56) - away + 0.5, 0, 1) * min(1.0, (radius / 0.56) ** 2)
        cover *= self._uncovered(gbuffer, which, box)
        linear = linear_table()[picture[box]] + cover[..., None] * (light * level)
        picture[box] = (srgb_from_linear(linear) * 255 + 0.5).astype(np.uint8)

    def _uncovered(self, gbuffer: GBuffer, which: int, box: tuple[slice, slice]) -> NDArray[np.float32]:
        """(h, w) 1 where the eye itself is seen, not its lids, soft at their edge."""
        x, y = gbuffer.map_x[box] / gbuffer.texture_scale, gbuffer.map_y[box] / gbuffer.texture_scale
        inside = np.zeros(x.shape, np.float32)
        for left, top, width, height, *_ in self._boxes[which]:
            inside[(x >= left) & (x < left + width) & (y >= top) & (y < top + height)] = 1
        return np.asarray(cv2.blur(inside, (3, 3), borderType=cv2.BORDER_REPLICATE) * inside, np.float32)


def shown(planes: list[int], d: F64, radius: float) -> float:
    """0..1 how much is seen of a round light in direction d (3,) over the horizon (A,) of one place: `horizon.seen`."""
    first, second, (step_a, step_b), above = rise(d, radius, len(planes))
    t = min(max(above + step_a * planes[first] + step_b * planes[second], 0.0), 1.0)
    return t * (0.4 + t * (1.8 - 1.2 * t))  # `horizon.smooth`


def reflection(d: Sequence[float] | F64, axis: Sequence[float] | F64) -> tuple[float, float] | None:
    """cm, right and up from the middle of the iris, where a cornea that looks along `axis` (3,) mirrors a lamp in
    direction d (3,), unit, to a viewer at (0, 0, 1); None where it does not."""
    length = math.sqrt(max(2 + 2 * float(d[2]), 0.0))
    if length < 0.4:  # from right behind
        return None
    right, up = (CORNEA * float(d[i]) / length - BEHIND * float(axis[i]) for i in (0, 1))
    return (right, up) if math.hypot(right, up) < REACH else None


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
