"""The live light: what the albedo is multiplied with, over the texels of a model's small atlas.

What a part of the person keeps while another moves is kept: the body's light is made when the light changes, the head's
when light, head or face move, and nothing where nothing does. Of the head only what is seen is lit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import warp as wp
from numpy.typing import NDArray

from narrate_stream.bands import BANDS, side_by_side
from narrate_stream.bundle import HybridModel
from narrate_stream.creases import Creases
from narrate_stream.kernels import texels as kernels
from narrate_stream.kernels.light import LAMP, Colours9, Lamp, PartLight, Vector9
from narrate_stream.kernels.rasterise import launch
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.lighting import COSINE, Lighting
from narrate_stream.renderer import BLOCKS, GBuffer, shrunk
from narrate_stream.shading import SAME_TURN, Atlas, Part, Shading, atlas_size, room_of
from narrate_stream.types import Array

F64 = NDArray[np.float64]
DARKEST_SHINE = 0.05  # albedo below which the highlight is not divided by it any further
Work = Callable[["Band", Any, Any], None]
FAINT = 0.004  # a part's share of a texel, or the hair's of a highlight, that is none


class Band:
    """Texels of a part (n,) that one thread lights, their horizons (n, A) and learned residual (n or 0, 27), and what
    they throw on one another."""

    def __init__(self, texels: NDArray[Any], planes: NDArray[np.uint8], residual: Array) -> None:
        self.count, self.thrown = len(texels), np.zeros((1, 3), np.float32)
        self._texels = wp.array(texels, dtype=kernels.Texel, device="cpu")
        self._planes = wp.array(planes, dtype=wp.uint8, device="cpu")
        self._residual = wp.array(residual.reshape(-1, 3, 9), dtype=Colours9, device="cpu")
        self._thrown = wp.array(self.thrown, dtype=wp.vec3, device="cpu", copy=False)

    def lit(self, light: Any, bend: Any, seen: Any, below: Any, out: Any) -> None:
        """`kernels.texels.texel_pass`."""
        self.thrown[:] = 0
        given = [self._texels, self._planes, self._residual, light, bend, seen, below, self._thrown, out]
        launch(kernels.texel_pass, -(-self.count // kernels.RUN), given, "cpu")

    def changed(self, own: Any, room: Any, bend: Any, seen: Any, below: Any, out: Any) -> None:
        """`kernels.texels.own_pass`."""
        given = [self._texels, own, room, bend, seen, below, out]
        launch(kernels.own_pass, -(-self.count // kernels.RUN), given, "cpu")

    def sloped(self, light: Any, bend: Any, right: Any, up: Any) -> None:
        """`kernels.texels.slope_pass`."""
        launch(kernels.slope_pass, self.count, [self._texels, self._planes, light, bend, right, up], "cpu")

    def own_sloped(self, own: Any, room: Any, bend: Any, right: Any, up: Any) -> None:
        """`kernels.texels.own_slope_pass`."""
        launch(kernels.own_slope_pass, self.count, [self._texels, own, room, bend, right, up], "cpu")


class Layers:
    """A map (h, w, 3) made of two layers: the body's, which is kept as long as may be, and the head's on top of it."""

    def __init__(self, body: list[Band], head: list[Band], shape: tuple[int, ...]) -> None:
        self.body, self.head = body, head
        self._nothing, self._under, self._out = (vectors(np.zeros((*shape, 3)).reshape(-1, 3)) for _ in range(3))
        self.map: Array = self._out.numpy().reshape(*shape, 3)

    def lay(self, body: Work | None, head: Work) -> None:
        """Makes the head's layer, and the body's unless that is to stay; work: takes a band, what lies below, and where
        the sum goes."""
        if body is not None:
            side_by_side(lambda band: body(band, self._nothing, self._under), self.body)
            self._out.assign(self._under)  # where there is no head nothing comes on top
        side_by_side(lambda band: head(band, self._under, self._out), self.head)


class LightMap:
    """Makes the map for one model; see the module. Not thread-safe."""

    def __init__(self, model: HybridModel, shading: Shading) -> None:
        self.shading, self.size = shading, atlas_size(model)
        texels = covered_texels(model, self.size)
        flat, seen = (
            cv2.resize(linear_table()[a], self.size, interpolation=cv2.INTER_AREA)
            for a in (model.albedo, model.texture)
        )
        self._colour = np.clip(seen / np.maximum(flat, 0.004), 0, 4)  # the portrait's own light, as a map on the albedo
        # a highlight is added to the picture; as part of a map that multiplies the albedo it is divided by it here
        dark = 1 / np.maximum(flat, DARKEST_SHINE)
        head = firm(shading.atlas.head)
        body, face = (
            banded(shading.atlas, texels[share.ravel()[texels] > 0], share, dark) for share in (1 - head, head)
        )
        self._lamps, self._own = (Layers(body, face, head.shape) for _ in range(2))
        creased = np.zeros(head.shape, np.bool_)
        for field in Creases(model, shrunk(model.albedo, self.size)).fields:
            creased[field.box] |= bool(field.tilt[..., :2].any())  # what only darkens asks for no slopes
        within = texels[(creased & (head > 0)).ravel()[texels]]
        self._creased = banded(shading.atlas, within, head, dark)
        self._slopes = [vectors(np.zeros((head.size, 3))) for _ in range(2)]
        right, up = (a.numpy().reshape(*head.shape, 3) for a in self._slopes)
        self._slope_maps: tuple[Array, Array] = right, up
        self._own_weight = np.zeros((*head.shape, 3), np.float32)
        self._body, self._head = Shining(), Shining()
        self._none, self._bend = (vectors(np.zeros((n, 3))) for n in (0, len(model.vertices)))
        self._seen, self._all = (wp.full(BLOCKS * BLOCKS, 1, dtype=wp.uint8, device="cpu") for _ in range(2))
        self._light = own_sky(model)
        self._still: Part | None = None
        self._turn: float | None = None
        self._last: tuple[Lighting, F64, Array, Array] | None = None

    def __call__(self, gbuffer: GBuffer, lighting: Lighting) -> Array:
        """(h, w, 3) linear; the same object as long as nothing changes. Undefined where nothing is to be seen."""
        turn, seen = gbuffer.room if lighting.original else gbuffer.rotation, self._seen.numpy()
        last, new = self._last, bool((gbuffer.seen.ravel() > seen).any())
        if last is not None and last[0] is lighting and same(last[1], turn) and same(last[2], gbuffer.bend) and not new:
            return last[3]
        seen[:] = gbuffer.seen.ravel()
        made = self._changed(gbuffer, lighting) if lighting.original else self._lit(gbuffer, lighting)
        if lighting.share > 0:
            own = cv2.multiply(self._changed(gbuffer, lighting), self._colour)
            made = np.asarray(cv2.addWeighted(made, 1 - lighting.share, own, lighting.share, 0), np.float32)
            self._own_weight = own * np.float32(lighting.share) / np.maximum(made, 1e-4)
        self._last = lighting, turn.copy(), gbuffer.bend.copy(), made
        return made

    def _lit(self, gbuffer: GBuffer, lighting: Lighting) -> Array:
        """The map by a light, what the person throws on itself included."""
        layers, part = self._lamps, self.shading.body(lighting)
        body, head = self._body(part), self._head(self.shading.head(lighting, gbuffer.rotation))
        bend = self._bent(gbuffer)
        kept, self._still = self._still is part, part
        layers.lay(
            None if kept else lambda band, below, out: band.lit(body, self._none, self._all, below, out),
            lambda band, below, out: band.lit(head, bend, self._seen, below, out),
        )
        bounce = sum(band.thrown[0] for band in (*layers.body, *layers.head))
        return np.asarray(cv2.add(layers.map, (*map(float, bounce), 0.0)), np.float32)

    def _changed(self, gbuffer: GBuffer, lighting: Lighting) -> Array:
        """(h, w, 3) by how much the portrait's own light, as graded, changes where the head has turned in it."""
        kept, self._turn = self._turn == lighting.turn, lighting.turn
        body, head = (matrix(room_of(lighting, r)) for r in (np.eye(3), gbuffer.room))
        bend, light = self._bent(gbuffer), self._light
        self._own.lay(
            None if kept else lambda band, below, out: band.changed(light, body, self._none, self._all, below, out),
            lambda band, below, out: band.changed(light, head, bend, self._seen, below, out),
        )
        return np.asarray(cv2.multiply(self._own.map, (*map(float, lighting.gain), 0.0)), np.float32)

    def slopes(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Array, Array]:
        """Two of (h, w, 3): see `Creases.deepen`; where skin may crease. Good until the next call."""
        if lighting.original:
            return self._own_slopes(gbuffer, lighting)
        lamps = self._lamp_slopes(gbuffer, lighting)
        if lighting.share == 0:
            return lamps
        lamps = lamps[0].copy(), lamps[1].copy()
        own, weight = self._own_slopes(gbuffer, lighting), self._own_weight
        right, up = (a + (b - a) * weight for a, b in zip(lamps, own, strict=True))
        return right, up

    def _lamp_slopes(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Array, Array]:
        head, bend = self._head(self.shading.head(lighting, gbuffer.rotation)), self._bent(gbuffer)
        side_by_side(lambda band: band.sloped(head, bend, *self._slopes), self._creased)
        return self._slope_maps

    def _own_slopes(self, gbuffer: GBuffer, lighting: Lighting) -> tuple[Array, Array]:
        room, bend = matrix(room_of(lighting, gbuffer.room)), self._bent(gbuffer)
        side_by_side(lambda band: band.own_sloped(self._light, room, bend, *self._slopes), self._creased)
        return self._slope_maps

    def _bent(self, gbuffer: GBuffer) -> Any:
        """The bends of the vertices, for the kernels."""
        if len(gbuffer.bend) == 0:
            return self._none
        self._bend.numpy()[:] = gbuffer.bend
        return self._bend


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two rotations or two sets of bends are near enough to each other to share their shading."""
    if a.shape != b.shape:  # one face is at rest
        return not np.any(a) and not np.any(b)
    return a.size == 0 or float(np.abs(a - b).max()) < SAME_TURN


class Shining:
    """A part's light as the kernels take it: one structure, filled anew by every call."""

    def __init__(self, device: str = "cpu") -> None:
        self.device, self._light = device, PartLight()
        self._mirror = np.zeros((0, 0, 3), np.float32)
        self._make_room(4)

    def _make_room(self, count: int) -> None:
        """For that many lamps."""
        self._lamps = np.zeros(count, LAMP)
        self._lamps_there = wp.array(self._lamps, dtype=Lamp, device=self.device, copy=False)
        self._light.lamps = self._lamps_there

    def __call__(self, part: Part) -> Any:
        """A `kernels.light.PartLight`, good until the next call."""
        lamps, out = part.packed, self._light
        if len(lamps) > len(self._lamps):
            self._make_room(len(lamps))
        self._lamps[: len(lamps)] = lamps
        if self.device != "cpu":  # there the array is this one
            self._lamps_there.assign(self._lamps)
        if self._mirror is not part.mirror:
            self._mirror, out.mirror = part.mirror, vectors(part.mirror, self.device)
        out.sky = Colours9(*(part.sh * COSINE[:, None]).T.ravel().tolist())
        out.whole = Colours9(*part.whole.T.ravel().tolist())
        out.count, out.mirrors = len(lamps), int(len(part.mirror) > 1)
        out.rotation = matrix(part.rotation)
        return out


