"""Where a point of the neutral head lies: distances to lips, eyes, hair and beard, and the cover of single brow hairs.

Features are drawn once per person into maps, of the frontal plane and of an upright cylinder around the head, and
looked up from there.

Convention: cm, x right in the image, y up, z out of the face; row 0 of a map is the lowest y; distances are signed,
positive inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

from offline.lightstage.person import Skin
from offline.lightstage.texture import F32, f32, look, smoothstep

FRONT_SCALE, BROW_SCALE, ROUND_SCALE = 16.0, 36.0, 10.0  # pixels per cm of the painted maps
FRONT_LOW = np.array([-8.0, -10.0])
ROUND_LOW = np.array([-26.0, -13.0])
BROW_LOW = np.array([0.2, 3.8])
AXIS_Z, ROUND_RADIUS = 2.0, 8.0  # the upright cylinder on which hair and beard are laid out, cm


@dataclass(frozen=True)
class Place:
    """Where the points are: signed cm to features, soft masks 0..1, all (N,)."""

    lips: F32
    slit: F32
    eyes: F32
    fold: F32
    bag: F32
    hair: F32
    beard: F32
    moustache: F32
    brow: F32
    ear: F32
    front: F32


def place_of(skin: Skin, points: F32, marks: F32) -> Place:
    """Where `points` (N, 3) of the neutral head lie among the landmarks `marks` (68, 3), float32."""
    raw = np.ascontiguousarray(marks, np.float32).tobytes()
    x, y, z = points.T
    front = smoothstep(z, 4.5, 6.5)
    near = look(_front_maps(raw), ((points[:, :2] - FRONT_LOW) * FRONT_SCALE).T[::-1])
    turn = np.arctan2(x, z - AXIS_Z) * ROUND_RADIUS
    around = look(_round_maps(skin), (np.stack([turn, y], 1) - ROUND_LOW).T[::-1] * ROUND_SCALE)
    fold = np.stack([np.abs(x), y], 1)
    brows = look(_brow_maps(skin, raw), ((fold - BROW_LOW) * BROW_SCALE).T[::-1])
    brow = np.where(x > 0, brows[:, 0], brows[:, 1]) * front
    from_ear = ((np.abs(x) - 8.5) / 1.25) ** 2 + ((y - 1.2) / 3.7) ** 2 + ((z + 0.3) / 2.8) ** 2
    ear = smoothstep(1.25 - np.sqrt(from_ear), 0, 0.3)
    return Place(
        *(near[:, 0], near[:, 1], near[:, 2], near[:, 3], near[:, 4]),
        *(around[:, 0], around[:, 1], around[:, 2]),
        *(f32(brow), ear, front),
    )


def _arc(points: NDArray[np.floating[Any]], count: int = 48) -> NDArray[np.float64]:
    """(count, D) points on a smooth curve through `points`."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return np.asarray(CubicSpline(along, points)(np.linspace(0, along[-1], count)))


def _signed(outline: NDArray[np.floating[Any]], low: NDArray[np.float64], scale: float, size: tuple[int, int]) -> F32:
    """(rows, columns) distance in cm to a closed outline (K, 2), positive inside; row 0 is the lowest y."""
    inside = np.zeros(size, np.uint8)
    cv2.fillPoly(inside, [np.round((outline - low) * scale * 16).astype(np.int32)], 1, shift=4)
    near, far = (cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (inside, 1 - inside))
    return np.asarray((near - far) / scale, np.float32)


@lru_cache(maxsize=2)
def _front_maps(raw: bytes) -> F32:
    """(rows, columns, 5) of the frontal plane: signed cm to lips, mouth slit, eyes; cm to the fold beside the mouth,
    cm to the crease under the eye."""
    marks = np.frombuffer(raw, np.float32).reshape(68, 3)[:, :2].astype(np.float64)
    size = (int(22 * FRONT_SCALE), int(16 * FRONT_SCALE))
    lips = np.concatenate([_arc(marks[48:55]), _arc(marks[[54, 55, 56, 57, 58, 59, 48]])])
    slit = np.concatenate([_arc(marks[60:65]), _arc(marks[[64, 65, 66, 67, 60]])])
    right = np.concatenate([_arc(marks[36:40]), _arc(marks[[39, 40, 41, 36]])])
    left = np.concatenate([_arc(marks[42:46]), _arc(marks[[45, 46, 47, 42]])])
    fields = [_signed(o, FRONT_LOW, FRONT_SCALE, size) for o in (lips, slit, right, left)]
    fold = marks[[35, 35, 54, 54]] + [(0.45, 0.9), (1.05, -0.1), (0.75, 0.7), (0.7, -0.7)]
    bag = marks[[42, 47, 46, 45]] + [(0.1, -0.55), (0.1, -1.0), (0.1, -1.0), (-0.2, -0.6)]
    lines = []
    for curve in (_arc(fold), _arc(bag)):
        drawn = np.ones(size, np.uint8)
        for side in (1.0, -1.0):
            at = (curve * (side, 1.0) - FRONT_LOW) * FRONT_SCALE * 16
            cv2.polylines(drawn, [np.round(at).astype(np.int32)], False, 0, 1, shift=4)
        lines.append(cv2.distanceTransform(drawn, cv2.DIST_L2, 5) / np.float32(FRONT_SCALE))
    return np.stack([fields[0], fields[1], np.maximum(fields[2], fields[3]), *lines], -1)


