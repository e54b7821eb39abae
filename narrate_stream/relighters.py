"""The relighter: a GBuffer and a light in, linear-light shading of the model's own normals, a picture out (paper, 4.3).

Head and body have a shading table each, indexed by the portrait's normals; turning the head turns the light in the
head's frame, which is exact and costs a table of 64 x 64. Self-shadow comes from the baked transport: for every light
how much of it each texel sees, weighed against the unshadowed shading.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import warp as wp
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.kernels import shade
from narrate_stream.kernels.rasterise import launch
from narrate_stream.ops import lighting as light_ops
from narrate_stream.ops.colour import linear_table, srgb_table
from narrate_stream.ops.lighting import EXTENT, Lighting, decode_normals
from narrate_stream.renderer import GBuffer
from narrate_stream.types import Image

F64 = NDArray[np.float64]
SHADOW_ONE = 200.0  # the byte that stands for unshadowed: reflections may brighten a little
SHADOW_STEP = np.cos(np.radians(1.5))  # the shadow map is renewed when the head has turned this far
KNEE = 0.82
ORIGINAL_RANGE = (0.35, 2.6)  # how far a turn may darken or brighten the portrait under its own light


@dataclass(frozen=True)
class Tables:
    """Shading and highlight of head and body, each (64, 64, 3) float32."""

    head: NDArray[np.float32]
    body: NDArray[np.float32]
    head_shine: NDArray[np.float32]
    body_shine: NDArray[np.float32]


class TableRelighter:
    """Relights GBuffers of one model. Not thread-safe: the shadow map is cached."""

    def __init__(self, model: HybridModel, device: str = "cpu") -> None:
        self.model, self.device = model, device
        h, w = model.transport.shape[:2]
        canvas_w, canvas_h = model.canvas
        small = cv2.resize(model.surface[:canvas_h], (w, h), interpolation=cv2.INTER_AREA).astype(np.float64) / 255
        self._small_normals = decode_normals((small[..., :2] * 2 - 1) * EXTENT)
        self._small_head = small[..., 2:3]
        self._seen = model.transport.astype(np.float32) / 255
        stage = light_ops.stage_directions(model.transport.shape[2])
        cosine = np.clip(self._small_normals @ stage.T, 0, None)
        self._ambient = ((self._seen * cosine).sum(-1) / (cosine.sum(-1) + 1e-6)).astype(np.float64)
        self._normals = light_ops.table_normals()
        self._shadow_for: tuple[Lighting, F64] | None = None
        self._shadow = np.zeros((h, w, 3), np.uint8)
        self._fixed: tuple[Lighting, NDArray[np.float32], NDArray[np.float32]] | None = None

    def shading_tables(self, lighting: Lighting, rotation: F64) -> Tables:
        """The tables of this light for a head turned by `rotation` (3, 3) from the portrait."""
        turned = self._normals @ rotation.T
        if lighting.original:
            ratio = self._original(turned) / self._original(self._normals)
            none = np.zeros((1, 1, 3), np.float32)
            return Tables(np.clip(ratio, *ORIGINAL_RANGE).astype(np.float32), np.ones_like(ratio, np.float32), none, none)
        if self._fixed is None or self._fixed[0] is not lighting:
            body = light_ops.shade_normals(lighting, self._normals).astype(np.float32)
            self._fixed = lighting, body, light_ops.highlight_normals(lighting, self._normals).astype(np.float32)
        _, body, shine = self._fixed
        head = light_ops.shade_normals(lighting, turned).astype(np.float32)
        return Tables(head, body, light_ops.highlight_normals(lighting, turned).astype(np.float32), shine)

    def _original(self, normals: F64) -> F64:
        shading = (light_ops.sh_basis(normals) * light_ops.COSINE) @ self.model.light
        return np.repeat(np.maximum(shading, 0.22)[..., None], 3, -1)

    def shadow_map(self, lighting: Lighting, rotation: F64) -> NDArray[np.uint8]:
        """(h, w, 3) bytes over the canvas, 200 = unshadowed: visible over unshadowed shading at the turned head."""
        last = self._shadow_for
        if last is not None and last[0] is lighting and _aligned(last[1], rotation):
            return self._shadow
        inverse = rotation.T
        total = light_ops.sh_shading(lighting.sh, self._small_normals).clip(0) + 1e-4
        seen = total * self._ambient[..., None]
        for d, colour, softness in zip(lighting.directions, lighting.colours, lighting.softness, strict=True):
            for towards, part in ((inverse @ d, self._small_head), (np.asarray(d, np.float64), 1 - self._small_head)):
                if float(part.max()) <= 0.004:
                    continue
                index, weight = light_ops.stage_weights(towards, self._seen.shape[2], 4 if softness < 0.5 else 10)
                visible = (self._seen[..., index] @ weight.astype(np.float32))[..., None]
                cosine = (self._small_normals @ towards)[..., None]
                lit = light_ops.soft_cosine(cosine, 0.5 * float(softness) + 0.05) * colour * part
                total, seen = total + lit, seen + lit * visible
        self._shadow = np.asarray(np.clip(seen / total, 0, 1.2) * SHADOW_ONE + 0.5, np.uint8)
        self._shadow_for = (lighting, rotation.copy())
        return self._shadow

    def __call__(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Image, NDArray[np.uint8]]:
        """The lit core (H, W, 3) sRGB and the lit fringe (N, 3) sRGB. Pixels that nothing covers are black."""
        tables = self.shading_tables(lighting, gbuffer.rotation)
        shadow = fringe_shadow = None
        if not lighting.original:
            small = self.shadow_map(lighting, gbuffer.rotation)
            shadow, fringe_shadow = self._fetch_shadow(small, gbuffer)
        h, w = gbuffer.covered.shape
        core = self._shade(gbuffer.covered.reshape(-1), gbuffer.base.reshape(-1, 3), gbuffer.surface.reshape(-1, 4), shadow, tables, lighting)
        n = len(gbuffer.fringe_base)
        fringe = self._shade(np.ones(n, np.bool_), gbuffer.fringe_base, gbuffer.fringe_surface, fringe_shadow, tables, lighting)
        return core.reshape(h, w, 3), fringe

    def _fetch_shadow(self, small: NDArray[np.uint8], gbuffer: GBuffer) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        k = small.shape[1] / (self.model.canvas[0] * gbuffer.texture_scale)
        x, y = gbuffer.map_x * k + (0.5 * k - 0.5), gbuffer.map_y * k + (0.5 * k - 0.5)
        core = cv2.remap(small, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        at = np.clip(np.round((gbuffer.fringe_xy + 0.5) * k - 0.5).astype(int), 0, [small.shape[1] - 1, small.shape[0] - 1])
        return core.reshape(-1, 3), small[at[:, 1], at[:, 0]]

    def _shade(self, covered: NDArray[np.bool_], base: NDArray[np.uint8], surface: NDArray[np.uint8],
               shadow: NDArray[np.uint8] | None, tables: Tables, lighting: Lighting) -> NDArray[np.uint8]:
        out = np.zeros((len(base), 3), np.uint8)
        if len(base) == 0:
            return out
        d = self.device
        vec = lambda t: wp.array(np.ascontiguousarray(t), dtype=wp.vec3, device=d, copy=False)  # noqa: E731
        u8 = lambda a: wp.array(np.ascontiguousarray(a), dtype=wp.uint8, device=d, copy=False)  # noqa: E731
        target = u8(out)
        given = [u8(covered.view(np.uint8)), u8(base), u8(surface), u8(out if shadow is None else shadow),
                 wp.array(linear_table(), dtype=float, device=d, copy=False), u8(srgb_table()),
                 vec(tables.head), vec(tables.body), vec(tables.head_shine), vec(tables.body_shine),
                 0 if lighting.original else 1, 0 if shadow is None else 1, 1e9 if lighting.original else KNEE, target]
        launch(shade.shade_pass, len(base), given, d)
        return np.asarray(target.numpy(), np.uint8)


def _aligned(a: F64, b: F64) -> bool:
    """Whether two head rotations differ by less than the shadow map's step."""
    return bool(((a * b).sum(0) > SHADOW_STEP).all())


def blended(a: Lighting, b: Lighting, t: float) -> Lighting:
    """Light between `a` (t = 0) and `b` (t = 1), for transitions that ease: every source fades, none jumps."""
    if t >= 1 or a.original != b.original:
        return b
    mirror = b.mirror if t > 0.5 else a.mirror
    return replace(
        b,
        name=f"{a.name}>{b.name}",
        sh=(a.sh * (1 - t) + b.sh * t).astype(np.float32),
        directions=np.concatenate([a.directions, b.directions]),
        colours=np.concatenate([a.colours * (1 - t), b.colours * t]).astype(np.float32),
        softness=np.concatenate([a.softness, b.softness]),
        mirror=mirror,
    )