def matrix(values: F64) -> Any:
    """(3, 3) as Warp has it."""
    return wp.mat33(*map(float, values.ravel()))


def vectors(values: NDArray[Any], device: str = "cpu") -> Any:
    """A Warp array of vectors (..., 3)."""
    return wp.array(np.ascontiguousarray(values, np.float32), dtype=wp.vec3, device=device)


def own_sky(model: HybridModel) -> Any:
    """The light of the portrait as the kernels take it."""
    return Vector9(*(model.light * COSINE).tolist())


def firm(share: Array) -> Array:
    """Shares of 0..1; those that are nearly none or all are."""
    return np.where(share < FAINT, 0, np.where(share > 1 - FAINT, 1, share)).astype(np.float32)


def banded(atlas: Atlas, texels: NDArray[np.intp], weight: Array, dark: Array) -> list[Band]:
    """The texels (n,) of the atlas (h, w) in which a part has the share `weight` (h, w), as bands; dark (h, w, 3)."""
    bands = []
    for some in np.array_split(texels, BANDS):
        chosen = atlas.chosen(some[None])
        made = packed(chosen, some, weight.ravel()[some], dark.reshape(-1, 3)[some], weight.shape)
        bands.append(Band(made, np.ascontiguousarray(chosen.planes[:, 0].T), residual_of(chosen)))
    return bands


