"""F_R on a portrait (paper, 4.3): what the physical path lacks under nine basis lights, asked once and stored.

The network sees the face cut out as in training (`offline.window`, `offline.lightstage.lacking`): albedo, normals, and
the nine basis lights' maps with their shadows. Of its answer only what is broad is taken, on bare skin inside the face,
and it fades towards the face's border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops import horizon, residual
from narrate_stream.ops.facefit import fit_face
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array
from offline.networks import ACROSS, mirrored
from offline.window import Window, face_window

if TYPE_CHECKING:  # torch is loaded by those who ask a network
    from narrate_stream.nets.unet import UNet

F32 = NDArray[np.float32]
SIDE = 64  # pixels of the window: a texel of the horizons is about as large
MIRROR = np.diag([-1.0, 1.0, 1.0])
BROAD = 1.5  # texels over which the answer is spread: finer than this a network knows nothing that geometry does not
COARSER = 2  # times than the horizons is what is stored of it
FADE = 5.0  # texels over which it fades at the face's border
INSET = 3  # texels of the border at which it is not believed at all


@dataclass(frozen=True)
class Painted:
    """A portrait on the canvas, (H, W, ...): normal unit, albedo linear, cover 0..1, face and skin (bare: without eyes,
    lips' opening, brows) bool."""

    normal: NDArray[np.float64]
    albedo: Array
    cover: Array
    face: NDArray[np.bool_]
    skin: NDArray[np.bool_]


def learned_residual(
    network: UNet, painted: Painted, planes: NDArray[np.uint8], landmarks: NDArray[np.float64], camera: Camera
) -> NDArray[np.uint8]:
    """(h / COARSER, w / COARSER, 27) bytes (`ops.residual.packed`) over the canvas, whose horizons planes (A, h, w)
    are; landmarks (478, 3) canvas pixels, camera of the canvas."""
    h, w = planes.shape[1:]
    k = w / painted.cover.shape[1]
    small = camera.scaled(k, (k - 1) / 2, (k - 1) / 2)
    window = face_window(fit_face(landmarks, camera), small, side=SIDE)
    answer = residual.turned(looked(network, window, painted, planes), window.turn.T)
    whole = np.dstack([window.back(answer[..., i : i + 3], (w, h)) for i in range(0, 27, 3)])
    made = calmed(whole, shrunk(painted.skin, (w, h)), belief(window, painted, (w, h)))
    return residual.packed(coarser(made))


def looked(network: UNet, window: Window, painted: Painted, planes: NDArray[np.uint8]) -> F32:
    """(SIDE, SIDE, 27) the network's answer in the window's frame, the mean of the face's and its mirror image's."""
    from narrate_stream.nets.heads import estimate_residual

    size = planes.shape[2], planes.shape[1]
    mask = window.cut(shrunk(painted.cover, size))
    normal = unit(window.cut(shrunk(painted.normal, size)))
    cut = np.stack([window.cut(plane) for plane in planes])
    maps = residual.turned(horizon.transfer(np.asarray(cut + 0.5, np.uint8), normal), window.turn)
    normal = (normal @ window.turn.T).astype(np.float32)
    albedo = window.cut(shrunk(painted.albedo, size))
    straight = estimate_residual(network, albedo, mask, normal, maps)
    other = estimate_residual(
        network, mirrored(albedo), mirrored(mask), mirrored(normal) * ACROSS, residual.turned(mirrored(maps), MIRROR)
    )
    return np.asarray((straight + residual.turned(mirrored(other), MIRROR)) / 2, np.float32)


def calmed(values: F32, skin: F32, share: F32) -> F32:
    """(h, w, 27) values (h, w, 27) spread over BROAD texels of skin (h, w), so that what is no skin has its
    surroundings', times share (h, w)."""
    weight = cv2.GaussianBlur(skin, (0, 0), BROAD)
    spread = cv2.GaussianBlur(values * skin[..., None], (0, 0), BROAD)
    return np.asarray(spread / np.maximum(weight, 0.05)[..., None] * share[..., None], np.float32)


def coarser(planes: F32) -> F32:
    """(h / COARSER, w / COARSER, 27), rounded up, area means of (h, w, 27); three at a time, as INTER_AREA takes no
    more of an odd size."""
    h, w = planes.shape[:2]
    size = -(-w // COARSER), -(-h // COARSER)
    return np.dstack([shrunk(planes[..., i : i + 3], size) for i in range(0, planes.shape[2], 3)])


def belief(window: Window, painted: Painted, size: tuple[int, int]) -> F32:
    """(h, w) 0..1: 1 well inside the face and the window."""
    inside = shrunk(painted.face, size) * shrunk(painted.cover, size) > 0.5
    inside &= window.back(np.ones((SIDE, SIDE), np.float32), size) > 0.5
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)  # a picture's border is no face's border
    return np.asarray(np.clip((depth - INSET) / FADE, 0, 1), np.float32)


def shrunk(values: NDArray[np.generic], size: tuple[int, int]) -> F32:
    """Area means on a grid of `size` (w, h)."""
    return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def unit(n: F32) -> F32:
    """Unit length; toward the viewer where there is nothing."""
    length = np.linalg.norm(n, axis=-1, keepdims=True)
    return np.asarray(np.where(length > 0.1, n / np.maximum(length, 1e-6), [0.0, 0.0, 1.0]), np.float32)
