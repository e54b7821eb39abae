"""`narrate eval views`: new views against the same head really turned.

A sitter of the FaceKit is photographed once (frontal, every third one at three-quarter: 30 degrees of yaw); the
picture goes through the build and `view`; the truth is the same sitter rendered with the head turned.

Convention: the camera stays and the head turns, by `rotation_from_angles(yaw, pitch, 0)` applied after the pose of the
photograph, about the point (0, -1, 0) cm of the product's head space (1 cm below the middle of the outer eye corners,
at the depth of the ears); the light turns with the head; shoulders stay.

Columns: psnr (dB, skin that the photograph saw, sRGB), ssim (whole head with hair), marks (mean distance of the
detector's 468 landmarks, per cent of the distance between the outer eye corners in the photograph): all three with
nothing aligned, neither place nor colour. psnr*, ssim*, marks*: the same after the picture is laid onto the truth by
the one similarity (shift, scale, roll) that fits its landmarks best, for a judge who cannot know what point is turned
about. pose (degrees between the head poses that `fit_face` finds in both); turned (degrees of rotation found, over
those of the truth: 1 is right).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import NarrateError, PortraitError
from narrate_stream.ops.facefit import fit_face
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.types import Image, View
from offline.build import build
from offline.evaluate.align import flat_similarity, laid, rotation_angle
from offline.evaluate.metrics import psnr, ssim
from offline.evaluate.sitters import Gallery, Shot, Sitter
from offline.evaluate.table import Rows, angle_name, means, sheet_line
from offline.facekit import load_facekit
from offline.networks import load_networks
from offline.picture import Picture
from offline.preprocess import find_face
from offline.stills import Studio, photograph_framing

F64 = NDArray[np.float64]
log = logging.getLogger(__name__)
ANGLES = ((10, 0), (-10, 0), (20, 0), (-20, 0), (30, 0), (-30, 0), (49, 0), (-49, 0), (0, 15), (0, -15))
QUICK = ((-20, 0), (30, 0), (49, 0), (0, 15), (0, -15))
SITTERS, QUICK_SITTERS = 6, 2
TURNED = 30.0  # degrees of yaw of every third sitter's photograph
FORMATS = {"psnr": "5.2f", "ssim": "5.3f", "marks": "5.2f", "psnr*": "5.2f", "ssim*": "5.3f", "marks*": "5.2f",
           "pose": "5.2f", "turned": "6.2f"}  # fmt: skip
Turner = Callable[[float, float], Image]  # (yaw, pitch) -> the view


@dataclass(frozen=True, eq=False)
class Scene:
    """One sitter and its photograph. Compared by identity."""

    name: str
    gallery: Gallery
    sitter: Sitter
    base_yaw: float
    photograph: Shot

    def shoot(self, yaw: float, pitch: float) -> Shot:
        """The truth: the head turned from the photograph's pose."""
        return turned_shot(self, yaw, pitch)


@lru_cache(maxsize=1)
def turned_shot(scene: Scene, yaw: float, pitch: float) -> Shot:
    """Rendered once for the rows that ask for it."""
    return scene.gallery.shoot(scene.sitter, yaw, pitch, scene.base_yaw, len(scene.photograph.image))


@lru_cache(maxsize=1)
def found_at_first(scene: Scene) -> tuple[F64, F64] | None:
    """Landmarks (478, 3) and head pose (3, 3) of the photograph, or None without a face."""
    marks = landmarks_of(scene.photograph.image)
    camera = scene.gallery.camera(scene.sitter, len(scene.photograph.image))
    return None if marks is None else (marks, fit_face(marks, camera).rotation)


@lru_cache(maxsize=2)
def gallery(folder: Path) -> Gallery:
    """The FaceKit's sitters. Raises NarrateError when `folder` is not a FaceKit with its landmark indices."""
    path = folder / "vertex_indices.json"
    kit = load_facekit(folder)
    try:
        marks = json.loads(path.read_text())["idx_to_landmark_verts"]
    except (OSError, ValueError, KeyError) as error:
        raise NarrateError(f"{path}: the kit's landmark indices cannot be read ({error})") from error
    return Gallery(kit, np.asarray(marks, np.int64))


