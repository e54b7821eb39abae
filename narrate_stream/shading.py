"""What the light does to one model: what each part of it receives, and the horizons that hide lamps and sky (4.3).

A person has two *parts*: the head, for which a light turns when the head does, and the body, which stays. What a point
receives is the sky, less what its horizon hides of it, and every lamp, as far as it is seen over the horizon; what it
reflects toward the viewer on top are lobes (`ops.gloss`). Large lamps count as sky.

All of it is plain here, in numpy; `kernels.light` does the same for texels and pixels, from `packed` lamps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bending import face_of, texel_corners
from narrate_stream.bundle import HybridModel
from narrate_stream.kernels.light import DARKEST_SKY, LAMP
from narrate_stream.ops import gloss
from narrate_stream.ops import horizon as horizons
from narrate_stream.ops import lighting as light_ops
from narrate_stream.ops import residual as residuals
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import EXTENT, Lighting, decode_normals
from narrate_stream.types import Array

F64 = NDArray[np.float64]
SAME_TURN = 0.004  # rotations nearer than this (0.2 degrees) share their shading
LARGE = 0.75  # lamps from this softness on are sky: their shadows have no edge
EVEN_SKY = 0.2820948  # shading by an even sky of coefficient 1
# A person lights itself: this share of what a point of the face could see is face, neck and chest, as bright as the lit
# skin is on average. Without it the dark side of a face under one lamp is black, as in no photograph. More than the
# face hides of its own sky: the chest, the hair and what of the room stands near throw light back as well (photographs
# under one lamp, ten subjects: 20.8 dB with 0.12, 21.1 with 0.18, 21.2 with 0.28, where faces begin to look flat).
OWN_VIEW = 0.18


@dataclass(frozen=True)
class Part:
    """Light on one part of the person, in the part's own frame, which `rotation` (3, 3) turns into the camera's.

    sh (9, 3) radiance of the sky with the large lamps; directions (K, 3), colours (K, 3) and softness (K,) of the small
    lamps; mirror (SIDE, SIDE, 3): what skin reflects of an environment, by encoded normal as the camera sees it; (1, 1,
    3) where there is none."""

    rotation: F64
    sh: Array
    directions: F64
    colours: Array
    softness: F64
    mirror: Array

    @property
    def viewer(self) -> F64:
        """(3,) toward the camera."""
        return np.asarray(self.rotation[2])

    @property
    def radius(self) -> F64:
        """(K,) of the lamps, radians."""
        return np.array([light_ops.area_spread(float(s)) for s in self.softness])

    def sky(self, normals: NDArray[Any]) -> Array:
        """(..., 3) shading of normals (..., 3) by the open sky."""
        return np.maximum(light_ops.sh_shading(self.sh, normals), 0).astype(np.float32)

    def lamp(self, k: int, normals: NDArray[Any]) -> Array:
        """(..., 3) shading of normals (..., 3) by lamp k, nothing in its way."""
        cosine = normals @ self.directions[k].astype(normals.dtype)
        return light_ops.shade_lamp(cosine, self.colours[k], float(self.softness[k])).astype(np.float32)

    def lobes(self, k: int, directions: NDArray[Any]) -> F64:
        """(..., 3) highlights of lamp k, were it of colour 1: see `gloss.lobes`."""
        return gloss.lobes(directions, self.directions[k], self.viewer, float(self.softness[k]))

    @cached_property
    def packed(self) -> NDArray[Any]:
        """(K,) structures, `kernels.light.Lamp`."""
        lamps = zip(self.directions, self.colours, map(float, self.softness), strict=True)
        return np.array([packed_lamp(d, colour, softness, self.viewer) for d, colour, softness in lamps], LAMP)

    @cached_property
    def whole(self) -> Array:
        """(9, 3) sky and lamps as harmonics: what a learned residual is multiplied with."""
        return np.asarray(self.sh + residuals.lamp_sh(self.directions, self.colours), np.float32)


def packed_lamp(d: F64, colour: Array, softness: float, viewer: F64) -> tuple[Any, ...]:
    """The fields of a `kernels.light.Lamp` in direction d (3,), seen from `viewer` (3,)."""
    half, fresnel = gloss.half_vector(d, viewer)
    first, second, steps, above = horizons.rise(d, light_ops.area_spread(softness))
    strength = fresnel, gloss.facing(d, viewer)
    return (
        d,
        half,
        colour,
        light_ops.wrap_of(softness),
        *gloss.widths(softness),
        *strength,
        first,
        second,
        *steps,
        above,
    )


@dataclass(frozen=True)
class Sky:
    """What of a light does not depend on how a part is turned: sh (9, 3) with the large lamps, mirror: see `Part`."""

    sh: F64
    mirror: Array


def sky_of(lighting: Lighting) -> Sky:
    """The sky of a light, the large lamps in it."""
    large = lighting.softness >= LARGE
    lamps = zip(lighting.directions[large], lighting.colours[large], lighting.softness[large], strict=True)
    sh = lighting.sh + sum((light_ops.area_sh(d, c, float(s)) for d, c, s in lamps), np.zeros((9, 3)))
    if lighting.mirror is None:
        return Sky(sh, np.zeros((1, 1, 3), np.float32))
    return Sky(sh, gloss.sheen(lighting, light_ops.table_normals(gloss.SIDE)).astype(np.float32))


def part_of(lighting: Lighting, rotation: F64, sky: Sky) -> Part:
    """The light as a part of the person turned by `rotation` (3, 3) receives it; sky: `sky_of` the light."""
    small = lighting.softness < LARGE
    return Part(
        np.asarray(rotation, np.float64),
        light_ops.rotated_sh(sky.sh, rotation.T).astype(np.float32),
        lighting.directions[small].astype(np.float64) @ rotation,
        lighting.colours[small].astype(np.float32),
        lighting.softness[small].astype(np.float64),
        sky.mirror,
    )


def room_of(lighting: Lighting, rotation: F64) -> F64:
    """(3, 3) how a part turned by `rotation` in the portrait's own room meets its light, which may be turned too."""
    return np.asarray(rotation_from_angles(lighting.turn, 0, 0).T @ rotation, np.float64)


