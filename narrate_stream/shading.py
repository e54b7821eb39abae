"""What the light does to one model: tables by normal for every lamp, and the horizons that hide lamps and sky (4.3).

A person has two *parts*: the head, for which a light turns when the head does, and the body, which stays. What a point
receives is the sky, less what its horizon hides of it, and every lamp, as far as it is seen over the horizon; what it
reflects toward the viewer on top are lobes (`ops.gloss`). Large lamps count as sky.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.ops import gloss
from narrate_stream.ops import horizon as horizons
from narrate_stream.ops import lighting as light_ops
from narrate_stream.ops import residual as residuals
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import EXTENT, TABLE, Lighting, decode_normals
from narrate_stream.types import Array

F64 = NDArray[np.float64]
FixedMap = tuple[NDArray[np.int16], NDArray[np.uint16]]
SAME_TURN = 0.004  # rotations nearer than this (0.2 degrees) share their shading
LARGE = 0.75  # lamps from this softness on are sky: their shadows have no edge
EVEN_SKY = 0.2820948  # shading by an even sky of coefficient 1
ORIGINAL_RANGE = (0.35, 2.6)  # how far a turn may darken or brighten the portrait under its own light
DARKEST_SKY = 0.02  # shading by the open sky below which what the horizon leaves of it is not told any more
# A person lights itself: this share of what a point of the face could see is face, neck and chest, as bright as the lit
# skin is on average. Without it the dark side of a face under one lamp is black, as in no photograph.
OWN_VIEW = 0.12


@dataclass(frozen=True)
class Part:
    """Light on one part of the person, in the part's own frame, every table by encoded normal.

    sh (9, 3) sky with the large lamps; sheen (L, L, 3) its reflection;
    directions (K, 3), colours (K, 3) and radius (K,) of the lamps; lamps (K, TABLE, TABLE, 3) their shading; lobes
    (K, L, L, 3) their highlights of colour 1: broad and sharp by normal, hair by tangent. L is `gloss.SIDE`."""

    sh: Array
    sheen: Array
    directions: F64
    colours: Array
    radius: F64
    lamps: Array
    lobes: Array

    @cached_property
    def ambient(self) -> Array:
        """(TABLE, TABLE, 3) shading by the open sky."""
        return np.maximum(light_ops.sh_shading(self.sh, normals_of(TABLE)), 0).astype(np.float32)

    @cached_property
    def whole(self) -> Array:
        """(9, 3) sky and lamps as harmonics: what a learned residual is multiplied with."""
        return np.asarray(self.sh + residuals.lamp_sh(self.directions, self.colours), np.float32)


@lru_cache(maxsize=2)
def normals_of(side: int) -> Array:
    """`table_normals` in single precision: tables are made for every frame in which the head turns."""
    return light_ops.table_normals(side).astype(np.float32)


def sky_of(lighting: Lighting) -> F64:
    """(9, 3) the sky with the large lamps, spherical harmonics."""
    large = lighting.softness >= LARGE
    lamps = zip(lighting.directions[large], lighting.colours[large], lighting.softness[large], strict=True)
    return lighting.sh + sum((light_ops.area_sh(d, c, float(s)) for d, c, s in lamps), np.zeros((9, 3)))


def part_of(lighting: Lighting, rotation: F64, sky: F64) -> Part:
    """The light as a part of the person turned by `rotation` (3, 3) receives it; sky: `sky_of` the light."""
    small = lighting.softness < LARGE
    sh = light_ops.rotated_sh(sky, rotation.T).astype(np.float32)
    directions = lighting.directions[small].astype(np.float64) @ rotation
    normals, fine = normals_of(TABLE), normals_of(gloss.SIDE)
    shade = [
        light_ops.shade_lamp(normals @ d.astype(np.float32), colour, float(softness))
        for d, colour, softness in zip(directions, lighting.colours[small], lighting.softness[small], strict=True)
    ]
    viewer = rotation.T @ np.array([0.0, 0.0, 1.0])
    lobes = [
        gloss.lobes(fine, d, viewer, float(softness))
        for d, softness in zip(directions, lighting.softness[small], strict=True)
    ]
    return Part(
        sh,
        gloss.sheen(lighting, fine @ rotation.T.astype(np.float32)).astype(np.float32),
        directions,
        lighting.colours[small].astype(np.float32),
        0.5 * lighting.softness[small].astype(np.float64),
        np.array(shade, np.float32).reshape(-1, TABLE, TABLE, 3),
        np.array(lobes, np.float32).reshape(-1, gloss.SIDE, gloss.SIDE, 3),
    )


class Shading:
    """What both relighters share of one model, with caches: parts, the portrait's own light, horizons of the atlas."""

    def __init__(self, model: HybridModel) -> None:
        self.model = model
        self._own = self._original(light_ops.table_normals(TABLE))
        self._head: tuple[Lighting, F64, Part] | None = None
        self._still: tuple[Lighting, F64, Part] | None = None

    def head(self, lighting: Lighting, rotation: F64) -> Part:
        """The light on a head turned by `rotation` (3, 3) from the portrait."""
        last = self._head
        if last is not None and last[0] is lighting and float(np.abs(last[1] - rotation).max()) < SAME_TURN:
            return last[2]
        made = part_of(lighting, rotation, self._unturned(lighting)[0])
        self._head = lighting, rotation.copy(), made
        return made

    def body(self, lighting: Lighting) -> Part:
        """The light on shoulders that stay."""
        return self._unturned(lighting)[1]

    def _unturned(self, lighting: Lighting) -> tuple[F64, Part]:
        if self._still is None or self._still[0] is not lighting:
            sky = sky_of(lighting)
            self._still = lighting, sky, part_of(lighting, np.eye(3), sky)
        return self._still[1:]

    def original(self, lighting: Lighting, rotation: F64) -> Array:
        """(TABLE, TABLE, 3) by how much a part turned by `rotation` in the portrait's own room gets brighter, with that
        light graded as in `lighting`."""
        light = rotation_from_angles(lighting.turn, 0, 0)  # normals turned back see it where it was
        turned = self._original(light_ops.table_normals(TABLE) @ rotation.T @ light)
        return (np.clip(turned / self._own, *ORIGINAL_RANGE) * lighting.gain).astype(np.float32)

    def _original(self, normals: F64) -> F64:
        shading = (light_ops.sh_basis(normals) * light_ops.COSINE) @ self.model.light
        return np.repeat(np.maximum(shading, 0.22)[..., None], 3, -1)

    @cached_property
    def atlas(self) -> Atlas:
        """The atlas at the resolution of the horizons."""
        return atlas_of(self.model)

    def openness(self, part: Part) -> Array:
        """(h, w, 3) over the small atlas: what the horizons leave of the sky's light."""
        atlas = self.atlas
        whole = np.maximum((light_ops.sh_basis(atlas.normals) * light_ops.COSINE) @ part.sh, DARKEST_SKY)
        return np.asarray(np.clip(np.maximum(atlas.transfer @ part.sh, 0) / whole, 0, 1), np.float32)


