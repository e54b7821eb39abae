"""What another portrait lends: the light on its skin, the pose of its head, the expression of its face."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from narrate_stream.drivers.channels import CHANNELS, expressive_face
from narrate_stream.errors import LightError, PortraitError
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.facefit import IDENTITY_PRIOR
from narrate_stream.ops.geometry import similarity
from narrate_stream.ops.lightfit import fitted_light
from narrate_stream.ops.lighting import Lighting
from narrate_stream.types import Array, Motion
from offline import layers
from offline.build import WORST_FIT, outside_mouth
from offline.geometry import Surface, build_surface
from offline.headfit import HeadFit, fit_head, ray_frame
from offline.networks import estimate, load_networks
from offline.picture import Picture, load_picture
from offline.preprocess import Portrait, matte, prepare

F64 = NDArray[np.float64]
SIZE = 640  # working size: the maps that light is read from are half of that
SAMPLES, ENOUGH = 1200, 100  # of the skin: more say nothing new about so few numbers; fewer do not say enough
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
BROWS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
NOT_SKIN = (layers.RIGHT_EYE, layers.LEFT_EYE, LIPS, *BROWS)
CLIPPED = 250  # bytes: a channel above has lost its level
STEEPEST = 0.2  # cosine toward the viewer below which a normal is hardly seen
FACE = 468  # landmarks without the irises
FIT_ROUNDS = 3
FIT_NOISE = 0.15  # cm by which a landmark of one person may lie off what is fitted
CHANNEL_PRIOR = 0.3  # how strong an expression usually is


@dataclass(frozen=True)
class Target:
    """lighting: as estimated from its skin; motion: the face as a driver would report it, its rotation as seen along
    the ray to the head, so that a face at the picture's border is not taken for a turned one."""

    lighting: Lighting
    motion: Motion


def light_of_picture(path: Path) -> Lighting:
    """The light on the largest face in a picture file. Raises LightError, MissingExtra."""
    try:
        return read_target(path).lighting
    except PortraitError as error:
        raise LightError(f"{error} (wanted for its light)") from error


def read_target(path: Path) -> Target:
    """Light, pose and face of the largest face in a picture file. Raises PortraitError, MissingExtra."""
    return target_of(load_picture(path))


def target_of(picture: Picture) -> Target:
    """Light, pose and face of the largest face in a picture. Raises PortraitError without a usable one."""
    portrait = prepare(picture, SIZE)
    alpha = matte(portrait)
    fit, camera = fit_head(portrait.landmarks, portrait.camera)
    if fit.error > WORST_FIT:
        raise PortraitError(f"{picture.name}: what looks like a face does not have a human face's shape")
    portrait = replace(portrait, camera=camera)
    surface = seen_surface(portrait, alpha, fit)
    level, normal = skin_samples(portrait, alpha, surface)
    if len(level) < ENOUGH:
        raise PortraitError(f"{picture.name}: it shows hardly any skin whose brightness can be told")
    name = picture.path.name if picture.path else "astronaut"
    return Target(fitted_light(level, normal, f"image:{name}"), motion_of(portrait, fit))


def seen_surface(portrait: Portrait, alpha: Array, fit: HeadFit) -> Surface:
    """The person's surface with the very normals that a model of this picture would have."""
    trained = load_networks()
    if trained is None:
        return build_surface(fit, portrait.landmarks, alpha, portrait.camera)
    seen = estimate(trained, portrait.image, alpha, portrait.landmarks, portrait.camera)
    detail = (seen.normal, outside_mouth(seen.confidence, portrait))
    return build_surface(fit, portrait.landmarks, alpha, portrait.camera, detail)


