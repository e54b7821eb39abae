"""The relighter: a GBuffer and a light in, linear-light shading of the model's own normals, a picture out (paper, 4.3).

The portrait's normals are shaded where they live, in the atlas, and carried to the screen by the same backward field as
the colours: light is consistent from every view by construction. Turning the head turns the light in the head's frame.
Shadows come from the baked horizons.

`LightMapRelighter` is the fast path: light at the horizons' resolution, laid on the atlas. `ExactRelighter` is its
plain reference: normals, horizons and materials fetched per pixel and shaded there by a kernel; it also serves stills.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import warp as wp
from numpy.typing import NDArray

from narrate_stream.bending import bend_map
from narrate_stream.bundle import HybridModel
from narrate_stream.catchlights import Catchlights
from narrate_stream.creases import Creases
from narrate_stream.kernels import shade
from narrate_stream.kernels.rasterise import launch
from narrate_stream.laying import KNEE, Laying, roll_off
from narrate_stream.lightmap import LightMap, Shining, matrix, own_sky, vectors
from narrate_stream.ops import horizon as horizons
from narrate_stream.ops.colour import linear_table, srgb_table
from narrate_stream.ops.lighting import Lighting
from narrate_stream.renderer import GBuffer, gather, shrunk
from narrate_stream.shading import Part, Shading, atlas_scale, room_of
from narrate_stream.types import Array, Image


def untouched(gbuffer: GBuffer, lighting: Lighting) -> bool:
    """Whether nothing is to be done: the portrait's own light, neither graded nor on a head that turned or a face that
    moved in it."""
    neutral = lighting.turn == 0 and bool((lighting.gain == 1).all())
    still = bool(np.abs(gbuffer.room - np.eye(3)).max() < 1e-6) and len(gbuffer.bend) == 0
    return lighting.original and neutral and still


class LightMapRelighter:
    """The live relighter: light over the small atlas, laid on the atlas' colours before they are fetched. Where neither
    light nor head moves, nothing is computed. Not thread-safe."""

    def __init__(self, model: HybridModel) -> None:
        self.model, self.shading, self._catchlights = model, Shading(model), Catchlights(model)
        self.light_map = LightMap(model, self.shading)
        self._lay = Laying(model)

    def __call__(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Image, NDArray[np.uint8]]:
        """The lit core (H, W, 3) sRGB and the lit fringe (N, 3) sRGB. Pixels that nothing covers are undefined."""
        if untouched(gbuffer, lighting):
            return gbuffer.base, gbuffer.fringe_base  # the portrait itself, to the byte
        light, creased = self.light_map(gbuffer, lighting), None
        if gbuffer.creased:
            creased = self.light_map.slopes(gbuffer, lighting), gbuffer.creases
        lit = self._lay(gbuffer.picture, light, roll_off(lighting), gbuffer.seen, creased)
        core = np.asarray(gbuffer.fetched(lit), np.uint8)
        self._catchlights(core, gbuffer, lighting)
        return core, np.asarray(gbuffer.gathered(lit), np.uint8)


class ExactRelighter:
    """Per-pixel shading by the Warp kernel: the reference of the fast path, and the relighter of stills and of CUDA."""

    def __init__(self, model: HybridModel, device: str = "cpu") -> None:
        self.model, self.device, self.shading, self._catchlights = model, device, Shading(model), Catchlights(model)
        self._light = own_sky(model)
        self._head, self._body = Shining(device), Shining(device)
        self._texture: Image = np.zeros((0, 0, 3), np.uint8)
        self._creases: Creases | None = None

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
        d = self.device
        target = wp.array(out, dtype=wp.uint8, device=d, copy=False)
        given = [
            self._pixels(gbuffer, base, covered, x, y, lighting),
            self._head(self.shading.head(lighting, gbuffer.rotation)),
            self._body(self.shading.body(lighting)),
            wp.vec3(*map(float, self._bounce(lighting, gbuffer))),
            self._own(gbuffer, lighting),
            tone_of(lighting, d),
        ]
        launch(shade.shade_pass, covered.size, [*given, target], d)
        return np.asarray(target.numpy(), np.uint8)

    def _pixels(
        self,
        gbuffer: GBuffer,
        base: NDArray[np.uint8],
        covered: NDArray[np.bool_],
        x: Array,
        y: Array,
        lighting: Lighting,
    ) -> Any:
        """What lies at the pixels, at atlas coordinates x, y (H, W), and what of the light reaches them."""
        fine = 1 / gbuffer.texture_scale  # the atlas at its own size: normals are sampled, never shrunk
        k, out = atlas_scale(self.model) / gbuffer.texture_scale, shade.Pixels()
        surface, material = (sampled(a, x, y, fine).reshape(-1, 4) for a in (self.model.surface, self.model.material))
        mixed = lighting.share > 0 and not lighting.original
        own = sampled(self._portrait(gbuffer.picture.shape), x, y, 1.0) if mixed else base
        out.covered = self._bytes(covered.reshape(-1).view(np.uint8))
        out.base, out.own = self._bytes(base.reshape(-1, 3)), self._bytes(own.reshape(-1, 3))
        out.surface, out.material = self._bytes(surface), self._bytes(material)
        opened, seen = self._reaching(gbuffer, lighting)
        out.opened = wp.array(sampled(opened, x, y, k).reshape(-1, 4), dtype=wp.vec4, device=self.device)
        hidden = [horizons.smooth(sampled(plane, x, y, k).reshape(-1)) for plane in seen]
        shadows = np.stack([*hidden, np.zeros(x.size, np.float32)], -1)  # kernels want no empty arrays
        out.seen = wp.array(shadows, dtype=float, device=self.device)
        out.bend = vectors(self._bent(gbuffer, x, y), self.device)
        tilt = self._tilt(gbuffer, x, y)
        out.crease, out.kept_off = (
            vectors(tilt[:, [0, 1, 1]] * [1, 1, 0], self.device),
            vectors(tilt[:, 2:], self.device),
        )
        learned = self._learned(lighting, gbuffer)
        out.learned = vectors(
            np.zeros((0, 3)) if learned is None else sampled(learned, x, y, k).reshape(-1, 3), self.device
        )
        return out

    def _bent(self, gbuffer: GBuffer, x: Array, y: Array) -> Array:
        """(N, 3) how the expression has turned the surface at pixels with atlas coordinates x, y."""
        if len(gbuffer.bend) == 0:
            return np.zeros((x.size, 3), np.float32)
        k, atlas = atlas_scale(self.model) / gbuffer.texture_scale, self.shading.atlas
        return np.asarray(sampled(bend_map(gbuffer.bend, atlas.corner, atlas.by), x, y, k).reshape(-1, 3), np.float32)

    def _tilt(self, gbuffer: GBuffer, x: Array, y: Array) -> Array:
        """(N, 5) what creases do at pixels with atlas coordinates x, y: see `creases.Field`."""
        if not gbuffer.creased:
            return np.zeros((x.size, 5), np.float32)
        if self._creases is None or self._creases.shape != gbuffer.picture.shape[:2]:
            self._creases = Creases(self.model, gbuffer.picture)
        elif self._creases.picture is not gbuffer.picture:
            self._creases.lay_on(gbuffer.picture)
        tilt = self._creases.tilt(gbuffer.creases)
        return np.asarray(
            np.concatenate([sampled(part, x, y, 1.0).reshape(x.size, -1) for part in np.split(tilt, [2], -1)], -1),
            np.float32,
        )

    def _portrait(self, shape: tuple[int, ...]) -> Image:
        """(h, w, 3) the atlas in the portrait's own light, shrunk as a renderer shrinks it."""
        if self._texture.shape != shape:
            self._texture = shrunk(self.model.texture, (shape[1], shape[0]))
        return self._texture

    def _bytes(self, values: NDArray[np.uint8]) -> Any:
        return wp.array(np.ascontiguousarray(values), dtype=wp.uint8, device=self.device)

    def _parts(self, lighting: Lighting, gbuffer: GBuffer) -> list[tuple[Array, Part]]:
        """Head and body: their share of the texels (h, w, 1), and their light."""
        weight = self.shading.atlas.head[..., None]
        parts = self.shading.head(lighting, gbuffer.rotation), self.shading.body(lighting)
        return list(zip((weight, 1 - weight), parts, strict=True))

    def _reaching(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Array, list[Array]]:
        """Over the small atlas: (h, w, 4) what is left of the sky by colour, and of an even one; how far each lamp of
        the head and then of the body has risen (h, w)."""
        atlas, parts = self.shading.atlas, self._parts(lighting, gbuffer)
        opened = np.asarray(sum(w * self.shading.openness(p) for w, p in parts))
        risen = [
            horizons.risen(atlas.planes, d, float(r))
            for _, p in parts
            for d, r in zip(p.directions, p.radius, strict=True)
        ]
        return np.dstack([opened, atlas.open_sky]), risen

    def _learned(self, lighting: Lighting, gbuffer: GBuffer) -> Array | None:
        """(h, w, 3) over the small atlas: what F_R adds."""
        shares = [(w, self.shading.atlas.learned(p)) for w, p in self._parts(lighting, gbuffer)]
        added = [w * values for w, values in shares if values is not None]
        return np.asarray(sum(added), np.float32) if added else None

    def _bounce(self, lighting: Lighting, gbuffer: GBuffer) -> Array:
        """(3,) what the lit person throws on itself."""
        atlas = self.shading.atlas
        return atlas.bounce(np.asarray(sum(w * atlas.received(p)[0] for w, p in self._parts(lighting, gbuffer))))

    def _own(self, gbuffer: GBuffer, lighting: Lighting) -> Any:
        """The portrait's own light, as far as it shines."""
        out = shade.OwnLight()
        out.sky, out.share = self._light, 1.0 if lighting.original else float(lighting.share)
        out.head, out.body = (matrix(room_of(lighting, r)) for r in (gbuffer.room, np.eye(3)))
        out.gain = wp.vec3(*map(float, lighting.gain))
        return out


def tone_of(lighting: Lighting, device: str) -> Any:
    """How linear light becomes bytes."""
    out = shade.Tone()
    out.linear = wp.array(linear_table(), dtype=float, device=device)
    out.encode = wp.array(srgb_table(), dtype=wp.uint8, device=device)
    out.knee, out.roll = KNEE, roll_off(lighting)
    return out


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