@dataclass(frozen=True)
class Atlas:
    """Texels of a model's atlas, in any arrangement (h, w): planes (A, h, w) bytes of horizons; normals (h, w, 3); map:
    where the normals lie in a shading table; head (h, w) weight; transfer (h, w, 9) shading by spherical harmonics over
    the horizons; radiosity (h, w, 3): what a texel, lit with shading 1, gives to `OWN_VIEW` of the others; residual
    (h, w, 27): what F_R adds (`ops.residual`), None where the model has none."""

    planes: NDArray[np.uint8]
    normals: Array
    map: FixedMap
    head: Array
    transfer: Array
    radiosity: Array
    residual: Array | None = None

    @cached_property
    def open_sky(self) -> Array:
        """(h, w) 0..1 how much of an even sky is left."""
        return np.asarray(np.clip(self.transfer[..., 0] / EVEN_SKY, 0, 1), np.float32)

    def chosen(self, texels: NDArray[np.intp]) -> Atlas:
        """The texels (r, c), flat indices, arranged as these."""
        row, column = np.divmod(texels, self.head.shape[1])
        return Atlas(
            np.ascontiguousarray(self.planes[:, row, column]),
            self.normals[row, column],
            (self.map[0][row, column], self.map[1][row, column]),
            self.head[row, column],
            self.transfer[row, column],
            self.radiosity[row, column],
            None if self.residual is None else self.residual[row, column],
        )

    def received(self, part: Part) -> tuple[Array, list[Array]]:
        """(h, w, 3) shading by a part's light, and K of (h, w) 0..1, how much of each lamp is seen."""
        lit = np.maximum(self.transfer.reshape(-1, 9) @ part.sh, 0).reshape(*self.head.shape, 3)
        shadows = [horizons.seen(self.planes, d, float(r)) for d, r in zip(part.directions, part.radius, strict=True)]
        for table, shadow in zip(part.lamps, shadows, strict=True):
            cv2.accumulateProduct(cv2.remap(table, *self.map, cv2.INTER_LINEAR), cv2.merge([shadow] * 3), lit)
        learned = self.learned(part)
        return (lit if learned is None else np.maximum(lit + learned, 0)), shadows

    def learned(self, part: Part) -> Array | None:
        """(h, w, 3) what F_R adds to a part's light; the same few products whatever the light."""
        return None if self.residual is None else residuals.lit(self.residual, part.whole)

    def bounce(self, diffuse: Array) -> Array:
        """(3,) shading by the light that the lit person throws back on itself, lit with `diffuse` (h, w, 3)."""
        return np.asarray(np.einsum("hwc,hwc->c", diffuse, self.radiosity), np.float32)


