"""The relighter: a GBuffer and a light in, linear-light shading of the model's own normals, a picture out (paper, 4.3).

The portrait's normals are shaded where they live, in the atlas, and carried to the screen by the same backward field as
the colours: light is consistent from every view by construction. Turning the head turns the light in the head's frame.
Shadows come from the baked horizons.

`LightMapRelighter` is the fast path: light at the horizons' resolution, laid on the atlas. `ExactRelighter` is its
plain reference: normals, horizons and materials fetched per pixel and shaded there by a kernel; it also serves stills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import warp as wp
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.catchlights import Catchlights
from narrate_stream.kernels import shade
from narrate_stream.kernels.rasterise import launch
from narrate_stream.ops import horizon as horizons
from narrate_stream.ops.colour import linear_table, srgb_from_linear, srgb_table
from narrate_stream.ops.gloss import SIDE
from narrate_stream.ops.lighting import TABLE, Lighting
from narrate_stream.renderer import GBuffer, gather
from narrate_stream.shading import Part, Shading, atlas_scale, atlas_size, fixed_map
from narrate_stream.types import Array, Image

F64 = NDArray[np.float64]
Lit = tuple[Array, Array]  # (h, w, 3) diffuse shading and highlight, linear
KNEE = 0.82
ROW = 128  # texels in a row of a map that has no picture's shape
ROLL = 1 / (1 - KNEE)
HEADROOM = 1.6  # linear values up to here are told apart before the knee
DARKEST_SHINE = 0.05  # albedo below which the highlight is not divided by it any further


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


class LightMapRelighter:
    """The live relighter: light over the small atlas, laid on the atlas' colours before they are fetched. Where neither
    light nor head moves, nothing is computed. Not thread-safe."""

    def __init__(self, model: HybridModel) -> None:
        self.model, self.shading, self._catchlights = model, Shading(model), Catchlights(model)
        self.size = atlas_size(model)
        self._texels = covered_texels(model, self.size)
        self.atlas = self.shading.atlas.chosen(self._texels)
        self._places = np.full(self.size[::-1], self._texels.size, np.int32)
        self._places.reshape(-1)[self._texels] = np.arange(self._texels.size).reshape(self._texels.shape)
        surface, material = (self._chosen(a).astype(np.float32) / 255 for a in (model.surface, model.material))
        self._fine = fixed_map(surface[..., :2], SIDE)
        self._tangent = fixed_map(material[..., :2], SIDE)
        gloss, oil, hair = surface[..., 3], material[..., 2], material[..., 3]
        self._lobes = [
            np.ascontiguousarray(share)
            for share in (gloss * (1 - oil) * (1 - hair), gloss * oil * (1 - hair), gloss * hair)
        ]
        self._sheen = np.ascontiguousarray(gloss * self.atlas.open_sky)
        self._head = np.ascontiguousarray(np.repeat(surface[..., 2:3], 3, -1))
        flat, seen = (self._chosen(linear_table()[a]) for a in (model.albedo, model.texture))
        self._own = np.clip(seen / np.maximum(flat, 0.004), 0, 4)  # the portrait's own light, as a map on the albedo
        # a highlight is added to the picture; as part of a map that multiplies the albedo it is divided by it here
        self._shine = np.ascontiguousarray(1 / np.maximum(flat, DARKEST_SHINE))
        # bytes of the square root of linear light: a product there is a byte multiplication, evenly fine to the eye
        self._root = np.asarray(np.sqrt(linear_table()) * 255 + 0.5, np.uint8)
        self._grid = (np.arange(256, dtype=np.float32) / 255) ** 2 * HEADROOM
        self._encode: tuple[float, NDArray[np.uint8]] = -1.0, np.zeros(0, np.uint8)
        self._still: tuple[Part, Lit] | None = None
        self._map: tuple[Part, Array] | None = None
        self._spread: tuple[Array, Array] | None = None
        self._rooted: tuple[Image, NDArray[np.uint8]] | None = None
        self._shown: tuple[Image, Array, float, Image] | None = None

    def _chosen(self, picture: NDArray[Any]) -> NDArray[Any]:
        """The covered texels of a map of the atlas, shrunk."""
        small = cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small.reshape(-1, small.shape[-1])[self._texels])

    def light_map(self, lighting: Lighting, rotation: F64, room: F64) -> Array:
        """(h, w, 3) what the albedo is multiplied with, over the atlas; rotation and room: see `GBuffer`."""
        lit = self._light(lighting, rotation, room)
        if self._spread is None or self._spread[0] is not lit:
            # pixels at the person's edge fetch from beside it as well: the mean lies there
            flat = np.concatenate([lit.reshape(-1, 3), np.array([cv2.mean(lit)[:3]], np.float32)])
            self._spread = lit, flat.take(self._places, axis=0)
        return self._spread[1]

    def _light(self, lighting: Lighting, rotation: F64, room: F64) -> Array:
        """The same for the covered texels, (r, c, 3)."""
        if lighting.original:
            return self._original(lighting, room)
        head = self.shading.head(lighting, rotation)
        if self._map is None or self._map[0] is not head or lighting.share > 0:
            self._map = head, self._mixed(head, self.shading.body(lighting))
        if lighting.share == 0:
            return self._map[1]
        own = self._original(lighting, room) * self._own
        return np.asarray(self._map[1] + np.float32(lighting.share) * (own - self._map[1]))

    def _original(self, lighting: Lighting, room: F64) -> Array:
        """(h, w, 3) by how much the portrait's own light changes with the head's turn and its grade."""
        head, body = (
            cv2.remap(self.shading.original(lighting, turn), *self.atlas.map, cv2.INTER_LINEAR)
            for turn in (room, np.eye(3))
        )
        return np.asarray(body + (head - body) * self._head)

    def _mixed(self, head: Part, body: Part) -> Array:
        """(h, w, 3) head and body, highlights and the light that the person throws on itself included."""
        if self._still is None or self._still[0] is not body:
            self._still = body, self._lit(body)
        (diffuse, shine), still = self._lit(head), self._still[1]
        diffuse, shine = (
            cv2.add(b, cv2.multiply(cv2.subtract(a, b), self._head))
            for a, b in zip((diffuse, shine), still, strict=True)
        )
        bounce = (*map(float, self.atlas.bounce(diffuse)), 0.0)
        return np.asarray(cv2.add(cv2.add(diffuse, bounce), cv2.multiply(shine, self._shine)), np.float32)

    def _lit(self, part: Part) -> Lit:
        """(h, w, 3) shading and highlights of everything by the light of one part."""
        diffuse, shadows = self.atlas.received(part)
        shine = np.zeros_like(diffuse)
        for table, colour, shadow in zip(part.lobes, part.colours, shadows, strict=True):
            each = self._reflected(table, shadow)
            shine = cv2.add(shine, cv2.merge([cv2.multiply(each, float(c)) for c in colour]))
        if part.sheen.any():
            sheen = cv2.remap(part.sheen, *self._fine, cv2.INTER_LINEAR)
            cv2.accumulateProduct(sheen, cv2.merge([self._sheen] * 3), shine)
        return diffuse, np.asarray(shine, np.float32)

    def _reflected(self, lobes: Array, shadow: Array) -> Array:
        """(h, w) highlight of one lamp of colour 1."""
        skin = cv2.remap(np.ascontiguousarray(lobes[..., :2]), *self._fine, cv2.INTER_LINEAR)
        hair = cv2.remap(np.ascontiguousarray(lobes[..., 2]), *self._tangent, cv2.INTER_LINEAR)
        lit = cv2.multiply(hair, self._lobes[2])
        for layer, weight in zip(cv2.split(skin), self._lobes, strict=False):
            cv2.accumulateProduct(layer, weight, lit)
        return np.asarray(cv2.multiply(lit, shadow))

    def __call__(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Image, NDArray[np.uint8]]:
        """The lit core (H, W, 3) sRGB and the lit fringe (N, 3) sRGB. Pixels that nothing covers are undefined."""
        if untouched(gbuffer, lighting):
            return gbuffer.base, gbuffer.fringe_base  # the portrait itself, to the byte
        lit = self._lit_atlas(gbuffer.picture, self.light_map(lighting, gbuffer.rotation, gbuffer.room), lighting)
        core = np.asarray(gbuffer.fetched(lit), np.uint8)
        self._catchlights(core, gbuffer, lighting)
        return core, np.asarray(gbuffer.gathered(lit), np.uint8)

    def _lit_atlas(self, picture: Image, light: Array, lighting: Lighting) -> Image:
        """(h, w, 3) sRGB the whole atlas in this light; the same object while neither changes."""
        roll = roll_off(lighting)
        last = self._shown
        if last is not None and last[0] is picture and last[1] is light and last[2] == roll:
            return last[3]
        if self._rooted is None or self._rooted[0] is not picture:
            self._rooted = picture, np.asarray(cv2.LUT(picture, self._root), np.uint8)
        grown = cv2.resize(cv2.sqrt(light * np.float32(1 / HEADROOM)), picture.shape[1::-1])
        lit = cv2.multiply(self._rooted[1], grown, dtype=cv2.CV_8U)
        made = np.asarray(cv2.LUT(lit, self._curve(roll)), np.uint8)
        self._shown = picture, light, roll, made
        return made

    def _curve(self, roll: float) -> NDArray[np.uint8]:
        """(256,) sRGB bytes of the square roots of linear light."""
        if self._encode[0] != roll:
            self._encode = roll, np.asarray(srgb_from_linear(kneed(self._grid, roll)) * 255 + 0.5, np.uint8)
        return self._encode[1]


def covered_texels(model: HybridModel, size: tuple[int, int]) -> NDArray[np.intp]:
    """(r, ROW) flat indices of the texels of the small atlas that show something, with a border for interpolation, the
    last one repeated: half of the atlas is empty, and light is made for every texel asked for."""
    alpha = cv2.resize((model.alpha > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    at = np.flatnonzero(cv2.dilate(alpha.astype(np.uint8), np.ones((3, 3), np.uint8)))
    whole = -(-max(len(at), 1) // ROW) * ROW
    return np.pad(at, (0, whole - len(at)), mode="edge").reshape(-1, ROW)


@dataclass(frozen=True)
class PixelLight:
    """What the kernel needs of the light, head before body: ambient (2, TABLE, TABLE, 3) and sheen (2, SIDE, SIDE, 3);
    K lamps each, lamps (2K, TABLE, TABLE, 3), lobes (2K, SIDE, SIDE, 3), colours (2K, 3); per pixel opened (N, 4), the
    sky left by the horizon by colour and evenly, and shadows (N, 2K) 0..1 seen; added (N or 1, 3): what the person
    throws on itself, and what F_R adds."""

    ambient: Array
    sheen: Array
    lamps: Array
    lobes: Array
    colours: Array
    opened: Array
    shadows: Array
    added: Array

    def on(self, device: str) -> list[Any]:
        """The same in the kernel's order, on a device; kernels want no empty arrays."""
        tables = [
            np.concatenate([t, np.zeros_like(t[:1])]) if len(t) else np.zeros((1, *t.shape[1:]), np.float32)
            for t in (self.lamps, self.lobes)
        ]
        colours = np.concatenate([self.colours, np.zeros((1, 3), np.float32)])
        vectors = [self.ambient, self.sheen, *tables, colours]
        return [
            *(wp.array(np.ascontiguousarray(v, np.float32), dtype=wp.vec3, device=device) for v in vectors),
            wp.array(np.ascontiguousarray(self.opened), dtype=float, device=device),
            wp.array(np.pad(self.shadows, ((0, 0), (0, 1))), dtype=float, device=device),
            len(self.colours) // 2,
            wp.array(np.ascontiguousarray(self.added, np.float32), dtype=wp.vec3, device=device),
        ]


