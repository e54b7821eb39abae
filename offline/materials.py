"""What the surface is made of, for highlights: gloss, oil, and hair with the direction in which it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import luminance
from narrate_stream.ops.lighting import EXTENT, encode_normals
from narrate_stream.types import Array
from offline import layers
from offline.parts import smoothstep
from offline.scalp import like_skin

F64 = NDArray[np.float64]
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
# landmark, more gloss, more oil, radius in widths of the face: forehead, tip and bridge of the nose, cheeks, chin
SHINY = (
    (151, 0.25, 0.30, 0.20),
    (4, 0.35, 0.45, 0.07),
    (195, 0.25, 0.30, 0.06),
    (50, 0.12, 0.12, 0.12),
    (280, 0.12, 0.12, 0.12),
    (199, 0.10, 0.15, 0.09),
)
CLOTH, SKIN, HAIR = 0.06, 0.35, 0.16  # gloss
DRY = 0.10  # oil of skin elsewhere
STRANDS = 0.03  # widths of the face over which strands agree on a direction
LOCK = 0.06  # widths of the face over which hair shines alike
LYING = 0.08, 0.3  # |y| of strands that lie across the picture: where one way along them becomes the other
COMBED = 0.35, 0.75  # coherence of a picture's grain from which on it is taken for strands


@dataclass(frozen=True)
class Material:
    """Over the canvas: gloss, oil and hair (H, W) 0..1; strand (H, W, 3) unit, where hair runs, camera space."""

    gloss: F64
    oil: F64
    hair: F64
    strand: F64


def materials(
    colour: Array, normal: F64, head: F64, face: Array, skin: NDArray[np.bool_], beside: F64, marks: F64
) -> Material:
    """colour (H, W, 3) linear albedo; normal (H, W, 3); head weight and face (H, W) 0..1; skin (H, W) where it is
    sure; beside (H, W) 0..1 where hair may be (`volume.hair_share`); marks (478, 3) px."""
    size = float(np.ptp(marks[:, 0]))
    grey = luminance(colour)
    strand, combed = strands(grey, normal, STRANDS * size)
    mask = hair_mask(colour, head, face, skin)
    hair = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.8, 0.006 * size))
    hair = hair * shining(grey, combed, mask & (beside > 0.5), LOCK * size)
    gloss = CLOTH + (SKIN - CLOTH) * cv2.GaussianBlur(face, (0, 0), 0.02 * size)
    oil = np.full(face.shape, DRY, np.float32)
    y, x = np.mgrid[: face.shape[0], : face.shape[1]].astype(np.float32)
    for index, more, oily, radius in SHINY:
        spot = np.exp(-((x - marks[index, 0]) ** 2 + (y - marks[index, 1]) ** 2) / (radius * size) ** 2) * face
        gloss, oil = gloss + more * spot, oil + oily * spot
    mouth = layers.polygon_mask(marks[list(LIPS)], (len(face), face.shape[1])).astype(np.float32)
    lips = cv2.GaussianBlur(mouth, (0, 0), max(0.5, 0.01 * size))
    gloss, oil = gloss + 0.3 * lips, oil + 0.4 * lips
    gloss = gloss * (1 - hair) + HAIR * hair
    gloss, oil, hair = (np.clip(a, 0, 1).astype(np.float64) for a in (gloss, oil, hair))
    return Material(gloss, oil, hair, strand)


def hair_mask(colour: Array, head: F64, face: Array, skin: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) what goes with the head, is not the face and has not the colour of its skin: hair, and hats."""
    sample = colour[skin]
    if len(sample) < 50:
        return np.zeros(face.shape, np.bool_)
    return np.asarray((head > 0.5) & (face < 0.5) & ~like_skin(colour, sample))


def shining(grey: Array, combed: Array, hair: NDArray[np.bool_], sigma: float) -> Array:
    """(H, W) 0..1 how far hair of albedo grey (H, W) and grain `combed` (H, W) shines, the same over a lock (`sigma`
    pixels): where strands cross within it, it has no hole; where it is darker than the brightest
    quarter, it lies deep in the rest."""
    if not hair.any():
        return np.zeros(grey.shape, np.float32)
    share = hair.astype(np.float32)
    both = np.stack([combed, grey], -1) * share[..., None]
    total = cv2.GaussianBlur(share, (0, 0), sigma)
    grain, level = np.moveaxis(cv2.GaussianBlur(both, (0, 0), sigma) / np.maximum(total, 1e-3)[..., None], -1, 0)
    outer = np.minimum(level / max(float(np.percentile(grey[hair], 75)), 1e-3), 1)
    return np.asarray(np.clip(grain, 0, 1) * outer**2, np.float32)  # light goes in and comes out


def strands(grey: Array, normal: F64, sigma: float) -> tuple[F64, Array]:
    """(H, W, 3) direction along the grain of a picture (H, W), in the surface with these normals, pointing down the
    picture; (H, W) 0..1 how far it is grain of one direction."""
    level = np.log(np.maximum(cv2.GaussianBlur(grey, (0, 0), max(0.7, 0.25 * sigma)), 1e-3))
    gx, gy = (cv2.Scharr(level, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    xx, yy, xy = (cv2.GaussianBlur(a * b, (0, 0), max(1.0, sigma)) for a, b in ((gx, gx), (gy, gy), (gx, gy)))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2  # along the grain: across the gradient; picture's y is down
    coherence = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-4)
    along = np.stack([np.cos(angle), -np.sin(angle), np.zeros_like(angle)], -1).astype(np.float64)
    along *= np.where(along[..., 1:2] > 0, -1, 1)
    upright = smoothstep(np.abs(along[..., 1]), *LYING)
    along -= (along * normal).sum(-1, keepdims=True) * normal
    along /= np.linalg.norm(along, axis=-1, keepdims=True) + 1e-6
    return along, np.asarray(smoothstep(coherence.astype(np.float64), *COMBED) * upright, np.float32)


def pack_material(strand: F64, oil: NDArray[Any], hair: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 4) bytes: equal-area strand x and y over +-EXTENT, oil, hair."""
    e = encode_normals(strand) / EXTENT * 0.5 + 0.5
    packed = np.concatenate([e, oil[..., None], hair[..., None]], -1)
    return np.asarray(np.clip(packed, 0, 1) * 255 + 0.5, np.uint8)
