"""F_N and F_A on a portrait (paper, 4.3): normals and albedo of the face, with how far they are to be believed.

The weights are our own, trained on the light stage (`offline.lightstage`, `offline.train`), and lie in the package. The
networks see the face cut out as the stage shows it (`offline.window`), together with the landmark surface's normals.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.data import weights_path
from narrate_stream.ops.colour import linear_from_srgb
from narrate_stream.ops.facefit import fit_face
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, Image
from offline.geometry import face_maps
from offline.window import SIDE, Window, face_window

if TYPE_CHECKING:
    from narrate_stream.nets.unet import UNet

F32 = NDArray[np.float32]
WORKING = 640  # longer side of the canvas on which the window is cut and put back
LOOKS = ((1.0, (0, 0), False), (1.0, (0, 0), True), (1.04, (2, 7), False), (0.96, (-2, -7), True))
BELIEVED, DOUBTED = 22.0, 45.0  # degrees of expected error at which a normal is taken whole, and not at all
FADE = 5  # pixels of the window over which its answer fades towards its border
AHEAD, ACROSS = np.array([0, 0, 1], np.float32), np.array([-1, 1, 1], np.float32)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Networks:
    """The trained networks; albedo (F_A) and relight (F_R) only where they were asked for."""

    normals: UNet
    albedo: UNet | None
    relight: UNet | None = None


@dataclass(frozen=True)
class Estimate:
    """What the networks say, on a canvas of WORKING pixels or less, (h, w, ...): unit normals in the canvas' camera
    space and confidence 0..1; error: degrees that F_N expects of itself; shading: linear light per channel by which the
    photograph exceeds F_A's albedo, None without F_A; trust 0..1: where it was estimated."""

    normal: Array
    confidence: Array
    error: Array
    shading: Array | None
    trust: Array


@lru_cache(maxsize=4)
def load_networks(*, albedo: bool = False, relight: bool = False) -> Networks | None:
    """The shipped networks, or None in an installation without them. Raises NetworkError for damaged weights.

    `albedo`: F_A too. It is not the default: relit with its albedo, photographs came out 0.3 dB worse than with the
    light's own (Extended Yale B, three subjects). `relight`: F_R too.
    """
    wanted = {"normals": True, "albedo": albedo, "relight": relight}
    paths = {task: weights_path(task) for task, asked in wanted.items() if asked}
    missing = [p.name for p in paths.values() if not p.exists()]
    if missing:
        log.warning("no network weights (%s): normals come from geometry alone", ", ".join(missing))
        return None
    from narrate_stream.nets.unet import load_network

    loaded = {task: load_network(path) for task, path in paths.items()}
    return Networks(loaded["normals"], loaded.get("albedo"), loaded.get("relight"))


def estimate(
    networks: Networks, image: Image, coverage: Array, landmarks: NDArray[np.float64], camera: Camera
) -> Estimate:
    """F_N and F_A on a canvas: image (H, W, 3), coverage (H, W) 0..1, landmarks (478, 3) pixels."""
    scale = min(1.0, WORKING / max(image.shape[:2]))
    w, h = max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale))
    small = Camera(camera.focal * scale, (camera.cx + 0.5) * scale - 0.5, (camera.cy + 0.5) * scale - 0.5)
    fit = fit_face(landmarks, camera)  # the very surface that training gave: not the build's own fit
    picture = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    cover = cv2.resize(coverage.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
    normal, weight, error, shading = (np.zeros((h, w, c), np.float32) for c in (3, 1, 1, 3))
    for zoom, shift, flip in LOOKS:
        window = face_window(fit, small, zoom=zoom, shift=shift)
        n, e, s = looked(networks, window, picture, cover, landmarks, flip=flip)
        share = np.clip(window.back(border(), (w, h)), 0, 1)[..., None]  # cubic weights overshoot
        normal += share * window.normals_back(n, (w, h))
        error += share * window.back(e, (w, h))[..., None]
        shading += share * window.back(s, (w, h))
        weight += share
    total = np.maximum(weight, 0.05)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    expected = error / total + 40 * (1 - length / total)  # looks that disagree are doubted
    inside = np.clip(weight / len(LOOKS), 0, 1)[..., 0] * cover
    confidence = np.clip((DOUBTED - expected[..., 0]) / (DOUBTED - BELIEVED), 0, 1) * inside
    return Estimate(
        np.where(length > 1e-3, normal / np.maximum(length, 1e-6), AHEAD),
        np.asarray(confidence, np.float32),
        np.asarray(np.where(weight[..., 0] > 0, expected[..., 0], 90), np.float32),
        np.exp(shading / total) if networks.albedo else None,
        np.asarray(inside, np.float32),
    )


def border() -> F32:
    """(SIDE, SIDE) 1 inside the window, falling to 0 at its border."""
    ramp = np.clip((np.minimum(np.arange(SIDE), np.arange(SIDE)[::-1]) - 1) / FADE, 0, 1)
    return np.asarray(np.minimum.outer(ramp, ramp), np.float32)


def looked(
    networks: Networks, window: Window, picture: Image, cover: Array, landmarks: NDArray[np.float64], *, flip: bool
) -> tuple[F32, F32, F32]:
    """One look: normals (SIDE, SIDE, 3) of the window, expected error in degrees, log shading (SIDE, SIDE, 3)."""
    from narrate_stream.nets.heads import estimate_albedo, estimate_normals

    image = np.clip(window.cut(picture), 0, 255).astype(np.uint8)
    mask = window.cut(cover)
    prior = np.nan_to_num(face_maps(window.fit, landmarks, window.camera, SIDE, SIDE)[1]).astype(np.float32)
    prior /= np.linalg.norm(prior, axis=-1, keepdims=True) + 1e-9
    if flip:
        image, mask, prior = mirrored(image), mirrored(mask), mirrored(prior) * ACROSS
    normal, error = estimate_normals(networks.normals, image, mask, prior)
    light = np.zeros_like(normal)
    if networks.albedo is not None:
        albedo = estimate_albedo(networks.albedo, image, mask, normal)
        light = np.log(linear_from_srgb(image / np.float32(255)) + 0.004) - np.log(linear_from_srgb(albedo) + 0.004)
    if flip:
        return mirrored(normal) * ACROSS, mirrored(error), mirrored(light)
    return normal, error, np.asarray(light, np.float32)


def mirrored(values: NDArray[Any]) -> NDArray[Any]:
    """The same map from right to left."""
    return np.ascontiguousarray(values[:, ::-1])