def residual_of(chosen: Atlas) -> Array:
    """(n, 27) of `chosen` (1, n); (0, 27) where F_R adds nothing, and then it costs nothing."""
    if chosen.residual is None or not chosen.residual.any():
        return np.zeros((0, 27), np.float32)
    return np.ascontiguousarray(chosen.residual[0])


def packed(chosen: Atlas, texels: NDArray[np.intp], weight: Array, dark: Array, shape: tuple[int, ...]) -> NDArray[Any]:
    """(n,) structures, `kernels.texels.Texel`, of texels (n,) of a map `shape` (h, w), of which `chosen` (1, n) holds
    light and material."""
    out = np.zeros(len(texels), kernels.TEXEL)
    lobes = np.concatenate([chosen.lobes[0], (chosen.gloss * chosen.open_sky)[0, :, None]], -1)
    out["place"], out["weight"], out["dark"] = texels, weight, dark
    out["normal"], out["tangent"] = chosen.normals[0], chosen.tangents[0]
    out["lobes"] = np.where(lobes < FAINT, 0, lobes)
    out["transfer"], out["radiosity"] = chosen.transfer[0] / COSINE, chosen.radiosity[0]
    out["corner"], out["by"] = chosen.corner[0], chosen.by[0]
    row, column = (at * BLOCKS // n for at, n in zip(np.divmod(texels, shape[1]), shape, strict=True))
    out["block"] = row * BLOCKS + column
    return out


def covered_texels(model: HybridModel, size: tuple[int, int]) -> NDArray[np.intp]:
    """(n,) flat indices of the texels of the small atlas that show something, with a border for interpolation: half of
    the atlas is empty."""
    alpha = cv2.resize((model.alpha > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    return np.flatnonzero(cv2.dilate(alpha.astype(np.uint8), np.ones((3, 3), np.uint8)))
