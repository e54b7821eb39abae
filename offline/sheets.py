"""The rest of the person: a sheet over the canvas for hair, ears, neck and clothing.

A *sheet* is a grid over the canvas. Where the photograph ends it goes on by an apron, so that a turn does not show the
picture's edge where the person is cut by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, angles_from_rotation
from narrate_stream.types import Array
from offline.facemesh import LANDMARKS
from offline.geometry import Surface
from offline.outline import EDGE
from offline.parts import (
    F64,
    MeshParts,
    disc,
    grid_triangles,
    head_weight,
    nearest_fill,
    nearest_true,
    sample,
    smoothstep,
)
from offline.preprocess import OVAL

CELLS = 72  # cells along the longer side of the canvas
BACKING = 5.0  # cm behind the face
INSET, FADING = 0.5, 0.7  # cells that the rest reaches behind the face: at the jaw, and where the face's rim fades
HUG, RISE = 0.2, 0.5  # cm behind the rim of the face at which hair begins; cm it may come nearer per cm aside
EYES, NOSE = (33, 263), 2  # landmarks between whose heights the cheek begins
APRON = 0.22  # of the canvas, beyond each border


@dataclass(frozen=True)
class Sheet:
    """A grid over the canvas: shape (rows, columns), step (canvas pixels); per vertex (n,): x, y canvas pixels; mx, my
    map pixels (mirrored back where the canvas has ended); person: it shows one; inside: it lies in the face; edge
    (h, w) the matte at the map's size."""

    shape: tuple[int, int]
    step: float
    x: F64
    y: F64
    mx: F64
    my: F64
    person: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    edge: Array

    def on(self, values: NDArray[Any]) -> F64:
        """(n,) a map at the vertices."""
        return sample(values.astype(np.uint8) if values.dtype == np.bool_ else values, self.mx, self.my)