@lru_cache(maxsize=4)
def _round_maps(skin: Skin) -> F32:
    """(rows, columns, 3) around the head: signed cm into the scalp hair, the beard and the moustache."""
    size, up, back = (int(29 * ROUND_SCALE), int(52 * ROUND_SCALE)), skin.hairline, skin.recession
    burn = float(np.random.default_rng((skin.seed, 77)).uniform(1.2, 3.4))  # how low the hair goes before the ear
    hair = [(0, 11.2 + up), (1.6, 11.3 + up + 0.4 * back), (3.4, 11.3 + up + back), (5.2, 10.9 + up + back)]
    hair += [(7.0, 9.6 + up + 0.7 * back), (8.4, 7.4 + 0.4 * back), (9.9, 6.0), (10.6, 4.4), (10.9, burn + 0.8)]
    hair += [(11.2, burn), (12.0, burn), (12.3, 4.0), (12.7, 4.9), (16.2, 5.0), (17.0, 3.0), (17.3, 0.0), (18.2, -3.0)]
    hair += [(20.5, -4.6), (27, -5.0), (27, 17)]
    beard = [(0, -4.6), (1.3, -4.75), (2.3, -4.3), (3.4, -3.0), (4.6, -2.6), (6.6, -1.7), (8.8, -0.2), (10.1, 1.4)]
    beard += [(10.6, 3.2), (11.9, 3.0), (12.0, 0.6), (11.8, -2.6), (10.6, -5.6), (7.5, -8.2), (4.0, -9.4), (0, -9.8)]
    lip = [(0, -1.35), (0.8, -1.25), (1.8, -1.5), (2.7, -2.5), (3.15, -3.5), (3.1, -4.1), (2.75, -4.0), (2.2, -3.2)]
    lip += [(1.6, -2.7), (0.7, -2.35), (0, -2.4)]
    fields = []
    for half in (hair, beard, lip):
        right = np.asarray(half, np.float64)
        both = np.concatenate([right, (right * (-1.0, 1.0))[::-1]])
        fields.append(_signed(both, ROUND_LOW, ROUND_SCALE, size))
    return np.stack(fields, -1)


@lru_cache(maxsize=4)
def _brow_maps(skin: Skin, raw: bytes) -> F32:
    """(rows, columns, 2) cover 0..1 by the hairs of the left and (mirrored) right brow."""
    marks = np.frombuffer(raw, np.float32).reshape(68, 3)[:, :2].astype(np.float64)
    rng = np.random.default_rng((skin.seed, 99))
    size = (int(4.6 * BROW_SCALE), int(7.3 * BROW_SCALE))
    sides = []
    for order in ((22, 23, 24, 25, 26), (21, 20, 19, 18, 17)):
        line = np.abs(marks[list(order)] * (1, 0)) + marks[list(order)] * (0, 1)
        line += np.array([0, skin.brow_arch]) * np.array([0.0, 0.5, 1.0, 1.0, 0.2])[:, None] - (0, 0.15)
        sides.append(_one_brow(skin, rng, _arc(line, 200), size))
    return np.stack(sides, -1)


def _one_brow(skin: Skin, rng: np.random.Generator, line: NDArray[np.float64], size: tuple[int, int]) -> F32:
    """(rows, columns) cover by hairs: upright at the nose, then along the brow, meeting in its ridge."""
    count = int(220 + 420 * skin.brow_density * skin.brow_height)
    t, across = rng.beta(1.1, 1.25, count), np.clip(rng.normal(0, 0.5, count), -1, 1)
    half = 0.5 * skin.brow_height * np.interp(t, [0, 0.12, 0.55, 1], [0.8, 1.0, 0.85, 0.25])
    root = line[(t * 199).astype(int)] + np.stack([np.zeros(count), across * half], 1)
    lean = np.interp(t, [0, 0.2, 0.6, 1], [1.25, 0.65, 0.12, -0.25]) - 0.45 * across + rng.normal(0, 0.16, count)
    length = rng.uniform(0.3, 0.62, count) * np.interp(t, [0, 0.3, 1], [0.8, 1.0, 0.7]) * (0.6 + 0.4 * skin.brow_height)
    bend = lean - rng.uniform(0.1, 0.5, count)
    middle = root + 0.5 * length[:, None] * np.stack([np.cos(lean), np.sin(lean)], 1)
    tip = middle + 0.5 * length[:, None] * np.stack([np.cos(bend), np.sin(bend)], 1)
    canvas = np.zeros(size, np.uint8)
    strokes = np.round((np.stack([root, middle, tip], 1) - BROW_LOW) * BROW_SCALE * 16).astype(np.int32)
    for stroke, dark in zip(strokes, rng.integers(130, 256, count), strict=True):
        cv2.polylines(canvas, [stroke], False, int(dark), 1, cv2.LINE_AA, 4)
    hairs = gaussian_filter(canvas.astype(np.float32) / 255, 0.7)
    # The roots under the hairs melt into a soft shade, which is what a camera sees from afar.
    shade = gaussian_filter(hairs, 0.12 * BROW_SCALE)
    return np.asarray(np.clip(0.75 * hairs + 0.85 * shade, 0, 1) * (0.55 + 0.45 * skin.brow_density), np.float32)
