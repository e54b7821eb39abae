"""The relighter: a GBuffer and a light in, linear-light shading of the model's own normals, a picture out (paper, 4.3).

The portrait's normals are shaded once per frame where they live, in the atlas, and carried to the screen by the same
backward field as the colours: light is consistent from every view by construction. Turning the head turns the light in
the head's frame. Self-shadow comes from the baked transport: how much of every stage light each texel sees.

`LightMapRelighter` is the fast path: shading at light-map resolution, fetched with the picture. `ExactRelighter` is its
plain reference: normals fetched per pixel and shaded there by a kernel; it also serves stills.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import warp as wp
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.kernels import shade
from narrate_stream.kernels.rasterise import launch
from narrate_stream.ops import lighting as light_ops
from narrate_stream.ops.colour import linear_table, srgb_from_linear, srgb_table
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import EXTENT, TABLE, Lighting, decode_normals
from narrate_stream.renderer import GBuffer, gather
from narrate_stream.types import Array, Image

F64 = NDArray[np.float64]
LIGHT_SIZE = 192  # longer side of the canvas in the light map, texels
SHADOW_STEP = np.cos(np.radians(1.5))  # the shadow map is renewed when the head has turned this far
SAME_TURN = 0.004  # rotations nearer than this (0.2 degrees) share their shading tables
KNEE = 0.82
ROLL = 1 / (1 - KNEE)
HEADROOM = 1.6  # linear values up to here are told apart before the knee
ORIGINAL_RANGE = (0.35, 2.6)  # how far a turn may darken or brighten the portrait under its own light
DARKEST_SHINE = 0.05  # albedo below which the highlight is not divided by it any further
# A person lights itself: this share of what a point of the face could see is face, neck and chest, as bright as the lit
# skin is on average. Without it the dark side of a face under one lamp is black, as in no photograph.
OWN_VIEW = 0.12


@dataclass(frozen=True)
class Tables:
    """Shading and highlight of head and body for every encoded normal, each (TABLE, TABLE, 3) float32."""

    head: Array
    body: Array
    head_shine: Array
    body_shine: Array


def kneed(linear: NDArray[Any], roll: float = ROLL) -> NDArray[Any]:
    """Highlights above KNEE roll off instead of clipping: with ROLL toward 1, with 0 not at all."""
    over = np.maximum(linear - KNEE, 0)
    return np.where(linear > KNEE, KNEE + over / (1 + roll * over), linear)


def roll_below(white: float) -> float:
    """The roll-off that brings linear `white` to 1; 0 for what does not go above 1 anyhow."""
    return ROLL - 1 / (max(1.0, white) - KNEE)


def roll_off(lighting: Lighting) -> float:
    """How strongly highlights roll off under a light. The photograph has rolled off its own already: only what its
    exposure brings above white is fitted in below it."""
    own = roll_below(float(lighting.gain.max()))
    return own if lighting.original else ROLL + lighting.share * (own - ROLL)


def untouched(gbuffer: GBuffer, lighting: Lighting) -> bool:
    """Whether nothing is to be done: the portrait's own light, neither graded nor seen by a head that turned in it."""
    neutral = lighting.turn == 0 and bool((lighting.gain == 1).all())
    return lighting.original and neutral and bool(np.abs(gbuffer.room - np.eye(3)).max() < 1e-6)


