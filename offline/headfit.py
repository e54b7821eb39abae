"""A whole head fitted to the landmarks of one photograph: pose, distance, depth under every landmark, and a template.

Statistics of our own stage (`offline/head_stats.py`): kit heads photographed from many sides and distances, and a ridge
regression from what the detector saw to what was true. Detected outlines slide along the cheek as a head turns and the
detector's own depth is flattened; a regression learns both, where a fit of fixed points cannot.

Convention: head space in cm (x right in the image, y up, z toward the viewer, origin midway between the outer eye
corners at the depth of the ears); camera space as everywhere. The *ray frame* is camera space turned so that its -z
axis points at the head's origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit, fit_face
from narrate_stream.ops.geometry import Camera, angles_from_rotation, similarity

F64 = NDArray[np.float64]
MARKS = 468
WITH_YAW = 16  # components of the landmarks' shape that act differently from different sides
ANGLES = (23.0, 12.0, 6.0)  # degrees of yaw, pitch and roll that count as one
NEAREST, USUAL, FARTHEST = 42.0, 80.0, 150.0  # cm: the distances that a photograph's field of view is believed to say
SCENE_SHARE = 0.5  # how far the field of view, the rest the face's own perspective, decides on the distance
STRANGEST = 1.5  # rms of the shape components: 19 of 20 heads of the stage stay below


@dataclass(frozen=True)
class HeadStats:
    """What `offline/head_stats.py` found. mean (1404,) and basis (C, 1404): shape of the aligned landmarks; weights
    (F, 7 + M + 468): features to turn (3), log size, 10 / distance, origin (2), template modes (M), depth under the
    landmarks (468); template (rows * columns + 468, 3) average head and its landmarks, modes (M, ..., 3) one sigma."""

    mean: F64
    basis: F64
    weights: F64
    template: F64
    modes: F64
    shape: tuple[int, int]


@dataclass(frozen=True)
class HeadFit(FaceFit):
    """A `FaceFit` and the head around it: shell (rows, columns, 3) camera-space points, cm, rows from the crown to the
    neck, columns round the head from the middle of the back over the image's left, the face and the image's right."""

    shell: F64


@lru_cache(maxsize=1)
def head_stats() -> HeadStats:
    """Loads the shipped statistics once."""
    with resources.as_file(resources.files("narrate_stream") / "data" / "head.npz") as path:
        data: dict[str, Any] = dict(np.load(path))
    arrays = {k: data[k].astype(np.float64) for k in ("mean", "basis", "weights", "template", "modes")}
    return HeadStats(**arrays, shape=tuple(data["shape"].tolist()))


@dataclass(frozen=True)
class Aligned:
    """Landmarks laid onto the canonical face: scale (pixels per canonical cm), rotation (3, 3), centre (2,) in pixels
    of the head's origin, rest (1404,) what is left."""

    scale: float
    rotation: F64
    centre: F64
    rest: F64


def align(landmarks: F64) -> Aligned:
    """The similarity that lays the canonical face onto (478, 3) landmarks in pixels with the detector's own depth."""
    seen = landmarks[:MARKS] * [1, -1, -1]
    face = canonical().landmarks[:MARKS]
    scale, rotation, shift = similarity(face, seen)
    rest = (seen - shift) @ rotation / scale - face
    return Aligned(scale, rotation, np.array([shift[0], -shift[1]]), rest.ravel())


def features(components: F64, rotation: F64) -> F64:
    """(..., F) what the regression sees: pose (..., 3, 3), whitened shape components (..., C) and their products."""
    y, p, r = np.moveaxis(angles_from_rotation(rotation) / ANGLES, -1, 0)
    pose = np.stack([np.ones_like(y), y, p, r, y * y, p * p, y * p, np.abs(y) ** 3, y**3, r * r], -1)
    few = components[..., :WITH_YAW]
    mixed = [few * a[..., None] for a in (y, p, y * y)]
    return np.concatenate([pose, components, *mixed], -1)


def shape_components(stats: HeadStats, rest: F64) -> F64:
    """(C,) whitened components of a shape (1404,), brought back toward the average where no head of the stage is like
    it: a regression must not be asked beyond what it has seen (a drawing, landmarks of another source)."""
    found = stats.basis @ (rest - stats.mean)
    return np.asarray(found * min(1.0, STRANGEST / max(float(np.sqrt((found**2).mean())), 1e-9)))


def ray_frame(direction: F64) -> F64:
    """(3, 3) camera_from_ray: the least rotation that brings -z to `direction` (3,)."""
    towards = direction / np.linalg.norm(direction)
    axis = np.cross([0.0, 0.0, -1.0], towards)
    sine = float(np.linalg.norm(axis))
    return np.asarray(Rotation.from_rotvec(axis / max(sine, 1e-12) * np.arcsin(min(sine, 1.0))).as_matrix())


def believed_distance(scene: float, face: float) -> float:
    """cm from camera to head, from what the field of view says (`scene`) and what the face's perspective says (`face`,
    1 / cm); nobody stands nearer than NEAREST: a picture that says so was cropped, and USUAL is taken instead."""
    if scene < NEAREST:
        scene = USUAL
    return 1 / (SCENE_SHARE / min(scene, FARTHEST) + (1 - SCENE_SHARE) * face)


def fit_head(landmarks: F64, camera: Camera) -> tuple[HeadFit, Camera]:
    """The head under (478, 3) landmarks in pixels (z: the detector's own, smaller = nearer), and the camera with the
    focal length that goes with its distance. Every landmark is put exactly under its own pixel.

    The relief of the face is `fit_face`'s; the regression's depth gives the distance of the whole only (with either,
    views of kit heads were equally good: 1.6 % of the eye distance after alignment).
    """
    stats, seen = head_stats(), align(landmarks)
    found = features(shape_components(stats, seen.rest), seen.rotation) @ stats.weights
    turn, size, inverse, aside = found[:3], float(np.exp(found[3])), max(float(found[4]), 0.03) / 10, found[5:7]
    modes, depth = found[7 : 7 + len(stats.modes)], found[7 + len(stats.modes) :]
    distance = believed_distance(camera.focal * size / seen.scale, inverse)
    camera = replace(camera, focal=distance * seen.scale / size)
    pixel = seen.centre + aside * seen.scale
    origin = camera.unproject(pixel, -distance)
    ray = ray_frame(origin)
    rotation = ray @ seen.rotation @ Rotation.from_rotvec(turn).as_matrix()
    flat = (landmarks[:MARKS, :2] - pixel) / seen.scale * [1, -1]
    face = canonical().landmarks[:MARKS] @ seen.rotation.T
    near = np.column_stack([flat, depth + face[:, 2]]) * size
    z = origin[2] + (near @ ray.T)[:, 2]
    fitted = fit_face(landmarks, camera)
    points = fitted.points
    points = points * (np.median(z) / np.median(points[:MARKS, 2]))  # scaled from the camera: pixels stay
    head = size * (stats.template + np.tensordot(modes, stats.modes, 1)) @ rotation.T
    origin = np.median(points[:MARKS] - head[-MARKS:], 0)
    shell = (head[:-MARKS] + origin).reshape(*stats.shape, 3)
    return HeadFit(rotation, origin, points, fitted.error, shell), camera
