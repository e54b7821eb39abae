"""From a picture to a `Portrait`: the face found, a head-and-shoulders crop, a soft matte, a clean background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.errors import PortraitError
from narrate_stream.fusion import brim
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, Image
from offline.picture import Picture

F64 = NDArray[np.float64]
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
MIN_FACE = 40  # pixels between the temples below which no usable model can come out
SMALL = 600  # pixels: the longer side of crops that are doubled
FOCAL_FACTOR = 1.5  # focal length over the longer side of the picture: about 37 degrees of view


@dataclass(frozen=True)
class Portrait:
    """What the geometry works on.

    image: (H, W, 3) the crop at working size; landmarks: (478, 3) pixels of the crop (z in the same unit, smaller =
    nearer); crop: (x0, y0, scale), crop = (picture - (x0, y0)) * scale, pixel centres at whole numbers plus a half;
    camera: of the crop; faces: how many faces the picture showed; tight: the face fills the picture.
    """

    image: Image
    alpha: Array | None
    landmarks: F64
    crop: tuple[float, float, float]
    camera: Camera
    faces: int
    tight: bool
    borders: tuple[bool, bool, bool, bool]


def find_face(image: Image, name: str) -> tuple[F64, int]:
    """(478, 3) landmarks of the largest face in pixels of `image`, and the number of faces. Raises PortraitError."""
    h, w = image.shape[:2]
    scale = min(1.0, 1280 / max(h, w))
    base = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    best: F64 | None = None
    faces = 0
    with FaceMesh(video=False, faces=6, confidence=0.5) as mesh:
        for border, zoom, always in ((0.0, 1.0, True), (0.35, 1.0, True), (0.0, 2.0, False), (0.8, 1.0, False)):
            if (best is not None and not always) or zoom * max(base.shape) > 2600:
                continue
            pad = int(border * max(base.shape[:2]))
            tried = cv2.copyMakeBorder(base, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(127, 127, 127))
            if zoom != 1:
                tried = cv2.resize(tried, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
            found = mesh(np.asarray(tried, np.uint8))
            if found is None:
                continue
            found = (found / zoom - [pad, pad, 0]) / scale
            # a face that fills the picture is only seen with a border round it; without, an eye may pass for a face
            if best is None or np.ptp(found[:, 0]) > 1.3 * np.ptp(best[:, 0]):
                best, faces = found, mesh.seen
    if best is None:
        raise PortraitError(f"{name}: no human face was found in the picture")
    if np.ptp(best[:, 0]) < MIN_FACE:
        raise PortraitError(f"{name}: the face is only {np.ptp(best[:, 0]):.0f} pixels wide; {MIN_FACE} are needed")
    return best, faces


def crop_box(landmarks: F64, width: int, height: int) -> tuple[int, int, int, int]:
    """Head and shoulders: x0, y0, x1, y1 clipped to the picture."""
    lo, hi = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    side = max(np.ptp(landmarks[:, 1]), np.ptp(landmarks[:, 0]) * 1.15)
    cx, cy = (lo + hi) / 2
    box = cx - 1.75 * side, cy - 1.55 * side, cx + 1.75 * side, cy + 1.95 * side
    return max(0, int(box[0])), max(0, int(box[1])), min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))


def prepare(picture: Picture, size: int) -> Portrait:
    """Finds the face and cuts the crop out at working size. Raises PortraitError without a usable face."""
    name = str(picture.path) if picture.path else "the built-in portrait"
    landmarks, faces = find_face(picture.image, name)
    h, w = picture.image.shape[:2]
    x0, y0, x1, y1 = crop_box(landmarks, w, h)
    longest = max(x1 - x0, y1 - y0)
    # small pictures are doubled, not stretched by any factor: halving gives their own pixels back
    scale = size / longest if longest > size else (2.0 if longest <= min(SMALL, size / 2) else 1.0)
    out = max(16, round((x1 - x0) * scale)), max(16, round((y1 - y0) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC

    def cut(a: NDArray[Any]) -> NDArray[Any]:
        return a[y0:y1, x0:x1] if scale == 1 else np.asarray(cv2.resize(a[y0:y1, x0:x1], out, interpolation=how))

    image = np.ascontiguousarray(cut(picture.image))
    alpha = None if picture.alpha is None else np.clip(np.asarray(cut(picture.alpha), np.float32), 0, 1)
    marks = (landmarks - [x0, y0, 0] + [0.5, 0.5, 0]) * scale - [0.5, 0.5, 0]
    marks = refined(image, marks)
    face = np.ptp(landmarks[:, 0]), np.ptp(landmarks[:, 1])
    tight = face[0] > 0.62 * w and face[1] > 0.62 * h
    borders = x0 == 0, y0 == 0, x1 == w, y1 == h
    focal = FOCAL_FACTOR * max(w, h) * scale
    camera = Camera(focal, (w / 2 - x0) * scale - 0.5, (h / 2 - y0) * scale - 0.5)
    return Portrait(image, alpha, marks, (float(x0), float(y0), float(scale)), camera, faces, tight, borders)


def refined(image: Image, marks: F64) -> F64:
    """Landmarks found again in the crop (sharper there) and averaged over small shifts, which calms their noise."""
    total, count = marks * 0, 0
    with FaceMesh(video=False) as mesh:
        for dx, dy in ((0, 0), (9, 4), (-7, 6), (3, -8)):
            pad = int(0.25 * max(image.shape[:2]))
            shifted = cv2.copyMakeBorder(image, pad + dy, pad - dy, pad + dx, pad - dx, cv2.BORDER_REPLICATE)
            found = mesh(np.asarray(shifted, np.uint8))
            if found is not None:
                found = found - [pad + dx, pad + dy, 0]
                if np.abs(found[:, :2] - marks[:, :2]).max() < 0.3 * np.ptp(marks[:, 0]):
                    total, count = total + found, count + 1
    return total / count if count else marks


def face_polygon(landmarks: F64) -> NDArray[np.int32]:
    """The face oval as an OpenCV polygon."""
    return np.asarray(np.round(landmarks[list(OVAL), :2]), np.int32)


def matte(portrait: Portrait) -> Array:
    """(H, W) soft coverage of the person, 0..1: segmentation, refined to the picture's own edges (guided filter).

    A face that fills the picture has no background: the matte is everything.
    """
    image, marks = portrait.image, portrait.landmarks
    h, w = image.shape[:2]
    if portrait.alpha is not None and portrait.alpha.min() < 0.5:
        return portrait.alpha
    if portrait.tight:
        return np.ones((h, w), np.float32)
    raw = segmentation(image)
    face = cv2.fillPoly(np.zeros((h, w), np.uint8), [face_polygon(marks)], 1)
    raw = np.maximum(raw, cv2.GaussianBlur(face.astype(np.float32), (0, 0), 3) * face)
    raw = raw * connected(raw > 0.3, face)
    radius = max(2, round(0.012 * max(h, w)))
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) / 255
    soft = cv2.ximgproc.guidedFilter(guide, raw, radius * 2, 1e-4)
    fine = cv2.ximgproc.guidedFilter(guide, soft, max(2, radius // 2), 1e-5)
    soft = np.clip((0.5 * soft + 0.5 * fine - 0.3) / 0.52, 0, 1)  # the filter hazes: keep its steep part
    near = cv2.dilate((raw > 0.1).astype(np.uint8), np.ones((2 * radius + 1,) * 2))
    sure = cv2.erode((raw > 0.9).astype(np.uint8), np.ones((2 * radius + 1,) * 2)) | cv2.erode(face, np.ones((5, 5)))
    soft = np.maximum(np.where(near > 0, soft, 0), sure)
    soft = by_colour(image, np.asarray(soft, np.float32), radius)
    soft[soft < 0.03] = 0
    soft[soft > 0.97] = 1
    return np.asarray(soft, np.float32)


def by_colour(image: Image, alpha: Array, radius: int) -> Array:
    """The matte's edge again from colour: where person and background differ, a pixel's place between the two colours
    around it says more than the segmentation's blur."""
    inner = cv2.erode((alpha > 0.95).astype(np.uint8), np.ones((radius | 1,) * 2)).astype(np.float32)
    outer = cv2.erode((alpha < 0.03).astype(np.uint8), np.ones((radius | 1,) * 2)).astype(np.float32)
    if inner.sum() < 64 or outer.sum() < 64:
        return alpha
    img = cv2.GaussianBlur(image, (0, 0), 0.6).astype(np.float32)
    fore, back = push_pull(img, inner), push_pull(img, outer)
    apart = fore - back
    distance = np.linalg.norm(apart, axis=-1)
    along = ((img - back) * apart).sum(-1) / np.maximum(distance**2, 1)
    aside = np.linalg.norm(img - back - along[..., None] * apart, axis=-1)
    trust = np.clip((distance - 30) / 50, 0, 1) * np.clip(1.5 - aside / np.maximum(0.5 * distance, 1), 0, 1)
    trust *= (inner + outer) == 0
    mixed = alpha + trust * (np.clip((along - 0.08) / 0.84, 0, 1) - alpha)
    return np.asarray(cv2.GaussianBlur(mixed, (0, 0), 0.5), np.float32)