class Shading:
    """What both relighters share of one model, with caches: parts, the portrait's own light, horizons of the atlas."""

    def __init__(self, model: HybridModel) -> None:
        self.model = model
        self._head: tuple[Lighting, F64, Part] | None = None
        self._still: tuple[Lighting, Sky, Part] | None = None

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

    def _unturned(self, lighting: Lighting) -> tuple[Sky, Part]:
        if self._still is None or self._still[0] is not lighting:
            sky = sky_of(lighting)
            self._still = lighting, sky, part_of(lighting, np.eye(3), sky)
        return self._still[1:]

    @cached_property
    def atlas(self) -> Atlas:
        """The atlas at the resolution of the horizons."""
        return atlas_of(self.model)

    def openness(self, part: Part) -> Array:
        """(h, w, 3) over the small atlas: what the horizons leave of the sky's light."""
        atlas = self.atlas
        whole = np.maximum(part.sky(atlas.normals), DARKEST_SKY)
        return np.asarray(np.clip(np.maximum(atlas.transfer @ part.sh, 0) / whole, 0, 1), np.float32)


@dataclass(frozen=True)
class Atlas:
    """Texels of a model's atlas, in any arrangement (h, w): planes (A, h, w) bytes of horizons; normals and tangents
    (of hair) (h, w, 3); head (h, w) weight; lobes (h, w, 3): how much of the broad, the sharp and the hair's highlight;
    gloss (h, w); transfer (h, w, 9) shading by spherical harmonics over the horizons; radiosity (h, w, 3): what a
    texel, lit with shading 1, gives to `OWN_VIEW` of the others; corner, by (h, w, 3): see `bending.texel_corners`;
    residual (h, w, 27): what F_R adds (`ops.residual`), None where the model has none."""

    planes: NDArray[np.uint8]
    normals: Array
    tangents: Array
    head: Array
    lobes: Array
    gloss: Array
    transfer: Array
    radiosity: Array
    corner: NDArray[np.int32]
    by: Array
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
            self.tangents[row, column],
            self.head[row, column],
            self.lobes[row, column],
            self.gloss[row, column],
            self.transfer[row, column],
            self.radiosity[row, column],
            self.corner[row, column],
            self.by[row, column],
            None if self.residual is None else self.residual[row, column],
        )

    def received(self, part: Part) -> tuple[Array, list[Array]]:
        """(h, w, 3) shading by a part's light, and K of (h, w) 0..1, how much of each lamp is seen."""
        lit = np.maximum(self.transfer.reshape(-1, 9) @ part.sh, 0).reshape(*self.head.shape, 3)
        shadows = [horizons.seen(self.planes, d, float(r)) for d, r in zip(part.directions, part.radius, strict=True)]
        for k, shadow in enumerate(shadows):
            lit += part.lamp(k, self.normals) * shadow[..., None]
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
    small, material = (
        cv2.resize(a, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        for a in (model.surface, model.material)
    )
    normals, tangents = (decode_normals((a[..., :2] * 2 - 1) * EXTENT).astype(np.float32) for a in (small, material))
    glossy, oil, hair = small[..., 3], material[..., 2], material[..., 3]
    weight = small[..., 2] * cv2.resize(model.alpha, size, interpolation=cv2.INTER_AREA) / np.float32(255)
    weight[rows:] = 0
    flat = cv2.resize(linear_table()[model.albedo], size, interpolation=cv2.INTER_AREA)
    radiosity = OWN_VIEW * flat * (weight / max(float(weight.sum()), 1e-6))[..., None]
    return Atlas(
        planes,
        normals,
        tangents,
        np.ascontiguousarray(small[..., 2]),
        np.stack([(1 - oil) * (1 - hair), oil * (1 - hair), hair], -1) * glossy[..., None],
        np.ascontiguousarray(glossy),
        horizons.transfer(planes, normals),
        radiosity.astype(np.float32),
        *texel_corners(model.source, face_of(model), atlas_scale(model), size),
        None if model.residual is None else residuals.spread(model.residual, rows, size),
    )


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
