"""What every pixel of the canvas is: normal, light, albedo, occlusion, head weight and material (paper, 4.3)."""

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
from offline.bake import stepped
from offline.geometry import Surface, to_canvas
from offline.materials import Material, materials
from offline.networks import Estimate
from offline.preprocess import Portrait
from offline.volume import spread

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Maps:
    """Per canvas pixel: normal (H, W, 3) camera space, shading of the portrait's light (H, W), linear albedo (H, W, 3),
    occlusion and head weight (H, W), material, face and its bare skin (H, W) bool; light (9,) spherical harmonics;
    residual: how far albedo times light is from the photograph (`albedo.light_residual`)."""

    normal: F64
    shading: F64
    albedo: Array
    occlusion: F64
    head: F64
    material: Material
    face: NDArray[np.bool_]
    skin: NDArray[np.bool_]
    light: F64
    residual: float


def canvas_maps(
    portrait: Portrait,
    fit: FaceFit,
    surface: Surface,
    colours: Image,
    occlusion: F64,
    hair: F64,
    seen: Estimate | None = None,
) -> Maps:
    """Normals at canvas size, the portrait's light and the albedo that is left without it; `hair`: see
    `volume.hair_share`."""
    h, w = portrait.image.shape[:2]
    normal = to_canvas(spread(without_steps(surface), hair, surface.unit), (w, h)).astype(np.float64)
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
    hidden = delight.hides_shadows(light)
    flat = delight.albedo_map(colours, delight.with_flash(shading, normal, skin, hidden), ao, skin, trust, hidden)
    if seen and seen.shading is not None:
        flat, light = delight.network_albedo(colours, flat, seen.shading, seen.trust, normal, skin)
        shading = delight.shading_of(light, normal)
    residual = delight.light_residual(colours, flat, light, normal, skin)
    z = cv2.resize(surface.z, (w, h), interpolation=cv2.INTER_LINEAR)
    px, py = np.meshgrid(np.arange(w), np.arange(h))
    points = portrait.camera.unproject(np.stack([px, py], -1).astype(np.float64), z)
    head = parts.head_weight(fit, points.reshape(-1, 3)).reshape(h, w)
    beside = cv2.resize(hair, (w, h), interpolation=cv2.INTER_LINEAR)
    material = materials(flat, normal, head, face, skin, beside, marks)
    return Maps(normal, shading, flat, ao, head, material, face > 0.5, skin, light, residual)


def without_steps(surface: Surface) -> F64:
    """(h, w, 3) normals; beside a step between layers of the rest, as between hair and ear, those of its surroundings:
    the step's own is the side of a layer that has none."""
    face = cv2.dilate(surface.face.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    keep = (~stepped(surface.z) | face).astype(np.float32)
    keep = np.maximum(cv2.erode(keep, np.ones((3, 3), np.uint8)), face)
    around = cv2.GaussianBlur(surface.normal * keep[..., None], (0, 0), 4.0)
    around /= np.linalg.norm(around, axis=-1, keepdims=True) + 1e-6
    return np.where(keep[..., None] > 0, surface.normal, around)