def segmentation(image: Image) -> Array:
    """(H, W) likelihood of a person, 0..1, from MediaPipe's selfie segmentation, averaged with its mirror image."""
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    h, w = image.shape[:2]
    with SelfieSegmentation(model_selection=0) as model:
        plain = model.process(image).segmentation_mask
        mirrored = model.process(np.ascontiguousarray(image[:, ::-1])).segmentation_mask[:, ::-1]
    return np.asarray(cv2.resize((plain + mirrored) / 2, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def connected(mask: NDArray[np.bool_], seed: NDArray[np.uint8]) -> Array:
    """1 on the components of `mask` that touch `seed`, softly 0 elsewhere: people behind are not the portrait."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    keep = np.zeros(count, np.uint8)
    keep[np.unique(labels[(seed > 0) & mask])] = 1
    keep[0] = 0
    grown = cv2.dilate(keep[labels], np.ones((5, 5)))
    return np.asarray(cv2.GaussianBlur(grown.astype(np.float32), (0, 0), 1.5), np.float32)


def foreground_colours(image: Image, alpha: Array, plate: Image) -> Image:
    """(H, W, 3) the person's own colour without the background's, so that colour * alpha + plate * (1 - alpha) gives
    the
    picture back; beyond the edge, where nothing of the person is seen, it goes on smoothly (blur fusion, Forte
    2021)."""
    if alpha.min() >= 0.999:
        return image
    img, a = image.astype(np.float32), alpha[..., None]
    solid = (alpha >= 0.9).astype(np.float32)
    beyond = push_pull(img, solid)
    exact = np.clip((img - (1 - a) * plate) / np.maximum(a, 0.05), 0, 255)
    sure = np.clip((a - 0.2) / 0.4, 0, 1)
    return np.asarray(exact * sure + beyond * (1 - sure) + 0.5, np.uint8)


def clean_plate(image: Image, alpha: Array) -> Image:
    """(H, W, 3) the background with the person taken out; untouched from `BRIM` beside the matte on, as what borders on
    it shows a little of the person (light round an edge, single hairs), which would stay behind when the head moves.

    Near the edge the background's own texture is mirrored across the silhouette; deeper in, that fades into a smooth
    fill (push-pull), so that nothing of the person shows when the head moves away.
    """
    if alpha.min() >= 0.999:
        return image
    reach = brim((image.shape[1], image.shape[0]))
    hole = cv2.distanceTransform((alpha <= 0.0).astype(np.uint8), cv2.DIST_L2, 5) > reach
    if not hole.any():
        return np.asarray(np.broadcast_to(np.median(image.reshape(-1, 3), 0), image.shape), np.uint8).copy()
    smooth = push_pull(image.astype(np.float32), hole.astype(np.float32))
    distance, label = cv2.distanceTransformWithLabels(
        (~hole).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    y, x = np.nonzero(hole)
    order = np.zeros(label.max() + 1, np.int64)
    order[label[y, x]] = np.arange(len(y))
    ny, nx = y[order[label]], x[order[label]]
    gy, gx = np.mgrid[: image.shape[0], : image.shape[1]]
    my, mx = np.clip(2 * ny - gy, 0, image.shape[0] - 1), np.clip(2 * nx - gx, 0, image.shape[1] - 1)
    usable = cv2.GaussianBlur(hole[my, mx].astype(np.float32), (0, 0), 2)
    weight = usable * np.exp(-((distance / (0.06 * max(image.shape[:2]))) ** 2))
    mirrored = image[my, mx].astype(np.float32)
    filled = mirrored * weight[..., None] + smooth * (1 - weight[..., None])
    out = np.where(hole[..., None], image, filled)
    return np.asarray(np.clip(out + 0.5, 0, 255), np.uint8)


def push_pull(values: Array, weight: Array) -> Array:
    """Fills where `weight` (H, W) is 0 from coarser and coarser averages; known values stay. values: (H, W, C)."""
    h, w = weight.shape
    if min(h, w) <= 4:
        mean = (values * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-6)
        return np.asarray(values * weight[..., None] + mean * (1 - weight[..., None]), np.float32)
    half = (max(1, w // 2), max(1, h // 2))
    w2 = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    v2 = cv2.resize(values * weight[..., None], half, interpolation=cv2.INTER_AREA) / (w2[..., None] + 1e-6)
    coarse = push_pull(np.asarray(v2, np.float32), np.minimum(w2 * 4, 1).astype(np.float32))
    up = cv2.GaussianBlur(cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC), (0, 0), 1)
    return np.asarray(values * weight[..., None] + up * (1 - weight[..., None]), np.float32)
