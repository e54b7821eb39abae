"""The renderer: rasterise the deformed and posed mesh once, fetch albedo and the model's own normals (paper, 4.3).

What comes out is a `GBuffer`: the seam between geometry and light. The normals fetched are those of the portrait, never
re-estimated per view; the relighter turns the light into the head's frame instead, and normals as the expression does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import warp as wp
from numpy.typing import NDArray

from narrate_stream import outskirts
from narrate_stream.bands import BANDS, side_by_side, together
from narrate_stream.bending import NONE, Bending
from narrate_stream.bundle import HybridModel
from narrate_stream.deformer import EYE_RADIUS, Deformer
from narrate_stream.kernels import rasterise, silhouette
from narrate_stream.ops.creases import SHALLOWEST, amplitudes
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, AvatarMotion, Image, MotionField

F64 = NDArray[np.float64]
GATHER_ROW = 256
BLOCKS = 64  # a side, of the atlas: what is seen of it is told by the block
STRIP = 32  # rows fetched at once, from the first to the last column that something covers


@dataclass(frozen=True)
class GBuffer:
    """One rendered view before light. `core` pixels are opaque, `fringe` pixels lie over core or background.

    covered (H, W) bool; picture (h, w, 3) u8 sRGB of the atlas asked for, shrunk by texture_scale; map_x, map_y (H, W)
    coordinates (-1: nothing) in it: the backward field source_from_screen, through which a relighter fetches what it
    needs, and the same in fixed point (`fetched`); fringe_pixel (N,) which pixels; fringe_alpha (N,) 0..1
    and fringe_xy (N, 2) atlas coordinates; seen (BLOCKS, BLOCKS) which parts of the atlas either is interpolated from;
    rotation (3, 3): how far the head is turned from the portrait, as the camera sees it; room (3, 3): the same without
    what the viewer turned, as the light of the portrait's room sees it; bend: how the expression has turned the
    surface of the head at its vertices (V, 3), see `bending`, or (0, 3) for a face at rest; creases (G + 3,): how deep
    those of the skin are, see `ops.creases`, none at rest; eyes (2, 6), right and left: where the middle of the iris
    is seen (pixels), pixels per cm there, and the direction in which the eye looks, camera space.
    """

    covered: NDArray[np.bool_]
    picture: Image
    texture_scale: float
    map_x: Array
    map_y: Array
    fixed: tuple[NDArray[np.int16], NDArray[np.uint16]]
    fringe_pixel: NDArray[np.int32]
    fringe_alpha: Array
    fringe_xy: Array
    seen: NDArray[np.bool_]
    rotation: F64
    room: F64
    bend: Array
    creases: Array
    eyes: F64

    def fetched(self, picture: NDArray[Any]) -> NDArray[Any]:
        """(H, W, C) a picture of the atlas as the screen shows its core; undefined where nothing is."""
        out = np.zeros((*self.covered.shape, *picture.shape[2:]), picture.dtype)
        seen = self.covered.view(np.uint8)

        def fetch(top: int) -> None:
            x, y, w, h = cv2.boundingRect(seen[top : top + STRIP])
            if h:
                box = slice(top + y, top + y + h), slice(x, x + w)
                maps = (m[box] for m in self.fixed)
                cv2.remap(picture, *maps, cv2.INTER_LINEAR, dst=out[box], borderMode=cv2.BORDER_REPLICATE)

        side_by_side(fetch, range(0, len(seen), STRIP))
        return out

    def gathered(self, picture: NDArray[Any]) -> NDArray[Any]:
        """(N, C) a picture of the atlas at the fringe."""
        return gather(picture, self.fringe_xy[:, 0], self.fringe_xy[:, 1])

    @cached_property
    def fringe_at(self) -> NDArray[np.int32]:
        """(N, 2) row and column of the fringe."""
        return np.stack(np.divmod(self.fringe_pixel, self.covered.shape[1]), -1)

    @property
    def creased(self) -> bool:
        """Whether any crease is to be seen."""
        return bool((self.creases > SHALLOWEST).any())

    @cached_property
    def base(self) -> Image:
        """(H, W, 3) u8 sRGB, the core without any change of light."""
        return np.asarray(self.fetched(self.picture), np.uint8)

    @cached_property
    def fringe_base(self) -> NDArray[np.uint8]:
        """(N, 3) u8 sRGB, the fringe likewise."""
        return np.asarray(self.gathered(self.picture), np.uint8)

    @property
    def field(self) -> MotionField:
        """`T_{I<-I_r}` of the paper (5.1), exact from mesh and pose: source_from_screen of the core."""
        return MotionField(np.stack([self.map_x, self.map_y], -1), (~self.covered).astype(np.float32))


@dataclass(frozen=True)
class Framing:
    """Which part of the canvas is shown, and how large: screen = canvas * scale + (dx, dy); size (W, H)."""

    scale: float
    dx: float
    dy: float
    size: tuple[int, int]

    def staying(self, canvas: tuple[int, int], x: F64, y: F64) -> F64:
        """See `outskirts.share`."""
        return outskirts.share(canvas, self.scale, (self.dx, self.dy), self.size, x, y)


@dataclass(frozen=True)
class Band:
    """Rows first..last-1 of the screen, rasterised by one thread, and how many pixels of fringe it found."""

    first: int
    last: int
    count: Any


class Renderer:
    """Renders one model at one framing. Not thread-safe: the buffers are reused."""

    def __init__(self, model: HybridModel, framing: Framing, device: str = "cpu") -> None:
        self.model, self.framing, self.device = model, framing, device
        self.deform, self.bending = Deformer(model), Bending(model)
        self.camera: Camera = model.camera.scaled(framing.scale, framing.dx, framing.dy)
        k = min(1.0, framing.scale)
        self.texture_scale = k
        h, w = model.alpha.shape
        size = (w, h) if k >= 0.999 else (max(1, round(w * k)), max(1, round(h * k)))
        matte = outskirts.faded(model.alpha, model.surface[..., 2], model.canvas, framing.staying)
        self.texture, self.albedo, self.alpha = (shrunk(a, size) for a in (model.texture, model.albedo, matte))
        self._beside = neighbours(model, k)
        self._allocate()

    def _allocate(self) -> None:
        model, (w, h) = self.model, self.framing.size
        ratio = np.array(
            [self.texture.shape[1] / model.texture.shape[1], self.texture.shape[0] / model.texture.shape[0]]
        )
        source = model.source.astype(np.float32).copy()
        source[:, :2] = (source[:, :2] + 0.5) * ratio - 0.5
        d = self.device
        solid = cv2.erode((self.alpha >= 254).astype(np.uint8), np.ones((3, 3), np.uint8))
        at = np.clip(np.round(source[:, :2]).astype(int), 0, [solid.shape[1] - 1, solid.shape[0] - 1])
        firm = (solid[at[:, 1], at[:, 0]] > 0) & (source[:, 2] >= 1)
        opaque = firm[model.triangles].all(1) & self._all_solid(source, solid)
        self._source = wp.array(source, dtype=wp.vec3, device=d)
        self._triangles = wp.array(model.triangles, dtype=wp.vec3i, device=d)
        self._opaque = wp.array(opaque.astype(np.uint8), device=d)
        self._alpha = wp.array(self.alpha, device=d)
        self._screen = wp.zeros(len(model.vertices), dtype=wp.vec3, device=d)
        self._core = wp.zeros(w * h, dtype=wp.int64, device=d)
        self._fringe = wp.zeros(w * h, dtype=wp.int64, device=d)
        self._covered = wp.zeros(w * h, dtype=wp.uint8, device=d)
        self._x, self._y = (wp.full(w * h, -1.0, dtype=float, device=d) for _ in range(2))
        self._whole = wp.zeros((w * h, 2), dtype=wp.int16, device=d)
        self._part = wp.zeros(w * h, dtype=wp.uint16, device=d)
        self._seen = wp.zeros((BLOCKS, BLOCKS), dtype=wp.uint8, device=d)
        self._pixel = wp.zeros(w * h, dtype=int, device=d)
        self._at = wp.zeros(w * h, dtype=wp.vec3, device=d)
        edges = np.linspace(0, h, BANDS + 1).astype(int) if d == "cpu" else np.array([0, h])
        self.silhouettes = silhouette.Silhouettes(
            model.triangles,
            source[:, 2],
            silhouette.vertex_alpha(self.alpha, source),
            model.source[:, 1] < model.canvas[1],  # not the cells below: eyes, mouth
        )
        self._edges = wp.array(self.silhouettes.edges, dtype=wp.vec3i, device=d)
        self._setup = wp.zeros(len(model.triangles) + len(self.silhouettes.edges), dtype=wp.mat33, device=d)
        self._bands = [Band(int(a), int(b), wp.zeros(1, dtype=int, device=d)) for a, b in pairwise(edges)]

    def _all_solid(self, source: Array, solid: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(T,) true for triangles whose middle and edge middles are solid too: large ones may span a hole."""
        p = source[self.model.triangles][..., :2]
        good = np.ones(len(p), np.bool_)
        for w in ((1 / 3, 1 / 3, 1 / 3), (0.5, 0.5, 0), (0, 0.5, 0.5), (0.5, 0, 0.5)):
            q = np.clip(np.round(np.einsum("k,tkc->tc", w, p)).astype(int), 0, [solid.shape[1] - 1, solid.shape[0] - 1])
            good &= solid[q[:, 1], q[:, 0]] > 0
        return good

    def __call__(self, motion: AvatarMotion, *, albedo: bool = True) -> GBuffer:
        """The view of this moment; `albedo` False fetches the portrait's own colours instead."""
        shaped = self.deform.shaped(motion)
        points = self.deform.posed(shaped, motion)
        points[:, 2] = np.minimum(points[:, 2], -5.0)  # never behind the camera
        self._points = points
        screen = np.concatenate([self.camera.project(points), -1 / points[:, 2:]], -1).astype(np.float32)
        self._screen.assign(screen)
        self._rims = wp.array(self.silhouettes.seen(screen), dtype=int, device=self.device)
        self._seen.zero_()
        together(partial(self._mould, shaped, motion), *(partial(self._draw, band) for band in self._bands))
        return self._fetch(self.albedo if albedo else self.texture, motion)

    def _mould(self, shaped: Array, motion: AvatarMotion) -> None:
        """What the expression does to the surface."""
        self._bend, self._creases = np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
        if np.abs(motion.offsets).max() > NONE:
            self._bend, self._creases = self.bending(shaped), amplitudes(self.model.neutral, motion.offsets)

    def _draw(self, band: Band) -> None:
        """Rasterises some rows; Warp's CPU kernels are serial and let other threads run."""
        w, _ = self.framing.size
        band.count.zero_()
        given = [self._screen, self._source, self._triangles, self._opaque, self._alpha]
        drawn, rows = [self._setup, self._core, self._fringe], [w, band.first, band.last]
        runs = -(-len(self.model.triangles) // rasterise.TRIANGLES)
        rasterise.launch(rasterise.depth_pass, runs, [*given, *rows, *drawn], self.device)
        edges = [self._rims, self._edges, len(self.model.triangles), self._screen, self._source]
        rims = [*edges, *rows, self._setup, self._fringe]
        rasterise.launch(silhouette.rim_pass, self._rims.shape[0], rims, self.device)
        per_pixel = wp.vec2(*(BLOCKS / n for n in self.alpha.shape[::-1]))
        found = [self._covered, self._x, self._y, self._whole, self._part, self._seen, per_pixel]
        found += [band.count, self._pixel, self._at]
        runs = -(-w * (band.last - band.first) // rasterise.PIXELS)
        rasterise.launch(rasterise.resolve_pass, runs, [*drawn, *rows, *found], self.device)

    def _fringe_list(self) -> tuple[NDArray[np.int32], Array]:
        """Pixel indices (N,) and source coordinates with feather (N, 3) of the fringe, all bands."""
        pixel, at, w = self._pixel.numpy(), self._at.numpy(), self.framing.size[0]
        spans = [slice(b.first * w, b.first * w + int(b.count.numpy()[0])) for b in self._bands]
        return np.concatenate([pixel[s] for s in spans]), np.concatenate([at[s] for s in spans])

    def _seen_eyes(self, motion: AvatarMotion) -> F64:
        """See `GBuffer.eyes`."""
        turn = motion.gaze.astype(np.float64) @ self.model.rotation[:2, :2].T / EYE_RADIUS
        ahead = np.sqrt(np.clip(1 - (turn**2).sum(1, keepdims=True), 0.2, 1))
        axes = np.concatenate([turn, ahead], 1) @ np.asarray(motion.pose.rotation, np.float64).T
        middles = [self._points[eye].mean(0) if len(eye) else np.array([0, 0, -1e6]) for eye in self.deform.eyes]
        at = np.array(middles, np.float64)
        return np.concatenate([self.camera.project(at), -self.camera.focal / at[:, 2:], axes], 1)

    def _fetch(self, base: Image, motion: AvatarMotion) -> GBuffer:
        rotation = np.asarray(motion.pose.rotation, np.float64)
        w, h = self.framing.size
        x, y = self._x.numpy().reshape(h, w), self._y.numpy().reshape(h, w)
        pixel, at = self._fringe_list()
        fx, fy = at[:, 0], at[:, 1]
        cover = gather(self.alpha, fx, fy) * (at[:, 2] / 255)
        return GBuffer(
            covered=self._covered.numpy().reshape(h, w).astype(np.bool_),
            picture=base,
            texture_scale=self.texture_scale,
            map_x=x,
            map_y=y,
            fixed=(self._whole.numpy().reshape(h, w, 2), self._part.numpy().reshape(h, w)),
            fringe_pixel=pixel,
            fringe_alpha=cover.astype(np.float32),
            fringe_xy=at[:, :2],
            seen=cv2.dilate(self._seen.numpy(), self._beside) > 0,
            rotation=rotation,
            room=np.asarray(motion.view.T @ rotation, np.float64),
            bend=self._bend,
            creases=self._creases,
            eyes=self._seen_eyes(motion),
        )


def neighbours(model: HybridModel, scale: float) -> NDArray[np.uint8]:
    """(n, n) ones: how far round a block of the atlas others are asked for a pixel in it, since both the light, by the
    texel of the horizons, and colours, at `scale`, are interpolated."""
    reach = model.canvas[0] / model.horizons.shape[2] + 1 / scale
    blocks = math.ceil(reach * BLOCKS / min(model.alpha.shape))
    return np.ones((2 * blocks + 1,) * 2, np.uint8)


def shrunk(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture of the atlas at `size` (W, H), its own or smaller."""
    if picture.shape[1::-1] == size:
        return np.ascontiguousarray(picture)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def gather(picture: NDArray[Any], x: Array, y: Array) -> NDArray[Any]:
    """(N, C) bilinear samples at (N,) coordinates."""
    n = len(x)
    if n == 0:
        return np.zeros((0, *picture.shape[2:]), picture.dtype)
    padded = -(-n // GATHER_ROW) * GATHER_ROW  # as a picture: a single column or row is remap's slowest shape
    maps = np.zeros((2, padded), np.float32)
    maps[0, :n], maps[1, :n] = x, y
    shape = (-1, GATHER_ROW)
    found = cv2.remap(
        picture, maps[0].reshape(shape), maps[1].reshape(shape), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(found.reshape(padded, *picture.shape[2:])[:n])