def scenes(folder: Path, count: int, size: int = 512) -> Iterator[Scene]:
    """The first `count` sitters, every third one photographed at three-quarter."""
    made = gallery(folder)
    for number in range(count):
        sitter, yaw = made.sitter(number), TURNED if number % 3 == 2 else 0.0
        shot = made.shoot(sitter, 0, 0, yaw, size)
        yield Scene(f"sitter {number}" + (" at 3/4" if yaw else ""), made, sitter, yaw, shot)


# ------------------------------------------------------------------ who turns


def unchanged(scene: Scene) -> Turner:
    """The photograph itself, whatever is asked for."""
    return lambda yaw, pitch: scene.photograph.image


def weight_free(scene: Scene) -> Turner:
    """The product from geometry alone: build, then view."""
    return product(scene, networks=False)


def with_networks(scene: Scene) -> Turner:
    """The product as it is shipped."""
    return product(scene, networks=True)


def product(scene: Scene, *, networks: bool) -> Turner:
    """`narrate build`, then `narrate view`."""
    model = build(Picture(scene.photograph.image, path=Path(scene.name)), 1024, networks=networks).model
    studio = Studio(model, photograph_framing(model))
    return lambda yaw, pitch: studio.shoot("original", View(yaw, pitch))


def true_geometry(scene: Scene) -> Turner:
    """A ceiling: the photograph projected onto the true head; what it did not see keeps what projects there."""

    def turn(yaw: float, pitch: float) -> Image:
        truth = scene.shoot(yaw, pitch)
        x, y, _ = source_of(scene, truth)
        warped = cv2.remap(scene.photograph.image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.where(np.isnan(truth.depth)[..., None], scene.photograph.image, warped).astype(np.uint8)

    return turn


TURNERS: dict[str, Callable[[Scene], Turner]] = {
    "input unchanged": unchanged,
    "weight-free": weight_free,
    "networks": with_networks,
    "true geometry, input projected": true_geometry,
}


def available() -> dict[str, Callable[[Scene], Turner]]:
    """TURNERS that can run here: the networks only with their weights (without, `load_networks` says so)."""
    return {name: turner for name, turner in TURNERS.items() if name != "networks" or load_networks()}


# ------------------------------------------------------------------ measuring


def source_of(scene: Scene, truth: Shot) -> tuple[NDArray[np.float32], NDArray[np.float32], F64]:
    """Where the photograph shows what each pixel of `truth` shows: x, y (S, S) pixels, and its depth there (cm)."""
    shape = truth.depth.shape
    place = np.nan_to_num(truth.place).reshape(-1, 3)
    share = np.nan_to_num(truth.share).ravel()
    base = rotation_from_angles(scene.base_yaw, 0, 0)
    point = scene.gallery.posed(scene.sitter, place, share, base)
    x, y = scene.gallery.camera(scene.sitter, shape[0]).project(point).astype(np.float32).T
    return x.reshape(shape), y.reshape(shape), -point[:, 2].reshape(shape)


def seen_skin(scene: Scene, truth: Shot) -> NDArray[np.bool_]:
    """(S, S) skin of the face that the photograph saw as well, neither grazing here nor there."""
    x, y, depth = source_of(scene, truth)
    photograph = scene.photograph

    def there(values: F64) -> F64:
        return np.asarray(cv2.remap(values.astype(np.float32), x, y, cv2.INTER_NEAREST))

    same = np.abs(there(np.nan_to_num(photograph.depth, nan=1e4)) - depth) < 0.3
    grazing = (truth.facing < 0.2) | (there(photograph.facing) < 0.2)
    return np.asarray(truth.skin & same & ~grazing & (there(photograph.skin.astype(np.float64)) > 0.5))


def landmarks_of(image: Image) -> F64 | None:
    """(478, 3) pixels, or None when the detector finds no face."""
    try:
        return find_face(image, "a view")[0]
    except PortraitError:
        return None


@dataclass(frozen=True)
class Reference:
    """What the photograph and the truth say, found once for all rows: landmarks, pose, masks."""

    truth: Shot
    seen: NDArray[np.bool_]
    marks: F64
    pose: F64
    start: F64
    eyes: float
    camera: Camera


def reference(scene: Scene, yaw: float, pitch: float) -> Reference | None:
    """None when the detector finds no face in the photograph or the truth: then there is nothing to compare with."""
    truth = scene.shoot(yaw, pitch)
    marks, start = landmarks_of(truth.image), found_at_first(scene)
    if marks is None or start is None:
        return None
    first, first_pose = start
    camera = scene.gallery.camera(scene.sitter, len(truth.image))
    eyes = float(np.linalg.norm(first[33, :2] - first[263, :2])) / np.cos(np.radians(scene.base_yaw))
    pose = fit_face(marks, camera).rotation
    return Reference(truth, seen_skin(scene, truth), marks, pose, first_pose, eyes, camera)


def measure(image: Image, wanted: Reference) -> dict[str, float]:
    """One row of the table; without a face in `image` what needs landmarks is missing."""
    row = pixels_row(image, wanted, "")
    marks = landmarks_of(image)
    if marks is None:
        return row
    found, true = marks[:468, :2], wanted.marks[:468, :2]
    matrix = flat_similarity(found, true)
    row |= pixels_row(laid(image, matrix), wanted, "*")
    for key, points in (("marks", found), ("marks*", found @ matrix[:, :2].T + matrix[:, 2])):
        row[key] = 100 * float(np.linalg.norm(points - true, axis=-1).mean()) / wanted.eyes
    pose = fit_face(marks, wanted.camera).rotation
    row["pose"] = rotation_angle(pose @ wanted.pose.T)
    row["turned"] = rotation_angle(pose @ wanted.start.T) / max(rotation_angle(wanted.pose @ wanted.start.T), 1e-3)
    return row


def pixels_row(image: Image, wanted: Reference, suffix: str) -> dict[str, float]:
    """psnr of the seen skin and ssim of the head."""
    a, b = image.astype(np.float64) / 255, wanted.truth.image.astype(np.float64) / 255
    return {
        "psnr" + suffix: psnr(a, b, wanted.seen),
        "ssim" + suffix: ssim(a.mean(-1), b.mean(-1), wanted.truth.head),
    }


def evaluate_views(
    folder: Path,
    *,
    sitters: int = SITTERS,
    angles: tuple[tuple[float, float], ...] = ANGLES,
    turners: dict[str, Callable[[Scene], Turner]] | None = None,
    sheet: list[Image] | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """{row: {"yaw +10": means over sitters, ..., "mean": ...}} on the FaceKit in `folder`.

    `sheet` receives pictures: one line of (photograph, row's view, truth) for every sitter and angle. Raises
    NarrateError for a folder that is no FaceKit, or when no sitter has a face for the detector. A sitter that cannot
    be built is left out of all rows and named in the log.
    """
    rows = available() if turners is None else turners
    found: Rows = {name: {} for name in rows}
    for scene in scenes(folder, sitters):
        try:
            made = {name: prepare(scene) for name, prepare in rows.items()}
        except PortraitError as error:
            log.warning("%s is left out: %s", scene.name, error)
            continue
        for yaw, pitch in angles:
            wanted = reference(scene, yaw, pitch)
            if wanted is None:
                continue
            angle = angle_name(yaw, pitch)
            views = {name: turn(yaw, pitch) for name, turn in made.items()}
            for name, image in views.items():
                found[name].setdefault(angle, []).append(measure(image, wanted))
            if sheet is not None:
                sheet.append(sheet_line(scene.name, scene.photograph.image, views, wanted.truth.image, angle))
        if progress:
            progress(scene.name)
    if not any(found.values()):
        raise NarrateError(f"{folder}: none of its sitters could be measured")
    return means(found)