def skin_samples(portrait: Portrait, alpha: Array, surface: Surface) -> tuple[F64, F64]:
    """(N, 3) linear RGB and (N, 3) normals of plain, unclipped skin."""
    h, w = surface.face.shape
    marks = (portrait.landmarks[:, :2] + 0.5) * surface.scale - 0.5
    covered, brightest = (cv2.resize(a, (w, h), interpolation=cv2.INTER_AREA) for a in (alpha, portrait.image.max(-1)))
    inner = cv2.erode(surface.face.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    use = inner & ~features(marks, (h, w)) & (surface.normal[..., 2] > STEEPEST) & (covered > 0.9)
    use &= brightest < CLIPPED
    linear = cv2.resize(linear_table()[portrait.image], (w, h), interpolation=cv2.INTER_AREA)
    step = max(1, int(use.sum()) // SAMPLES)
    return linear[use][::step].astype(np.float64), surface.normal[use][::step]


def features(marks: F64, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w) eyes, brows and lips, with a margin; marks (478, 2) pixels."""
    mask = np.zeros(shape, np.uint8)
    for ring in NOT_SKIN:
        mask |= layers.polygon_mask(marks[list(ring)], shape).astype(np.uint8)
    side = max(3, round(float(np.ptp(marks[:, 0])) / 25)) | 1
    return np.asarray(cv2.dilate(mask, np.ones((side, side), np.uint8)) > 0)


def motion_of(portrait: Portrait, fit: HeadFit) -> Motion:
    """The fitted face as a driver's motion; see `Target`."""
    return Motion(
        rotation=seen_rotation(fit.rotation, fit.translation).astype(np.float32),
        translation=fit.translation.astype(np.float32),
        landmarks=fit.head(fit.points).astype(np.float32),
        pixels=portrait.landmarks[:, :2].astype(np.float32),
        size=(portrait.image.shape[1], portrait.image.shape[0]),
    )


def seen_rotation(rotation: NDArray[np.floating[Any]], translation: NDArray[np.floating[Any]]) -> F64:
    """(3, 3) a head's rotation as seen along the ray to it, not along the camera's axis."""
    return np.asarray(ray_frame(np.asarray(translation, np.float64)).T @ rotation)


@lru_cache(maxsize=1)
def channel_fields() -> F64:
    """(C, 468, 3) cm by which each channel of expression moves the canonical face at weight 1."""
    rest = expressive_face({})[:FACE]
    fields = np.stack([expressive_face({name: 1.0})[:FACE] - rest for name in CHANNELS])
    return np.asarray(fields[np.abs(fields).max((1, 2)) > 0.05])


def expression_of(face: NDArray[np.floating[Any]]) -> F64:
    """(468, 3) cm by which the expression moves a face (>= 468, 3) in head space: what channels of expression, each
    between nothing and whole, explain of it beside the modes of identity."""
    known, channels = canonical(), channel_fields()
    identity = len(known.identity)
    modes = np.concatenate([known.identity[:, :FACE], channels]).reshape(-1, FACE * 3).T
    prior = np.repeat([IDENTITY_PRIOR, CHANNEL_PRIOR], [identity, len(channels)])
    system = np.concatenate([modes, np.diag(FIT_NOISE / prior)])
    low, high = (np.repeat([a, b], [identity, len(channels)]) for a, b in ((-np.inf, 0.0), (np.inf, 1.0)))
    amount, scale, rotation = np.zeros(modes.shape[1]), 1.0, np.eye(3)
    for _ in range(FIT_ROUNDS):
        shape = known.landmarks[:FACE] + (modes @ amount).reshape(-1, 3)
        scale, rotation, shift = similarity(shape, face[:FACE])
        level = (np.asarray(face[:FACE], np.float64) - shift) @ rotation / scale - known.landmarks[:FACE]
        wanted = np.concatenate([level.ravel(), np.zeros(modes.shape[1])])
        amount = lsq_linear(system, wanted, (low, high), method="bvls").x
    moved = (modes[:, identity:] @ amount[identity:]).reshape(-1, 3)
    return np.asarray(scale * moved @ rotation.T)
