"""The rest of the person: a sheet over the canvas for hair, ears, neck and clothing, and its far side behind the head.

A *sheet* is a grid over the canvas. Where the photograph ends it goes on by an apron, so that a turn does not show the
picture's edge where the person is cut by it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, angles_from_rotation
from narrate_stream.types import Array
from offline.coarse import JAW
from offline.facemesh import LANDMARKS
from offline.geometry import Surface
from offline.parts import F64, TURNED, MeshParts, grid_triangles, head_weight, sample
from offline.preprocess import OVAL

CELLS = 72  # cells along the longer side of the canvas
BACKING = 5.0  # cm behind the face
APRON = 0.22  # of the canvas, beyond each border


def add_rest(
    parts: MeshParts,
    fit: FaceFit,
    landmarks: F64,
    surface: Surface,
    camera: Camera,
    alpha: Array,
    borders: tuple[bool, bool, bool, bool],
) -> None:
    """Hair, ears, neck, clothing: a front sheet with the picture's matte, and behind the head its mirror image."""
    h, w = alpha.shape
    xs, ys, step = sheet_grid((w, h), borders)
    gx, gy = (a.ravel() for a in np.meshgrid(xs, ys))
    sx, sy = reflected(gx, w), reflected(gy, h)
    mx, my = (sx + 0.5) * surface.scale - 0.5, (sy + 0.5) * surface.scale - 0.5
    grown = cv2.dilate(alpha, np.ones((2 * int(1.5 * step) + 1,) * 2, np.uint8))  # whole cells
    own = (gx >= -step) & (gx <= w - 1 + step) & (gy >= -step) & (gy <= h - 1 + step)
    person = sample(grown, np.clip(gx, 0, w - 1), np.clip(gy, 0, h - 1)) > np.where(own, 0.02, 0.9)
    face = surface.face.astype(np.uint8)
    inside = sample(cv2.erode(face, np.ones((3, 3))), mx, my) > 0.5
    margin = max(3, int(2.6 * step * surface.scale)) | 1
    deep = sample(cv2.erode(face, np.ones((2 * margin + 1,) * 2)), mx, my) > 0.5
    under = inside & (sample(surface.below.astype(np.uint8), mx, my) > 0.5)
    z = sample(surface.z, mx, my)
    # the neck stays behind the rim of the jaw, the more so the nearer to it
    apart = sample(cv2.distanceTransform(1 - face, cv2.DIST_L2, 5), mx, my) * (-surface.middle / surface.camera.focal)
    below = sample(surface.below.astype(np.uint8), mx, my) > 0.5
    z = np.where(below & ~inside, np.minimum(z, sample(surface.rim, mx, my) - 0.7 + 0.35 * apart), z)
    z = np.where(inside, z - 0.5, z)
    inward = sample(cv2.distanceTransform(face, cv2.DIST_L2, 5), mx, my) / surface.scale
    chin = float(np.linalg.norm(landmarks[152, :2] - landmarks[17, :2]))
    z = np.where(under, np.minimum(sample(surface.neck, mx, my), z - np.clip(0.5 + 4 * inward / chin, 0.5, 5)), z)
    neck = (alpha > 0.97) & ~cv2.resize(surface.face.astype(np.uint8), (w, h)).astype(bool)
    reaches = inward < max(1.2 * step, 0.55 * chin)
    sx, sy = neck_source(sx, sy, landmarks, neck, under & reaches, (len(ys), len(xs)), inward / step)
    z = np.where(inside & np.where(under, ~reaches, deep), sample(surface.z, mx, my) - BACKING, z)
    vertices = camera.unproject(np.column_stack([gx, gy]), z)
    # behind eyes and mouth the sheet is a backing of skin, deeper than any cavity: pinholes at their corners show skin
    triangles = grid_triangles(len(xs), len(ys), person)
    if abs(angles_from_rotation(fit.rotation)[0]) > 12:  # no wall from the far cheek's outline back to the background
        empty = sample(alpha, np.clip(gx, 0, w - 1), np.clip(gy, 0, h - 1)) < 0.4
        rim = sample(cv2.dilate(face, np.ones((5, 5))), mx, my) > 0.3
        triangles = triangles[~(rim[triangles].any(1) & empty[triangles].any(1))]
    head = head_weight(fit, vertices)
    source = np.column_stack([np.clip(sx, 0, w - 1), np.clip(sy, 0, h - 1), np.full(len(gx), 8.0)])
    behind = hair_source(source, landmarks, alpha, surface)
    rig = follow_face(landmarks, np.column_stack([gx, gy]), inside)
    add_used(parts, vertices, source, triangles, head, rig)
    back = camera.unproject(np.column_stack([gx, gy]), sample(surface.back, mx, my) - 0.02)
    turned = abs(float(angles_from_rotation(fit.rotation)[0])) > TURNED
    rear = grid_triangles(
        len(xs), len(ys), person & (head > 0.25) & ~(turned & (sample(cv2.dilate(face, np.ones((9, 9))), mx, my) > 0.5))
    )
    add_used(parts, back, behind, rear, head, None)


def sheet_grid(canvas: tuple[int, int], borders: tuple[bool, bool, bool, bool]) -> tuple[F64, F64, float]:
    """Grid x and y coordinates in canvas pixels and the step. The apron goes on only where the canvas ends at the
    photograph's own border (left, top, right, bottom): elsewhere the photograph itself goes on."""
    w, h = canvas
    step = max(w, h) / CELLS
    left, top, right, bottom = (APRON if border else 0.0 for border in borders)
    xs = np.arange(-round(left * w / step), np.ceil((1 + right) * w / step - (right == 0)) + 1) * step
    ys = np.arange(-round(top * h / step), np.ceil((1 + bottom) * h / step - (bottom == 0)) + 1) * step
    if right == 0:
        xs = np.append(xs[xs < w - 1], w - 1)
    if bottom == 0:
        ys = np.append(ys[ys < h - 1], h - 1)
    return xs, ys, step