def sheet_over(surface: Surface, alpha: Array, borders: tuple[bool, bool, bool, bool]) -> Sheet:
    """The sheet of a portrait; borders (left, top, right, bottom): where the canvas ends with the photograph."""
    h, w = alpha.shape
    left, _, right, bottom = borders
    xs, ys, step = sheet_grid((w, h), (left, False, right, bottom))  # over the crown the head's shell goes on
    gx, gy = (a.ravel() for a in np.meshgrid(xs, ys))
    mx, my = ((reflected(a, n) + 0.5) * surface.scale - 0.5 for a, n in ((gx, w), (gy, h)))
    grown = cv2.dilate(alpha, np.ones((2 * int(1.5 * step) + 1,) * 2, np.uint8))  # whole cells
    own = (gx >= -step) & (gx <= w - 1 + step) & (gy >= -step) & (gy <= h - 1 + step)
    person = sample(grown, np.clip(gx, 0, w - 1), np.clip(gy, 0, h - 1)) > np.where(own, 0.02, 0.9)
    face = surface.face.astype(np.uint8)
    person &= own | (sample(cv2.dilate(face, np.ones((9, 9))), mx, my) < 0.5)  # no second face in an apron
    solid = cv2.morphologyEx(person.reshape(len(ys), len(xs)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((7, 7)))
    person &= own | (solid.ravel() > 0)  # nor specks
    inside = sample(cv2.erode(face, np.ones((3, 3))), mx, my) > 0.5
    edge = np.asarray(cv2.resize(alpha, face.shape[::-1], interpolation=cv2.INTER_AREA))
    return Sheet((len(ys), len(xs)), step, gx, gy, mx, my, person, inside, edge)


def add_rest(
    parts: MeshParts,
    fit: FaceFit,
    landmarks: F64,
    surface: Surface,
    camera: Camera,
    alpha: Array,
    borders: tuple[bool, bool, bool, bool],
) -> None:
    """Hair, ears, neck, clothing: a sheet with the picture's matte."""
    add_front(parts, fit, landmarks, surface, camera, alpha, sheet_over(surface, alpha, borders))


def front_depth(
    sheet: Sheet, surface: Surface, stepped: NDArray[np.bool_], backing: NDArray[np.bool_], low: F64
) -> F64:
    """(n,) z of the front sheet: behind the face's rim inside it (the more beside the cheek, `low` (n,) 0..1), the neck
    behind the jaw, ears (`stepped`) flat to their edge, and a `backing` of skin far behind eyes and mouth."""
    inside, below = sheet.inside, sheet.on(surface.below) > 0.5
    z = sheet.on(surface.z)
    outer = nearest_fill(surface.z, cv2.dilate(surface.face.astype(np.uint8), np.ones((3, 3))) == 0, surface.middle)
    z = np.where(~inside & below, sheet.on(outer), z)
    # the neck stays behind the rim of the jaw, the more so the nearer to it
    below &= sheet.on(sheet.edge) > 0.5
    z = np.where(below & ~inside, np.minimum(z, sheet.on(behind_jaw(surface))), z)
    z = np.where(inside, z, np.minimum(z, sheet.on(beside_rim(surface))))
    z = np.where(inside, z - 0.5 - low * np.maximum(z - sheet.on(brink(surface, sheet.step)), 0), z)
    z = beside(z, stepped, (sheet.on(sheet.edge) < 0.5) & ~inside, sheet.shape)
    return np.where(backing, sheet.on(surface.z) - BACKING, z)


def add_front(
    parts: MeshParts, fit: FaceFit, landmarks: F64, surface: Surface, camera: Camera, alpha: Array, sheet: Sheet
) -> None:
    """What the photograph shows beside the face."""
    h, w = alpha.shape
    step, inside, gx, gy = sheet.step, sheet.inside, sheet.x, sheet.y
    face = surface.face.astype(np.uint8)
    below = sheet.on(surface.below) > 0.5
    margin = max(3, int(2.6 * step * surface.scale)) | 1
    deep = sheet.on(cv2.erode(face, np.ones((2 * margin + 1,) * 2))) > 0.5
    bare = sheet.on(beside_nothing(surface.face, sheet.edge)) > 0.5
    under = inside & below & ~bare
    stepped = (sheet.on(surface.behind) > 0.5) & ~inside
    backing = inside & (deep | under)
    # behind eyes and mouth the sheet is a backing of skin, deeper than any cavity: pinholes at their corners show skin
    low = smoothstep(gy, landmarks[list(EYES), 1].mean(), landmarks[NOSE, 1])
    z = front_depth(sheet, surface, stepped, backing, low)
    triangles = grid_triangles(sheet.shape[1], sheet.shape[0], sheet.person)
    rim = cv2.dilate(face, np.ones((2 * round(EDGE / surface.unit) + 1,) * 2))
    cell = np.ones((2 * int(np.ceil(step * surface.scale)) + 1,) * 2)
    jaw = ~inside & bare & (sheet.on(cv2.erode(surface.below.astype(np.uint8), cell)) > 0.5) & (sheet.on(rim) > 0.5)
    covered = jaw[triangles].any(1) & (jaw | inside)[triangles].all(1)
    triangles = triangles[~covered]  # the jaw's own strip is there
    joins = backing[triangles].any(1) & ~backing[triangles].all(1) & inside[triangles].all(1)
    triangles = triangles[~(joins & (sheet.on(surface.covered) > 0.5)[triangles].all(1))]
    if abs(angles_from_rotation(fit.rotation)[0]) > 12:  # no wall from the far cheek's outline back to the background
        empty = sample(alpha, np.clip(gx, 0, w - 1), np.clip(gy, 0, h - 1)) < 0.4
        border = sheet.on(cv2.dilate(face, np.ones((5, 5)))) > 0.3
        triangles = triangles[~(border[triangles].any(1) & empty[triangles].any(1))]
        triangles = triangles[~(inside & bare)[triangles].all(1)]
    torn, z_torn, triangles = split_tears(triangles, z, inside, under, stepped)
    whole = triangles[(triangles < len(z)).all(1)]
    ends = np.isin(torn, whole[~inside[whole].all(1)])  # where a tear closes nothing moves
    inset = np.where(ends, np.inf, np.where(under[torn], INSET, FADING) * step)
    tx, ty = at_outline(gx[torn], gy[torn], surface, inset)
    gx, gy, z = (np.concatenate(a) for a in ((gx, tx), (gy, ty), (z, z_torn)))
    inside = np.concatenate([inside, inside[torn]])
    vertices = camera.unproject(np.column_stack([gx, gy]), z)
    rig = follow_face(landmarks, np.column_stack([gx, gy]), inside)
    add_used(parts, vertices, seen_at(gx, gy, alpha), triangles, head_weight(fit, vertices), rig)


def seen_at(x: F64, y: F64, alpha: Array) -> F64:
    """(n, 3) where the atlas shows canvas pixels, mirrored back at the borders of the canvas; solid."""
    h, w = alpha.shape
    columns = np.clip(reflected(x, w), 0, w - 1), np.clip(reflected(y, h), 0, h - 1), np.full(len(x), 8.0)
    return np.column_stack(columns)


def beside(z: F64, known: NDArray[np.bool_], empty: NDArray[np.bool_], shape: tuple[int, int]) -> F64:
    """(n,) z of a grid's vertices; those `empty` take the mean of their `known` neighbours, where they have some: a
    cell's seen part must not lean toward what lies elsewhere."""
    total, count = (
        cv2.blur(np.asarray(a, np.float64).reshape(shape), (3, 3), borderType=cv2.BORDER_CONSTANT).ravel()
        for a in (z * known, known)
    )
    take = empty & ~known & (count > 1e-6)
    return np.where(take, total / np.maximum(count, 1e-6), z)


def brink(surface: Surface, step: float) -> F64:
    """(h, w) the deepest z of the face within a cell of `step` canvas pixels: as the cheek falls away steeply to its
    outline, a cell that spans that must begin as deep, or it cuts the cheek into teeth."""
    face = np.where(surface.face, np.minimum(surface.z, surface.rim), 1e4)
    deepest = cv2.erode(face, disc(1.5 * step * surface.scale))
    return np.asarray(np.where(surface.face, deepest, surface.z))


def behind_jaw(surface: Surface) -> F64:
    """(h, w) z in front of which nothing below the jaw comes."""
    return np.asarray(surface.rim - 0.7 + 0.35 * apart(surface))


def beside_rim(surface: Surface) -> F64:
    """(h, w) z in front of which nothing beside the face comes: hair that does rises from behind its rim, or the cells
    of the sheet would cut the cheek into teeth."""
    steep = cv2.erode(np.where(surface.face, surface.rim, np.inf), np.ones((5, 5)))  # its last pixels fall away
    return np.asarray(nearest_fill(steep, surface.face) - HUG + RISE * apart(surface))


def apart(surface: Surface) -> F64:
    """(h, w) cm from the face, in the picture."""
    return np.asarray(cv2.distanceTransform((~surface.face).astype(np.uint8), cv2.DIST_L2, 5) * surface.unit)


def beside_nothing(face: NDArray[np.bool_], cover: Array) -> NDArray[np.bool_]:
    """(h, w) true where the nearest thing outside the face is background: there is no neck behind that cheek."""
    outside = cv2.dilate(face.astype(np.uint8), np.ones((7, 7))) == 0
    if not outside.any():
        return np.zeros_like(face)
    column, row = np.moveaxis(nearest_true(outside).astype(int), -1, 0)
    return np.asarray(cover[row, column] < 0.5)


def at_outline(x: F64, y: F64, surface: Surface, inset: F64) -> tuple[F64, F64]:
    """Canvas coordinates (n,) of points inside the face moved toward its outline, until `inset` (n,) pixels inside."""
    outside = cv2.dilate(surface.face.astype(np.uint8), np.ones((3, 3))) == 0
    if not outside.any() or len(x) == 0:
        return x, y
    here = np.column_stack([x, y])
    at = (here + 0.5) * surface.scale - 0.5
    column, row = np.clip(np.round(at).astype(int), 0, np.array(outside.shape[::-1]) - 1).T
    near = (nearest_true(outside)[row, column] + 0.5) / surface.scale - 0.5
    far = np.linalg.norm(here - near, axis=1, keepdims=True)
    moved = near + (here - near) * np.minimum(1, inset[:, None] / np.maximum(far, 1e-6))
    return moved[:, 0], moved[:, 1]


def split_tears(
    triangles: NDArray[np.int64],
    z: F64,
    face: NDArray[np.bool_],
    jaw: NDArray[np.bool_],
    stepped: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], F64, NDArray[np.int64]]:
    """All along the `jaw` (n,) and beside what is `stepped` (n,) the rest goes on behind the `face` (n,): corners of
    such triangles inside the face are copied, at the depth of their neighbours outside. The same pixels at rest,
    nothing stretched in a turn, and the pieces hang together. Returns (which vertices are copied, their z,
    triangles)."""
    marked = face[triangles]
    far = np.where(marked, np.inf, z[triangles]).min(1)
    steep = marked.any(1) & ~marked.all(1) & (jaw[triangles].any(1) | stepped[triangles].any(1))
    corners, rows = triangles[steep][marked[steep]], np.nonzero(marked[steep])[0]
    copied, index = np.unique(corners, return_inverse=True)
    total, count = np.zeros(len(copied)), np.zeros(len(copied))
    np.add.at(total, index, far[steep][rows])
    np.add.at(count, index, 1)
    mended = triangles.copy()
    torn = mended[steep]
    torn[marked[steep]] = len(z) + index
    mended[steep] = torn
    return copied, total / np.maximum(count, 1), mended


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