def atlas_of(model: HybridModel) -> Atlas:
    """The small atlas of a model."""
    size = atlas_size(model)
    rows = model.horizons.shape[1]
    planes = atlas_planes(model, size)
    small = cv2.resize(model.surface, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    normals = decode_normals((small[..., :2] * 2 - 1) * EXTENT).astype(np.float32)
    weight = small[..., 2] * cv2.resize(model.alpha, size, interpolation=cv2.INTER_AREA) / np.float32(255)
    weight[rows:] = 0
    flat = cv2.resize(linear_table()[model.albedo], size, interpolation=cv2.INTER_AREA)
    radiosity = OWN_VIEW * flat * (weight / max(float(weight.sum()), 1e-6))[..., None]
    return Atlas(
        planes,
        normals,
        fixed_map(small[..., :2], TABLE),
        np.ascontiguousarray(small[..., 2]),
        horizons.transfer(planes, normals),
        radiosity.astype(np.float32),
        spread_residual(model, size),
    )


def spread_residual(model: HybridModel, size: tuple[int, int]) -> Array | None:
    """(h, w, 27) the model's residual over an atlas of `size` (w, h); none in the cells below the canvas."""
    if model.residual is None:
        return None
    columns, rows = size[0], model.horizons.shape[1]
    stored = residuals.unpacked(model.residual)
    out = np.zeros((size[1], columns, 27), np.float32)
    out[:rows] = cv2.resize(stored, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return out


def atlas_size(model: HybridModel) -> tuple[int, int]:
    """(w, h) of the small atlas, in texels of the horizons."""
    _, rows, columns = model.horizons.shape
    return columns, max(rows, round(model.texture.shape[0] * atlas_scale(model)))


def atlas_scale(model: HybridModel) -> float:
    """Texels of the small atlas for one of the atlas."""
    return model.horizons.shape[2] / model.canvas[0]


def atlas_planes(model: HybridModel, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(A, h, w) the horizons of canvas and cells; a cell looks out of the canvas where it is seen."""
    canvas, rows = model.horizons, model.horizons.shape[1]
    planes = np.zeros((len(canvas), size[1], size[0]), np.uint8)
    planes[:, :rows] = canvas
    for x, y, w, h, cx, cy in model.cells * atlas_scale(model):
        if cx < 0:  # seen from nowhere in the portrait: the head's far side, with the sky to itself
            continue
        down = np.arange(max(rows, int(y - 1)), min(size[1], int(np.ceil(y + h + 1))))
        across = np.arange(max(0, int(x - 1)), min(size[0], int(np.ceil(x + w + 1))))
        from_row = np.clip(np.round(down - (y + h / 2) + cy), 0, rows - 1).astype(int)
        from_column = np.clip(np.round(across - (x + w / 2) + cx), 0, size[0] - 1).astype(int)
        planes[:, down[:, None], across] = canvas[:, from_row[:, None], from_column]
    return planes


def fixed_map(encoded: Array, side: int) -> FixedMap:
    """Encoded directions (h, w, 2), 0..1, as places in a table with `side` entries a side, for `cv2.remap`."""
    at = np.ascontiguousarray(encoded[..., :2], np.float32) * np.float32(side - 1)
    first, second = cv2.convertMaps(np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1]), cv2.CV_16SC2)
    return np.asarray(first), np.asarray(second)