def reflected(x: F64, size: int) -> F64:
    """Coordinates mirrored back into 0..size-1."""
    last = size - 1.0
    return np.asarray(last - np.abs(last - np.abs(x)) if last > 0 else x * 0)


def mirrored_under_jaw(x: F64, y: F64, landmarks: F64) -> tuple[F64, F64]:
    """Source coordinates of sheet vertices under the face: reflected across the jaw line, so that what appears behind a
    lifted chin is neck and not a second chin."""
    jaw = landmarks[list(JAW), :2]
    dense = np.concatenate([np.linspace(a, b, 8, endpoint=False) for a, b in pairwise(jaw)])
    near = dense[cKDTree(dense).query(np.column_stack([x, y]))[1]]
    return 2 * near[:, 0] - x, 2 * near[:, 1] - y


def neck_source(
    x: F64,
    y: F64,
    landmarks: F64,
    neck: NDArray[np.bool_],
    under: NDArray[np.bool_],
    shape: tuple[int, int],
    depth: F64,
) -> tuple[F64, F64]:
    """Source coordinates of the sheet behind the jaw: the neck mirrored across the jaw line where there is one below,
    fading into the cheek's own skin toward the ears, where below the jaw is only background.

    x, y (n,) sheet vertices in canvas pixels, n = rows * columns of `shape`; neck (H, W) true where the neck is seen;
    depth (n,) steps inside the face's outline: the first step keeps its own source, or the rim would show the neck.
    """
    h, w = neck.shape
    mx, my = mirrored_under_jaw(x, y, landmarks)
    ix, iy = np.round(mx).astype(int), np.round(my).astype(int)
    inside = (ix >= 0) & (ix < w) & (iy >= 0) & (iy < h)
    good = under & inside & neck[np.clip(iy, 0, h - 1), np.clip(ix, 0, w - 1)]
    relevant = cv2.GaussianBlur(under.reshape(shape).astype(np.float32), (0, 0), 1.6).ravel()
    share = cv2.GaussianBlur(good.reshape(shape).astype(np.float32), (0, 0), 1.6).ravel() / np.maximum(relevant, 1e-3)
    t = np.where(under, np.clip(2.4 * share - 1.2, 0, 1) * good * np.clip(depth - 0.9, 0, 1), 0)
    return x + t * (mx - x), y + t * (my - y)


def nearest_true(mask: NDArray[np.bool_]) -> F64:
    """(H, W, 2) column and row of the nearest true pixel of `mask` (which has some)."""
    label = cv2.distanceTransformWithLabels((~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    rows, columns = np.nonzero(mask)
    table = np.zeros((label.max() + 1, 2))
    table[label[rows, columns]] = np.column_stack([columns, rows])
    return np.asarray(table[label])


def hair_source(source: F64, landmarks: F64, alpha: Array, surface: Surface) -> F64:
    """Source of the head's far side: where it would show the face again, the nearest hair or ear instead."""
    h, w = alpha.shape
    face = cv2.dilate(cv2.resize(surface.face.astype(np.uint8), (w, h)), np.ones((9, 9))) > 0
    hair = (alpha > 0.97) & ~face
    hair[int(np.clip(landmarks[152, 1] - 0.2 * np.ptp(landmarks[:, 1]), 0, h)) :] = False
    if hair.sum() < 200:
        return source
    ix, iy = np.round(source[:, 0]).astype(int), np.round(source[:, 1]).astype(int)
    out = source.copy()
    # near the silhouette the matte must stay the picture's own, or the far side would look out beyond it
    reach = 2 * max(h, w) // CELLS + 1
    deep = cv2.erode((alpha > 0.97).astype(np.uint8), np.ones((2 * reach + 1,) * 2)) > 0
    inside = (face & deep)[iy, ix]
    out[inside, :2] = nearest_true(hair)[iy[inside], ix[inside]]
    return out


def add_used(
    parts: MeshParts, vertices: F64, source: F64, triangles: NDArray[Any], head: F64, rig: sp.csr_matrix | None
) -> None:
    """Adds a part without its unused vertices."""
    used = np.unique(triangles)
    new = np.zeros(len(vertices), np.int64)
    new[used] = np.arange(len(used))
    parts.add(vertices[used], source[used], new[triangles], head=head[used], rig=None if rig is None else rig[used])


def follow_face(landmarks: F64, points: F64, inside: NDArray[np.bool_]) -> sp.csr_matrix:
    """(n, 468) how sheet vertices follow the face's landmarks: as the nearest ones do, fading with distance."""
    size = float(np.ptp(landmarks[:, 0]))
    marks = landmarks[:LANDMARKS, :2]
    rim = np.array(OVAL)
    n = len(points)
    rows, columns, values = [], [], []
    for select, pool in ((inside, np.arange(LANDMARKS)), (~inside, rim)):
        who = np.flatnonzero(select)
        if len(who) == 0:
            continue
        distance, near = cKDTree(marks[pool]).query(points[who], k=6)
        weight = 1 / (distance + 0.01 * size) ** 2
        weight /= weight.sum(1, keepdims=True)
        fade = np.where(select[who] & inside[who], 1.0, np.exp(-((distance[:, 0] / (0.22 * size)) ** 2)))
        weight *= fade[:, None]
        ok = fade > 0.02
        rows.append(np.repeat(who[ok], 6))
        columns.append(pool[near[ok]].ravel())
        values.append(weight[ok].ravel())
    return sp.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (n, LANDMARKS))
