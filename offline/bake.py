"""Baking: which of the stage's lights every point of the surface sees (self-shadow), and the packed surface texture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import EXTENT, encode_normals, stage_directions
from offline.geometry import Surface

F64 = NDArray[np.float64]
TRANSPORT_SIZE = 112  # longer side of the visibility maps: shadows of noses and brows are broad
STEPS = 26
SOFT = 0.13  # slope over which a shadow's edge fades


def visibility(z: F64, unit: float, toward: F64, depth_of_person: F64 | None = None) -> NDArray[np.float32]:
    """(h, w) 1 where the light in direction `toward` (3,) is seen, 0 where the surface itself hides it.

    z (h, w) cm, larger = nearer; unit: cm per pixel. Marches the height field; edges are SOFT.
    """
    h, w = z.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    zf = z.astype(np.float32)
    worst = np.full((h, w), -1e9, np.float32)
    far = 0.5 * max(h, w)
    for t in np.geomspace(1.2, far, STEPS).astype(np.float32):
        hit = cv2.remap(
            zf,
            x + t * np.float32(toward[0]),
            y - t * np.float32(toward[1]),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=-1e6,
        )
        np.maximum(worst, (hit - zf - t * unit * np.float32(toward[2])) / (t * unit), out=worst)
    return np.asarray(np.clip(1 - worst / SOFT, 0, 1), np.float32)


def bake_transport(surface: Surface, person: F64) -> tuple[NDArray[np.uint8], F64]:
    """Visibility (h, w, L) bytes of every stage light, and ambient occlusion (h, w) 0..1. person (h, w): coverage at
    the
    surface's resolution; the background casts no shadow."""
    h, w = surface.z.shape
    scale = TRANSPORT_SIZE / max(h, w)
    size = max(4, round(w * scale)), max(4, round(h * scale))
    z = np.where(person > 0.5, surface.z, surface.middle - 4)
    z = cv2.resize(z, size, interpolation=cv2.INTER_AREA)
    normal = cv2.resize(surface.normal, size, interpolation=cv2.INTER_AREA)
    unit = -surface.middle / surface.camera.focal / scale
    lights = stage_directions()
    seen = np.stack([visibility(z, unit, d) for d in lights], -1)
    cosine = np.clip(normal @ lights.T, 0, None)
    occlusion = (seen * cosine).sum(-1) / (cosine.sum(-1) + 1e-6)
    return np.asarray(seen * 255 + 0.5, np.uint8), np.asarray(occlusion)


def pack_surface(normals: F64, head: F64, gloss: F64) -> NDArray[np.uint8]:
    """(H, W, 4) bytes: equal-area normal x and y over +-EXTENT, head weight, gloss."""
    e = encode_normals(normals) / EXTENT * 0.5 + 0.5
    packed = np.concatenate([e, head[..., None], gloss[..., None]], -1)
    return np.asarray(np.clip(packed, 0, 1) * 255 + 0.5, np.uint8)
