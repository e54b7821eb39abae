"""The mesh that the runtime moves: physical face, rest sheet, its back, eyes and mouth; and how each vertex follows.

Convention: camera space, cm; source coordinates in atlas pixels. A *sheet* is a grid over the canvas, larger than it by
an apron, so that a turn does not show the picture's edge where the person is cut by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, angles_from_rotation
from narrate_stream.types import Array
from offline.facemesh import LANDMARKS, face_topology
from offline.geometry import Surface
from offline.layers import INNER_LOWER, INNER_UPPER, TEETH_LOWER, TEETH_UPPER, Cell
from offline.preprocess import OVAL

F64 = NDArray[np.float64]
CELLS = 72  # sheet cells along the longer side of the canvas
APRON = 0.22  # of the canvas, beyond each border
FEATHER = 1.6  # canvas pixels (at 1024) over which the rims of lids and lips fade
NECK = 8.5  # cm below the chin where the shoulders begin
TURNED = 10.0  # degrees of yaw from which a portrait hides a part of the far cheek
RIGHT, LEFT = 1, 2


@dataclass
class MeshParts:
    """Collects parts; `finish` concatenates them."""

    vertices: list[F64] = field(default_factory=list)
    source: list[F64] = field(default_factory=list)
    triangles: list[NDArray[Any]] = field(default_factory=list)
    head: list[F64] = field(default_factory=list)
    jaw: list[F64] = field(default_factory=list)
    eye: list[NDArray[Any]] = field(default_factory=list)
    rig: list[sp.csr_matrix] = field(default_factory=list)
    count: int = 0

    def add(
        self,
        vertices: F64,
        source: F64,
        triangles: NDArray[Any],
        *,
        head: F64 | float = 1.0,
        jaw: F64 | float = 0.0,
        eye: int = 0,
        rig: sp.csr_matrix | None = None,
    ) -> None:
        """One part: vertices (n, 3), source (n, 3) u, v, feather; weights as scalars or (n,)."""
        n = len(vertices)
        self.vertices.append(vertices)
        self.source.append(source)
        self.triangles.append(triangles + self.count)
        self.head.append(np.broadcast_to(np.asarray(head, np.float64), (n,)))
        self.jaw.append(np.broadcast_to(np.asarray(jaw, np.float64), (n,)))
        self.eye.append(np.full(n, eye, np.int8))
        self.rig.append(sp.csr_matrix((n, LANDMARKS)) if rig is None else rig)
        self.count += n

    def finish(self) -> dict[str, NDArray[Any]]:
        """The arrays of `HybridModel` by name."""
        rig = sp.vstack(self.rig).tocsr()
        rig.data[np.abs(rig.data) < 2e-3] = 0
        rig.eliminate_zeros()
        return {
            "vertices": np.concatenate(self.vertices).astype(np.float32),
            "source": np.concatenate(self.source).astype(np.float32),
            "triangles": np.concatenate(self.triangles).astype(np.int32),
            "head_weight": np.concatenate(self.head).astype(np.float32),
            "jaw_weight": np.concatenate(self.jaw).astype(np.float32),
            "eye": np.concatenate(self.eye).astype(np.int8),
            "rig_indptr": rig.indptr.astype(np.int32),
            "rig_index": rig.indices.astype(np.int32),
            "rig_value": rig.data.astype(np.float32),
        }


def smoothstep(x: F64, lo: float, hi: float) -> F64:
    """0 below lo, 1 above hi, smooth between."""
    t = np.clip((x - lo) / (hi - lo), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def head_weight(fit: FaceFit, points: F64) -> F64:
    """(n,) 1 where a camera-space point moves with the skull, 0 from the shoulders down, smooth along the neck."""
    p = fit.head(points)
    chin = fit.head(fit.points[152:153])[0, 1]
    down = smoothstep(p[:, 1], chin - NECK, chin + 1.5)
    aside = 1 - smoothstep(np.abs(p[:, 0]), 10.0, 18.0) * (1 - smoothstep(p[:, 1], chin - 2.0, chin + 6.0))
    return down * aside


def add_face(
    parts: MeshParts,
    fit: FaceFit,
    landmarks: F64,
    surface: Surface,
    camera: Camera,
    alpha: Array,
    mirror: NDArray[Any] | None,
) -> None:
    """The physical face: landmark tessellation, depth integrated from the normals. `mirror`: what to add to canvas
    coordinates to reach the mirrored cell of the atlas, from which the unseen half is taken."""
    topology = face_topology()
    pixels = np.asarray(topology.smooth @ landmarks[:LANDMARKS, :2])
    z = np.asarray(topology.smooth @ fit.points[:LANDMARKS, 2])
    at = ((pixels + 0.5) * surface.scale - 0.5).astype(np.float32)
    fine = cv2.remap(surface.z.astype(np.float32), at[:, :1], at[:, 1:], cv2.INTER_LINEAR).ravel()
    trusted = (topology.depth >= 3) & (np.abs(fine - z) < 0.8)
    z = np.where(trusted, fine, z)
    vertices = camera.unproject(pixels, z)
    gap = FEATHER * max(1.0, np.ptp(landmarks[:, 0]) / 400)
    edge = np.where(topology.hole, 0.5, np.minimum(topology.depth * 4.0, 6) / max(gap, 0.5))
    height = np.asarray(topology.smooth @ canonical().landmarks[:LANDMARKS])[:, 1]
    jaw = topology.rim & (height < canonical().landmarks[58, 1] + 0.4)
    edge = np.where(
        topology.rim, np.where(jaw, 0.15, 0.0), edge
    )  # the jaw ends sharply, the temples fade into the rest
    source = np.column_stack([pixels, edge])
    shrunk = cv2.erode(alpha, np.ones((5, 5), np.uint8))
    inside = sample(shrunk, pixels[:, 0], pixels[:, 1])[topology.triangles].min(1) > 0.9
    hidden = unseen_triangles(vertices, topology.triangles, float(angles_from_rotation(fit.rotation)[0]), inside)
    parts.add(
        vertices, source, topology.triangles[~hidden] if mirror is not None else topology.triangles, rig=topology.smooth
    )
    if mirror is not None and hidden.any():
        partner = canonical().mirror[:LANDMARKS]
        source = np.column_stack([topology.smooth @ landmarks[partner, :2] + mirror, edge])
        parts.add(vertices, source, topology.triangles[hidden], rig=topology.smooth)


def unseen_triangles(
    vertices: F64, triangles: NDArray[Any], yaw: float, inside: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(T,) true for triangles of the face that the portrait's camera saw from behind or at a grazing angle: at
    three-quarter views the far cheek; and of those that reach out of the matte (`inside` false). They show their
    partner on the other half instead of stretched pixels."""
    if abs(yaw) < TURNED:
        return np.zeros(len(triangles), np.bool_)
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    middle = (a + b + c) / 3
    facing = -(normal * middle).sum(1) / np.linalg.norm(middle, axis=1)
    mirrored = canonical().landmarks[:LANDMARKS]
    side = np.sign((face_topology().smooth @ mirrored)[triangles, 0].mean(1))
    better = facing[nearest_partner(triangles)]
    limit = np.where(inside, 0.34, 0.7)
    return np.asarray((facing < limit) & (better > facing + 0.2) & (side == np.sign(yaw)))


