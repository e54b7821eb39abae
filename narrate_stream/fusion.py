"""Fusion: the lit person over the background, in the frame that is shown (paper, 4.3).

Face and rest come from one texture and one light, so the seam that Poisson blending hides in the paper does not arise;
what remains is compositing, done on bytes: the matte was estimated on bytes too, so the portrait comes back exactly.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream import outskirts
from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.mesh import FOCAL_FACTOR
from narrate_stream.ops.geometry import Camera
from narrate_stream.renderer import Framing, GBuffer
from narrate_stream.types import Image

BRIM = 0.006  # of the canvas' longer side: so far beside its matte a photograph shows something of the person


def brim(size: tuple[int, int]) -> float:
    """Pixels beside the matte of a canvas of `size` (W, H) in which the plate is the background, not the photograph."""
    return BRIM * max(size)


def portrait_framing(model: HybridModel, size: int | None) -> Framing:
    """The whole photograph; `size`: its longer side in pixels, None for its own. Sides are even, as video wants
    them."""
    w, h = model.frame_size
    k = 1.0 if size is None else size / max(w, h)
    out = max(2, round(w * k) // 2 * 2), max(2, round(h * k) // 2 * 2)
    return exact_framing(model, out)


def exact_framing(model: HybridModel, size: tuple[int, int]) -> Framing:
    """The whole photograph at exactly `size` (W, H)."""
    k = size[0] / model.frame_size[0]
    x0, y0, scale = model.crop
    s = k / scale
    return Framing(s, (0.5 * s + x0 * k) - 0.5, (0.5 * s + y0 * k) - 0.5, size)


def head_framing(model: HybridModel, size: int) -> Framing:
    """A square around the head, `size` pixels, inside the canvas where it fits."""
    w, h = model.canvas
    face = model.camera.project(model.neutral[:468] @ model.rotation.T + model.translation)
    lo, hi = face.min(0), face.max(0)
    side = min(2.55 * max(np.ptp(face[:, 1]), np.ptp(face[:, 0])), float(min(w, h)))
    cx, cy = (lo[0] + hi[0]) / 2, (lo[1] + hi[1]) / 2 - 0.02 * side
    x0 = float(np.clip(cx - side / 2, 0, w - side))
    y0 = float(np.clip(cy - side / 2, 0, h - side))
    k = size / side
    return Framing(k, 0.5 * k - 0.5 - x0 * k, 0.5 * k - 0.5 - y0 * k, (size, size))


def guessed_camera(framing: Framing) -> Camera:
    """The camera, of the canvas' pixels, that the shown part seems to be taken by: of the usual focal length, looking
    at its middle."""
    (w, h), k = framing.size, framing.scale
    return Camera(FOCAL_FACTOR * max(w, h) / k, ((w - 1) / 2 - framing.dx) / k, ((h - 1) / 2 - framing.dy) / k)


def framed(picture: Image, framing: Framing) -> Image:
    """A canvas-sized picture as this framing shows it (outside: its border goes on)."""
    w, h = framing.size
    return resampled(picture, (np.arange(w) - framing.dx) / framing.scale, (np.arange(h) - framing.dy) / framing.scale)


def over_backdrop(model: HybridModel, framing: Framing) -> Image:
    """The background of this framing: the photograph itself where nobody stands, the clean plate behind the person."""
    w, h = framing.size
    cw, ch = model.canvas
    plate = framed(model.plate, framing)
    near = np.ones((2 * int(np.ceil(brim((cw, ch)))) + 1,) * 2, np.uint8)
    person = framed(np.repeat(cv2.dilate(model.alpha[:ch], near)[..., None], 3, -1), framing)
    x = (np.arange(w) - framing.dx) / framing.scale
    y = (np.arange(h) - framing.dy) / framing.scale
    inside = ((x >= -0.5) & (x <= cw - 0.5))[None, :] & ((y >= -0.5) & (y <= ch - 0.5))[:, None]
    x0, y0, scale = model.crop
    k = model.backdrop.shape[1] / model.frame_size[0]
    bx, by = ((x + 0.5) / scale + x0) * k - 0.5, ((y + 0.5) / scale + y0) * k - 0.5
    if model.canvas[0] < scale * model.frame_size[0] - 1 or abs(framing.scale * scale - k) < 1e-6:
        whole = resampled(model.backdrop, bx, by)
        staying = framing.staying((cw, ch), x, y)[..., None]
        if staying.min() < 1:
            both = np.dstack([model.alpha[:ch], model.surface[:ch, :, 2], model.alpha[:ch]])
            cover, head = np.split(framed(np.ascontiguousarray(both), framing)[..., :2] / 255, 2, -1)
            staying = np.maximum(staying, head)
            mixed = outskirts.behind(plate.astype(np.float64), whole.astype(np.float64), cover, staying)
            plate = np.where(staying < 1, np.clip(mixed + 0.5, 0, 255), plate).astype(np.uint8)
        return np.where((inside & (person.max(-1) > 0))[..., None], plate, whole)
    return plate


def resampled(picture: Image, x: NDArray[np.float64], y: NDArray[np.float64]) -> Image:
    """`picture` at columns x (W,) and rows y (H,), area-averaged when that shrinks it; its border goes on outside."""
    step = float(x[-1] - x[0]) / max(len(x) - 1, 1)
    if step > 1.4:
        small = cv2.resize(picture, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
        fx, fy = small.shape[1] / picture.shape[1], small.shape[0] / picture.shape[0]
        return resampled(np.asarray(small, np.uint8), (x + 0.5) * fx - 0.5, (y + 0.5) * fy - 0.5)
    gx, gy = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    how = cv2.INTER_LINEAR if step > 0.99 else cv2.INTER_CUBIC
    return np.asarray(cv2.remap(picture, gx, gy, how, borderMode=cv2.BORDER_REPLICATE))


def fuse(core: Image, fringe: NDArray[np.uint8], gbuffer: GBuffer, background: Image) -> Image:
    """(H, W, 3) fringe over core over background."""
    out = np.asarray(cv2.copyTo(core, gbuffer.covered.view(np.uint8), background.copy()), np.uint8)
    if len(fringe):
        at, flat = gbuffer.fringe_pixel, out.reshape(-1, 3)
        under = flat.take(at, axis=0).astype(np.float32)
        flat[at] = (under + (fringe - under) * gbuffer.fringe_alpha[:, None] + np.float32(0.5)).astype(np.uint8)
    return out


def coverage(gbuffer: GBuffer) -> NDArray[np.float32]:
    """(H, W) 0..1 how much of each pixel is the person."""
    out = gbuffer.covered.astype(np.float32)
    rows, columns = gbuffer.fringe_at.T
    out[rows, columns] = np.maximum(out[rows, columns], gbuffer.fringe_alpha)
    return out


def cut_out(core: Image, fringe: NDArray[np.uint8], gbuffer: GBuffer) -> NDArray[np.uint8]:
    """(H, W, 4) the person alone, with straight alpha; black where nobody is."""
    under = np.zeros_like(core)
    under[tuple(gbuffer.fringe_at.T)] = fringe  # over its own colour a fringe keeps it, however thin it is
    alpha = np.asarray(coverage(gbuffer) * 255 + 0.5, np.uint8)
    return np.concatenate([fuse(core, fringe, gbuffer, under), alpha[..., None]], -1)