class Shading:
    """What both relighters share: shading tables and shadow of one model, with their caches."""

    def __init__(self, model: HybridModel) -> None:
        self.model = model
        h, w = model.transport.shape[:2]
        canvas_h = model.canvas[1]
        small = cv2.resize(model.surface[:canvas_h], (w, h), interpolation=cv2.INTER_AREA).astype(np.float64) / 255
        self._normals = decode_normals((small[..., :2] * 2 - 1) * EXTENT).astype(np.float32)
        self._head = small[..., 2:3].astype(np.float32)
        self._seen = model.transport.astype(np.float32) / 255
        stage = light_ops.stage_directions(model.transport.shape[2])
        cosine = np.clip(self._normals @ stage.T, 0, None)
        self._ambient = ((self._seen * cosine).sum(-1) / (cosine.sum(-1) + 1e-6)).astype(np.float32)
        self._basis = (light_ops.sh_basis(self._normals) * light_ops.COSINE).astype(np.float32)
        cover = cv2.resize(model.alpha[:canvas_h], (w, h), interpolation=cv2.INTER_AREA) / np.float32(255)
        weight = self._head * cover[..., None]
        flat = cv2.resize(linear_table()[model.albedo[:canvas_h]], (w, h), interpolation=cv2.INTER_AREA)
        self._radiosity = np.asarray(OWN_VIEW * flat * weight / max(float(weight.sum()), 1e-6), np.float32)
        self._bounce = np.zeros(3, np.float32)
        self._atlas: dict[tuple[int, int], tuple[Array, Array]] = {}
        self._table_normals = light_ops.table_normals()
        self._own = self._original(self._table_normals)
        self._tables_for: tuple[Lighting, F64, Tables] | None = None
        self._shadow_for: tuple[Lighting, F64] | None = None
        self._shadow = np.ones((h, w, 3), np.float32)
        self._body: tuple[Lighting, Array, Array] | None = None

    def tables(self, lighting: Lighting, rotation: F64) -> Tables:
        """The tables of this light for a head turned by `rotation` (3, 3) from the portrait."""
        last = self._tables_for
        if last is not None and last[0] is lighting and float(np.abs(last[1] - rotation).max()) < SAME_TURN:
            return last[2]
        made = self._make_tables(lighting, rotation)
        self._tables_for = lighting, rotation.copy(), made
        return made

    def _make_tables(self, lighting: Lighting, rotation: F64) -> Tables:
        turned = self._table_normals @ rotation.T
        if lighting.original:
            light = rotation_from_angles(lighting.turn, 0, 0)  # normals turned back see it where it was
            head, body = (
                (np.clip(self._original(n @ light) / self._own, *ORIGINAL_RANGE) * lighting.gain).astype(np.float32)
                for n in (turned, self._table_normals)
            )
            none = np.zeros((TABLE, TABLE, 3), np.float32)
            return Tables(head, body, none, none)
        if self._body is None or self._body[0] is not lighting:
            still = light_ops.shade_normals(lighting, self._table_normals).astype(np.float32)
            self._body = lighting, still, light_ops.highlight_normals(lighting, self._table_normals).astype(np.float32)
        head = light_ops.shade_normals(lighting, turned).astype(np.float32)
        return Tables(
            head, self._body[1], light_ops.highlight_normals(lighting, turned).astype(np.float32), self._body[2]
        )

    def _original(self, normals: F64) -> F64:
        shading = (light_ops.sh_basis(normals) * light_ops.COSINE) @ self.model.light
        return np.repeat(np.maximum(shading, 0.22)[..., None], 3, -1)

    def shadow(self, lighting: Lighting, rotation: F64) -> Array:
        """(h, w, 3) over the canvas at transport size: visible over unshadowed shading, 1 = nothing in the way."""
        last = self._shadow_for
        if last is not None and last[0] is lighting and bool(((last[1] * rotation).sum(0) > SHADOW_STEP).all()):
            return self._shadow
        total = np.maximum(self._basis @ lighting.sh, 0) + np.float32(1e-4)
        seen = total * self._ambient[..., None]
        for d, colour, softness in zip(lighting.directions, lighting.colours, lighting.softness, strict=True):
            for towards, part in ((rotation.T @ d, self._head), (np.asarray(d, np.float64), 1 - self._head)):
                if float(part.max()) <= 0.004 or float(colour.max()) <= 1e-4:
                    continue
                lamps = np.zeros(self._seen.shape[2], np.float32)
                index, weight = light_ops.stage_weights(towards, len(lamps), 4 if softness < 0.5 else 10)
                lamps[index] = weight
                visible = (self._seen @ lamps)[..., None]
                cosine = (self._normals @ towards.astype(np.float32))[..., None]
                lit = (light_ops.soft_cosine(cosine, 0.5 * softness + 0.05) * part).astype(np.float32) * colour
                total, seen = total + lit, seen + lit * visible
        self._shadow = np.asarray(np.clip(seen / total, 0, 1), np.float32)
        self._bounce = np.asarray((seen * self._radiosity).sum((0, 1)), np.float32)
        self._shadow_for = (lighting, rotation.copy())
        return self._shadow

    def bounce(self, lighting: Lighting, rotation: F64) -> Array:
        """(3,) shading by the light that the lit person throws back on itself."""
        self.shadow(lighting, rotation)
        return self._bounce

    def atlas_shadow(self, lighting: Lighting, rotation: F64, size: tuple[int, int]) -> Array:
        """(H, W, 3) the shadow over the whole atlas at `size` (W, H): the canvas, and every cell as dark as its
        place."""
        canvas = self.shadow(lighting, rotation)
        cached = self._atlas.get(size)
        if cached is not None and cached[0] is canvas:
            return cached[1]
        k = size[0] / self.model.texture.shape[1]
        rows = max(1, round(self.model.canvas[1] * k))
        out = np.ones((size[1], size[0], 3), np.float32)
        out[:rows] = cv2.resize(canvas, (size[0], rows), interpolation=cv2.INTER_LINEAR)[: out.shape[0]]
        for x, y, w, h, cx, cy in self.model.cells * k:
            value = out[int(np.clip(cy, 0, rows - 1)), int(np.clip(cx, 0, size[0] - 1))]
            out[max(rows, int(y - 1)) : int(np.ceil(y + h + 1)), max(0, int(x - 1)) : int(np.ceil(x + w + 1))] = value
        self._atlas[size] = canvas, out
        return out