def nearest_partner(triangles: NDArray[Any]) -> NDArray[np.int64]:
    """(T,) the triangle that lies where each triangle's mirror image would lie."""
    points = face_topology().smooth @ canonical().landmarks[:LANDMARKS]
    middle = points[triangles].mean(1)
    return np.asarray(cKDTree(middle).query(middle * [-1, 1, 1])[1])


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


def sample(image: NDArray[Any], x: F64, y: F64) -> F64:
    """Bilinear samples of a map at (n,) coordinates, clamped at the border."""
    f = image.astype(np.float32)
    out = cv2.remap(
        f,
        x.astype(np.float32).reshape(-1, 1),
        y.astype(np.float32).reshape(-1, 1),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(out.ravel(), np.float64)


def mirrored_under_jaw(x: F64, y: F64, landmarks: F64) -> tuple[F64, F64]:
    """Source coordinates of sheet vertices under the face: reflected across the jaw line, so that what appears behind a
    lifted chin is neck and not a second chin."""
    from offline.coarse import JAW

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
    sx, sy = neck_source(sx, sy, landmarks, neck, under, (len(ys), len(xs)), inward / step)
    vertices = camera.unproject(np.column_stack([gx, gy]), z)
    # under the jaw the sheet goes on behind the face, but not as far as the mouth, which opens into its own cavity
    reaches = inward < max(1.2 * step, 0.55 * chin)
    keep = person & (~inside | (under & reaches) | (~under & ~deep))
    triangles = grid_triangles(len(xs), len(ys), keep)
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


def hair_source(source: F64, landmarks: F64, alpha: Array, surface: Surface) -> F64:
    """Source of the head's far side: where it would show the face again, the nearest hair or ear instead."""
    h, w = alpha.shape
    face = cv2.dilate(cv2.resize(surface.face.astype(np.uint8), (w, h)), np.ones((9, 9))) > 0
    hair = (alpha > 0.97) & ~face
    hair[int(np.clip(landmarks[152, 1] - 0.2 * np.ptp(landmarks[:, 1]), 0, h)) :] = False
    if hair.sum() < 200:
        return source
    label = cv2.distanceTransformWithLabels((~hair).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    rows, columns = np.nonzero(hair)
    table = np.zeros((label.max() + 1, 2))
    table[label[rows, columns]] = np.column_stack([columns, rows])
    ix, iy = np.round(source[:, 0]).astype(int), np.round(source[:, 1]).astype(int)
    out = source.copy()
    # near the silhouette the matte must stay the picture's own, or the far side would look out beyond it
    reach = 2 * max(h, w) // CELLS + 1
    deep = cv2.erode((alpha > 0.97).astype(np.uint8), np.ones((2 * reach + 1,) * 2)) > 0
    inside = (face & deep)[iy, ix]
    out[inside, :2] = table[label[iy[inside], ix[inside]]]
    return out


def add_used(
    parts: MeshParts, vertices: F64, source: F64, triangles: NDArray[Any], head: F64, rig: sp.csr_matrix | None
) -> None:
    """Adds a part without its unused vertices."""
    used = np.unique(triangles)
    new = np.zeros(len(vertices), np.int64)
    new[used] = np.arange(len(used))
    parts.add(vertices[used], source[used], new[triangles], head=head[used], rig=None if rig is None else rig[used])


def grid_triangles(columns: int, rows: int, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Two triangles for every cell of a grid with all four corners kept."""
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    corners = np.stack([i, i + 1, i + columns, i + columns + 1], 1)
    a, b, c, d = corners[keep[corners].all(1)].T
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


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


def patch_grid(nx: int, ny: int) -> tuple[F64, NDArray[np.int64]]:
    """(n, 2) s, t in 0..1 over a rectangle (t downward) and its triangles."""
    s, t = np.meshgrid(np.linspace(0, 1, nx), np.linspace(0, 1, ny))
    st = np.column_stack([s.ravel(), t.ravel()])
    triangles = grid_triangles(nx, ny, np.ones(nx * ny, np.bool_))
    return st, triangles


def add_eye(
    parts: MeshParts,
    fit: FaceFit,
    landmarks: F64,
    camera: Camera,
    cell: Cell,
    place: tuple[int, int],
    *,
    iris: bool,
    right: bool,
) -> None:
    """An eyeball or iris cell, a little behind the lids, bulging like the ball it is part of."""
    h, w = cell.alpha.shape
    st, triangles = patch_grid(9, 9)
    pixels = st * [w - 1, h - 1] + cell.origin
    corner = (33, 133) if right else (362, 263)
    lids = (159, 145) if right else (386, 374)
    z = fit.points[list(corner + lids), 2].mean()
    middle = landmarks[list(corner), :2].mean(0)
    cm = np.linalg.norm(pixels - middle, axis=1) * (-z / camera.focal)
    bulge = np.sqrt(np.maximum(1.45**2 - np.minimum(cm, 1.3) ** 2, 0)) - 1.45
    z_plane = fit.points[list(corner), 2]
    slope = (z_plane[1] - z_plane[0]) / max(abs(landmarks[corner[1], 0] - landmarks[corner[0], 0]), 1e-6)
    slope *= np.sign(landmarks[corner[1], 0] - landmarks[corner[0], 0])
    depth = z + bulge + slope * (pixels[:, 0] - middle[0]) * 0.6 - (0.02 if iris else 0.12)
    # sits behind the lids everywhere at rest: they are thin, the ball is not
    vertices = camera.unproject(pixels, depth - 0.38)
    source = np.column_stack([st * [w - 1, h - 1] + place, np.full(len(st), 8.0)])
    parts.add(vertices, source, triangles, eye=(RIGHT if right else LEFT) if iris else 0)


def add_mouth(
    parts: MeshParts, fit: FaceFit, camera: Camera, cells: dict[str, Cell], places: dict[str, tuple[int, int]]
) -> None:
    """The inside of the mouth: the portrait's own when it is open, otherwise cavity, tongue and two rows of teeth.

    All follow the curve of the lips, so that no corner comes out through a cheek.
    """
    ring = fit.points[list(INNER_UPPER + INNER_LOWER)]
    lips = fit.head(ring)
    curve = np.polyfit(lips[:, 0], lips[:, 2], 2)
    curve[0] = min(curve[0], -0.05)
    middle = float(lips[:, 0].mean())
    up, low = fit.head(fit.points[[13]])[0], fit.head(fit.points[[14]])[0]
    inner = float(np.linalg.norm(lips[0] - lips[10]))
    st, triangles = patch_grid(9, 9)

    def put(name: str, width: float, top: float, bottom: float, back: float, jaw: F64 | float) -> None:
        h, w = cells[name].alpha.shape
        x = middle + (st[:, 0] - 0.5) * width
        p = np.column_stack(
            [x, top + (bottom - top) * st[:, 1], np.polyval(curve, x) - 0.05 * (x - middle) ** 2 - back]
        )
        source = np.column_stack([st * [w - 1, h - 1] + places[name], np.full(len(st), 8.0)])
        parts.add(fit.camera(p), source, triangles, jaw=jaw)

    if "open mouth" in cells:
        cell = cells["open mouth"]
        h, w = cell.alpha.shape
        pixels = st * [w - 1, h - 1] + cell.origin
        flat = fit.head(camera.unproject(pixels, float(ring[:, 2].mean())))
        depth = fit.camera(np.column_stack([flat[:, :2], np.polyval(curve, flat[:, 0]) - 0.8]))[:, 2]
        source = np.column_stack([st * [w - 1, h - 1] + places["open mouth"], np.full(len(st), 8.0)])
        top, bottom = camera.project(fit.points[[13, 14]])[:, 1]
        smile = "mouth cavity" in cells
        jaw = 0.0 if smile else np.clip((pixels[:, 1] - top) / max(bottom - top, 1.0), 0, 1)
        parts.add(camera.unproject(pixels, depth), source, triangles, jaw=jaw)
        if not smile:
            return
    open_ratio = np.clip(st[:, 1] * 1.35 - 0.2, 0, 1)
    put("mouth cavity", inner + 2.2, up[1] + 1.2, low[1] - 2.6, 2.7, open_ratio)
    put("tongue", min(3.8, inner * 0.85), low[1] + 0.65, low[1] - 1.5, 1.6, 0.95)
    put("lower teeth", 2 * sum(TEETH_LOWER), low[1] - 0.22, low[1] - 1.32, 1.0, 1.0)
    if "upper teeth" in cells:
        put("upper teeth", 2 * sum(TEETH_UPPER), up[1] + 1.24, up[1] - 0.17, 0.75, 0.0)
