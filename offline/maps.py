"""What every pixel of the canvas is: normal, light, albedo, occlusion, head weight and gloss (paper, 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import linear_table, luminance
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.types import Array, Image
from offline import albedo as delight
from offline import layers, parts
from offline.geometry import Surface, to_canvas
from offline.networks import Estimate
from offline.preprocess import Portrait

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Maps:
    """Per canvas pixel: normal (H, W, 3) camera space, shading of the portrait's light (H, W), linear albedo (H, W, 3),
    occlusion, head weight and gloss (H, W), face (H, W) bool; light (9,) spherical harmonics; residual: how far albedo
    times light is from the photograph (`albedo.light_residual`)."""

    normal: F64
    shading: F64
    albedo: Array
    occlusion: F64
    head: F64
    gloss: F64
    face: NDArray[np.bool_]
    light: F64
    residual: float


def canvas_maps(
    portrait: Portrait, fit: FaceFit, surface: Surface, colours: Image, occlusion: F64, seen: Estimate | None = None
) -> Maps:
    """Normals at canvas size, the portrait's light and the albedo that is left without it."""
    h, w = portrait.image.shape[:2]
    normal = to_canvas(surface.normal, (w, h)).astype(np.float64)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    marks = portrait.landmarks
    face = cv2.resize(surface.face.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    holes = np.zeros((h, w), np.bool_)
    for ring in (layers.RIGHT_EYE, layers.LEFT_EYE, layers.INNER_UPPER + layers.INNER_LOWER[::-1]):
        holes |= layers.polygon_mask(marks[list(ring)], (h, w))
    holes = cv2.dilate(holes.astype(np.uint8), np.ones((max(3, w // 90),) * 2)) > 0
    skin = delight.skin_mask(colours, face > 0.9, holes)
    ao = to_canvas(occlusion, (w, h)).astype(np.float64)
    light = delight.estimate_light(luminance(linear_table()[colours]).astype(np.float64), normal, skin)
    shading = delight.shading_of(light, normal)
    trust = np.asarray(0.45 + 0.55 * cv2.GaussianBlur(face, (0, 0), 0.01 * w), np.float64)
    flat = delight.albedo_map(colours, shading, ao, skin, trust, delight.hides_shadows(light))
    if seen and seen.shading is not None:
        flat, light = delight.network_albedo(colours, flat, seen.shading, seen.trust, normal, skin)
        shading = delight.shading_of(light, normal)
    residual = delight.light_residual(colours, flat, light, normal, skin)
    z = cv2.resize(surface.z, (w, h), interpolation=cv2.INTER_LINEAR)
    px, py = np.meshgrid(np.arange(w), np.arange(h))
    points = portrait.camera.unproject(np.stack([px, py], -1).astype(np.float64), z)
    head = parts.head_weight(fit, points.reshape(-1, 3)).reshape(h, w)
    return Maps(normal, shading, flat, ao, head, gloss_map(marks, face, (h, w)), face > 0.5, light, residual)


def gloss_map(marks: F64, face: Array, shape: tuple[int, int]) -> F64:
    """(H, W) 0..1: forehead, nose and lips shine most, then skin, hair a little, cloth hardly."""
    h, w = shape
    size = float(np.ptp(marks[:, 0]))
    gloss = 0.08 + 0.27 * cv2.GaussianBlur(face, (0, 0), 0.02 * size)
    y, x = np.mgrid[:h, :w]
    for index, strength, radius in (
        (151, 0.25, 0.2),
        (4, 0.35, 0.07),
        (195, 0.25, 0.06),
        (50, 0.12, 0.12),
        (280, 0.12, 0.12),
        (199, 0.1, 0.09),
    ):
        d2 = ((x - marks[index, 0]) ** 2 + (y - marks[index, 1]) ** 2) / (radius * size) ** 2
        gloss = gloss + strength * np.exp(-d2) * face
    lips = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
    mouth = layers.polygon_mask(marks[list(lips)], shape).astype(np.float32)
    return np.asarray(np.clip(gloss + 0.3 * cv2.GaussianBlur(mouth, (0, 0), 0.01 * size), 0, 1), np.float64)