class LightMapRelighter:
    """The live relighter. Its cost does not depend on the kind of light. Not thread-safe: maps are cached."""

    def __init__(self, model: HybridModel) -> None:
        self.model, self.shading = model, Shading(model)
        k = min(1.0, LIGHT_SIZE / max(model.canvas))
        self.size = max(4, round(model.texture.shape[1] * k)), max(4, round(model.texture.shape[0] * k))
        surface = cv2.resize(model.surface, self.size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        self._x, self._y = (np.ascontiguousarray(surface[..., c] * (TABLE - 1)) for c in (0, 1))
        self._head = np.ascontiguousarray(np.repeat(surface[..., 2:3], 3, -1))
        flat = cv2.resize(linear_table()[model.albedo], self.size, interpolation=cv2.INTER_AREA)
        seen = cv2.resize(linear_table()[model.texture], self.size, interpolation=cv2.INTER_AREA)
        self._own = np.clip(seen / np.maximum(flat, 0.004), 0, 4)  # the portrait's own light, as a map on the albedo
        # a highlight is added to the picture; as part of a map that multiplies the albedo it is divided by it here
        self._shine = np.ascontiguousarray(surface[..., 3:4] / np.maximum(flat, DARKEST_SHINE))
        # bytes of the square root of linear light: a product there is a byte multiplication, evenly fine to the eye
        self._root = np.asarray(np.sqrt(linear_table()) * 255 + 0.5, np.uint8)
        self._grid = (np.arange(256, dtype=np.float32) / 255) ** 2 * HEADROOM
        self._encode: tuple[float, NDArray[np.uint8]] = -1.0, np.zeros(0, np.uint8)
        self._still: tuple[Lighting, Array] | None = None
        self._map: tuple[Tables, Array | None, Array] | None = None

    def light_map(self, lighting: Lighting, rotation: F64, room: F64) -> Array:
        """(h, w, 3) what the albedo is multiplied with, over the atlas; rotation and room: see `GBuffer`."""
        tables = self.shading.tables(lighting, room if lighting.original else rotation)
        shadow = None if lighting.original else self.shading.atlas_shadow(lighting, rotation, self.size)
        if self._map is not None and self._map[0] is tables and self._map[1] is shadow:
            return self._map[2]
        made = self._make_map(tables, shadow, lighting, rotation, room)
        self._map = tables, shadow, made
        return made

    def _make_map(self, tables: Tables, shadow: Array | None, lighting: Lighting, rotation: F64, room: F64) -> Array:
        if self._still is None or self._still[0] is not lighting:
            self._still = lighting, self._lit(tables.body, tables.body_shine)
        turning = self._lit(tables.head, tables.head_shine)
        still = self._still[1]
        mixed = cv2.add(still, cv2.multiply(cv2.subtract(turning, still), self._head))
        if shadow is None:
            return np.asarray(mixed, np.float32)
        bounce = (*map(float, self.shading.bounce(lighting, rotation)), 0.0)
        lit = np.asarray(cv2.add(cv2.multiply(mixed, shadow), bounce), np.float32)
        if lighting.share > 0:
            own = self.shading.tables(replace(lighting, original=True), room)
            lit += np.float32(lighting.share) * (self._lit(own.head, own.head_shine) * self._own - lit)
        return lit

    def _lit(self, diffuse: Array, shine: Array) -> Array:
        lit = cv2.remap(diffuse, self._x, self._y, cv2.INTER_LINEAR)
        return np.asarray(cv2.add(lit, cv2.multiply(cv2.remap(shine, self._x, self._y, cv2.INTER_LINEAR), self._shine)))

    def __call__(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Image, NDArray[np.uint8]]:
        """The lit core (H, W, 3) sRGB and the lit fringe (N, 3) sRGB. Pixels that nothing covers are undefined."""
        if untouched(gbuffer, lighting):
            return gbuffer.base, gbuffer.fringe_base  # the portrait itself, to the byte
        light = cv2.sqrt(self.light_map(lighting, gbuffer.rotation, gbuffer.room) * np.float32(1 / HEADROOM))
        k = self.size[0] / (self.model.texture.shape[1] * gbuffer.texture_scale)
        h, w = gbuffer.covered.shape
        # light varies slowly: half the screen's resolution is enough to sample it at
        half = (w // 2, h // 2)
        x, y = (
            cv2.resize(m, half, interpolation=cv2.INTER_NEAREST) * np.float32(k) + np.float32(0.5 * k - 0.5)
            for m in (gbuffer.map_x, gbuffer.map_y)
        )
        core = cv2.resize(cv2.remap(light, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), (w, h))
        at = np.asarray((gbuffer.fringe_xy + 0.5) * k - 0.5, np.float32)
        fringe = gather(light, at[:, 0], at[:, 1])
        return self._encoded(gbuffer.base, core, lighting), self._encoded(
            gbuffer.fringe_base[None], fringe[None], lighting
        )[0]

    def _encoded(self, base: NDArray[np.uint8], light: Array, lighting: Lighting) -> NDArray[np.uint8]:
        if base.size == 0:
            return base
        lit = cv2.multiply(cv2.LUT(base, self._root), light, dtype=cv2.CV_8U)
        return np.asarray(cv2.LUT(lit, self._curve(roll_off(lighting))), np.uint8)

    def _curve(self, roll: float) -> NDArray[np.uint8]:
        """(256,) sRGB bytes of the square roots of linear light."""
        if self._encode[0] != roll:
            self._encode = roll, np.asarray(srgb_from_linear(kneed(self._grid, roll)) * 255 + 0.5, np.uint8)
        return self._encode[1]


class ExactRelighter:
    """Per-pixel shading by the Warp kernel: the reference of the fast path, and the relighter of stills and of CUDA."""

    def __init__(self, model: HybridModel, device: str = "cpu") -> None:
        self.model, self.device, self.shading = model, device, Shading(model)
        self._surface: tuple[float, NDArray[np.uint8]] = (1.0, model.surface)

    def __call__(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Image, NDArray[np.uint8]]:
        """As `LightMapRelighter`; uncovered pixels are black."""
        if untouched(gbuffer, lighting):
            return gbuffer.base, gbuffer.fringe_base
        tables = self.shading.tables(lighting, gbuffer.room if lighting.original else gbuffer.rotation)
        h, w = gbuffer.covered.shape
        fx, fy = (np.ascontiguousarray(gbuffer.fringe_xy[:, i : i + 1]) for i in (0, 1))
        core = self._shade(gbuffer, gbuffer.base, gbuffer.covered, gbuffer.map_x, gbuffer.map_y, tables, lighting)
        everywhere = np.ones((len(fx), 1), np.bool_)
        fringe = self._shade(gbuffer, gbuffer.fringe_base[:, None], everywhere, fx, fy, tables, lighting)
        return core.reshape(h, w, 3), fringe.reshape(-1, 3)

    def _shade(
        self,
        gbuffer: GBuffer,
        base: NDArray[np.uint8],
        covered: NDArray[np.bool_],
        x: Array,
        y: Array,
        tables: Tables,
        lighting: Lighting,
    ) -> NDArray[np.uint8]:
        out = np.zeros((covered.size, 3), np.uint8)
        if covered.size == 0:
            return out
        # the atlas at its own size: normals are sampled, never shrunk
        k = 1 / gbuffer.texture_scale
        surface = sampled(self.model.surface, x, y, k)
        shadows = 0 if lighting.original else 1
        shadow, bounce = np.full((1, 3), 255, np.uint8), np.zeros(3, np.float32)
        if shadows:
            size = self.model.texture.shape[1] // 2, self.model.texture.shape[0] // 2
            dark = self.shading.atlas_shadow(lighting, gbuffer.rotation, size)
            bounce = self.shading.bounce(lighting, gbuffer.rotation)
            shadow = sampled(
                np.asarray(dark * 255 + 0.5, np.uint8), x, y, k * size[0] / self.model.texture.shape[1]
            ).reshape(-1, 3)
        d = self.device
        target = wp.array(out, dtype=wp.uint8, device=d, copy=False)
        vec = [
            wp.array(np.ascontiguousarray(t), dtype=wp.vec3, device=d, copy=False)
            for t in (tables.head, tables.body, tables.head_shine, tables.body_shine)
        ]
        u8 = [
            wp.array(np.ascontiguousarray(a), dtype=wp.uint8, device=d, copy=False)
            for a in (covered.reshape(-1).view(np.uint8), base.reshape(-1, 3), surface.reshape(-1, 4), shadow)
        ]
        curves = [wp.array(linear_table(), dtype=float, device=d), wp.array(srgb_table(), dtype=wp.uint8, device=d)]
        launch(
            shade.shade_pass,
            covered.size,
            [*u8, *curves, *vec, shadows, shadows, wp.vec3(*map(float, bounce)), KNEE, roll_off(lighting), target],
            d,
        )
        return np.asarray(target.numpy(), np.uint8)


def sampled(picture: NDArray[np.uint8], x: Array, y: Array, k: float) -> NDArray[np.uint8]:
    """(H, W, C) bilinear samples at coordinates of an atlas that is `k` times smaller than `picture`."""
    px, py = ((a + 0.5) * np.float32(k) - 0.5 for a in (x, y))
    if x.shape[1] == 1:
        return gather(picture, px.ravel(), py.ravel())[:, None]
    return np.asarray(
        cv2.remap(
            picture, px.astype(np.float32), py.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    )