class ExactRelighter:
    """Per-pixel shading by the Warp kernel: the reference of the fast path, and the relighter of stills and of CUDA."""

    def __init__(self, model: HybridModel, device: str = "cpu") -> None:
        self.model, self.device, self.shading, self._catchlights = model, device, Shading(model), Catchlights(model)

    def __call__(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Image, NDArray[np.uint8]]:
        """As `LightMapRelighter`; uncovered pixels are black."""
        if untouched(gbuffer, lighting):
            return gbuffer.base, gbuffer.fringe_base
        h, w = gbuffer.covered.shape
        fx, fy = (np.ascontiguousarray(gbuffer.fringe_xy[:, i : i + 1]) for i in (0, 1))
        core = self._shade(gbuffer, gbuffer.base, gbuffer.covered, gbuffer.map_x, gbuffer.map_y, lighting)
        everywhere = np.ones((len(fx), 1), np.bool_)
        fringe = self._shade(gbuffer, gbuffer.fringe_base[:, None], everywhere, fx, fy, lighting)
        core = core.reshape(h, w, 3)
        self._catchlights(core, gbuffer, lighting)
        return core, fringe.reshape(-1, 3)

    def _shade(
        self,
        gbuffer: GBuffer,
        base: NDArray[np.uint8],
        covered: NDArray[np.bool_],
        x: Array,
        y: Array,
        lighting: Lighting,
    ) -> NDArray[np.uint8]:
        out = np.zeros((covered.size, 3), np.uint8)
        if covered.size == 0:
            return out
        k = 1 / gbuffer.texture_scale  # the atlas at its own size: normals are sampled, never shrunk
        pixels = [
            np.ascontiguousarray(a)
            for a in (
                covered.reshape(-1).view(np.uint8),
                base.reshape(-1, 3),
                sampled(self.model.surface, x, y, k).reshape(-1, 4),
                sampled(self.model.material, x, y, k).reshape(-1, 4),
            )
        ]
        light = (
            self._own(gbuffer, lighting, covered.size) if lighting.original else self._light(gbuffer, x, y, lighting)
        )
        d = self.device
        given = [wp.array(a, dtype=wp.uint8, device=d, copy=False) for a in pixels]
        target = wp.array(out, dtype=wp.uint8, device=d, copy=False)
        curves = [wp.array(linear_table(), dtype=float, device=d), wp.array(srgb_table(), dtype=wp.uint8, device=d)]
        tone = KNEE, roll_off(lighting)
        launch(shade.shade_pass, covered.size, [*given, *light.on(d), *curves, *tone, target], d)
        return np.asarray(target.numpy(), np.uint8)

    def _own(self, gbuffer: GBuffer, lighting: Lighting, count: int) -> PixelLight:
        """The portrait's own light on a turned head: tables, and nothing that shines or hides."""
        none = np.zeros((0, TABLE, TABLE, 3), np.float32)
        return PixelLight(
            np.stack([self.shading.original(lighting, turn) for turn in (gbuffer.room, np.eye(3))]),
            np.zeros((2, SIDE, SIDE, 3), np.float32),
            none,
            none,
            np.zeros((0, 3), np.float32),
            np.ones((count, 4), np.float32),
            np.zeros((count, 0), np.float32),
            np.zeros((1, 3), np.float32),
        )

    def _light(self, gbuffer: GBuffer, x: Array, y: Array, lighting: Lighting) -> PixelLight:
        """The light of this frame, with what of it reaches the pixels at atlas coordinates x, y (H, W)."""
        shading, atlas = self.shading, self.shading.atlas
        parts = shading.head(lighting, gbuffer.rotation), shading.body(lighting)
        k, weight = atlas_scale(self.model) / gbuffer.texture_scale, atlas.head[..., None]
        shares = list(zip((weight, 1 - weight), parts, strict=True))
        opened = np.asarray(sum(w * shading.openness(p) for w, p in shares))
        diffuse = np.asarray(sum(w * atlas.received(p)[0] for w, p in shares))
        learned = [w * added for w, p in shares if (added := atlas.learned(p)) is not None]
        risen = [
            horizons.risen(atlas.planes, d, float(r))
            for p in parts
            for d, r in zip(p.directions, p.radius, strict=True)
        ]
        hidden = [horizons.smooth(sampled(plane, x, y, k).reshape(-1)) for plane in risen]
        return PixelLight(
            np.stack([p.ambient for p in parts]),
            np.stack([p.sheen for p in parts]),
            np.concatenate([p.lamps for p in parts]),
            np.concatenate([p.lobes for p in parts]),
            np.concatenate([p.colours for p in parts]),
            sampled(np.dstack([opened, atlas.open_sky]), x, y, k).reshape(-1, 4),
            np.stack(hidden, -1) if hidden else np.zeros((x.size, 0), np.float32),
            atlas.bounce(diffuse)[None] + (sampled(learned[0] + learned[1], x, y, k).reshape(-1, 3) if learned else 0),
        )


def sampled(picture: NDArray[Any], x: Array, y: Array, k: float) -> NDArray[Any]:
    """(H, W, C) bilinear samples at coordinates of an atlas that is `k` times smaller than `picture`."""
    px, py = ((a + 0.5) * np.float32(k) - 0.5 for a in (x, y))
    if x.shape[1] == 1:
        return gather(picture, px.ravel(), py.ravel())[:, None]
    return np.asarray(
        cv2.remap(
            picture, px.astype(np.float32), py.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    )
