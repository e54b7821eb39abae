"""The physical face, the eyes and the mouth as parts of the mesh that the runtime moves; how each vertex follows.

Convention: camera space, cm; source coordinates in atlas pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, angles_from_rotation
from narrate_stream.types import Array
from offline.facemesh import LANDMARKS, face_topology
from offline.geometry import Surface
from offline.layers import INNER_LOWER, INNER_UPPER, TEETH_LOWER, TEETH_UPPER, Cell
from offline.mirror import ABOVE, fading, partners, unseen_triangles
from offline.outline import jaw_rim
from offline.parts import F64, MeshParts, grid_triangles, sample, smoothstep

FEATHER = 1.6  # canvas pixels (at 1024) over which the rims of lids and lips fade
NEAR, FAR = 0.8, 2.4  # cm between the landmarks' depth and the fine one, over which that loses its say
RIGHT, LEFT = 1, 2
TEETH_SHOW = 0.12  # cm that the upper teeth reach below the closed lips: they show as soon as those part
ARCH = 0.12  # cm per cm^2 that rows of teeth lie deeper aside than lips do
WIDE = 1.15  # of the resting mouth's width: the upper row, which wide mouths show to the corner
NOSE_BASE = 2, 97, 326  # of all that no expression moves, what is nearest to the teeth
CAVITY_UNDER = 0.42  # of the way from the lower lip to the chin that the inside of the mouth goes down behind it
# a tongue that goes down less than the jaw fills the lower half of a wide mouth; lips that hardly part show the dark
TONGUE_RISE, TONGUE_DROP = 0.3, 0.5  # cm that it reaches above the lower lip; its share of the jaw's way
LOWER_TEETH, TEETH_DROP = 0.38, 0.86  # cm below the lower lip; the same share: only wide mouths show them


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
    z += trust(fine - z) * np.where(topology.depth >= 3, fine - z, 0.0)
    vertices = camera.unproject(pixels, z)
    gap = FEATHER * max(1.0, np.ptp(landmarks[:, 0]) / 400)
    edge = np.where(
        topology.hole, np.where(topology.eye, 0.0, 0.5), np.minimum(topology.depth * 4.0, 6) / max(gap, 0.5)
    )
    edge = np.where(topology.rim, 0.15 * jaw_rim(), edge)  # the jaw ends sharply, the temples fade into the rest
    source = np.column_stack([pixels, edge])
    shrunk = cv2.erode(alpha, np.ones((5, 5), np.uint8))
    inside = sample(shrunk, pixels[:, 0], pixels[:, 1])[topology.triangles].min(1) > 0.9
    yaw = float(angles_from_rotation(fit.rotation)[0])
    hidden = unseen_triangles(vertices, topology.triangles, yaw, inside) & (mirror is not None)
    fade = fading(hidden, inside & ~topology.hole[topology.triangles].any(1), topology.triangles)
    own = ~hidden | (fade[topology.triangles] < 1).any(1)
    parts.add(vertices, source, topology.triangles[own], rig=topology.smooth)
    if mirror is not None and hidden.any():
        source = np.column_stack([topology.smooth @ landmarks[partners(), :2] + mirror, np.minimum(edge, fade)])
        parts.add(vertices * (1 - ABOVE), source, topology.triangles[hidden], rig=topology.smooth)


def trust(apart: F64) -> F64:
    """(V,) 0..1 how far the fine depth counts `apart` cm from the landmarks': fading, as a step would be a wart that
    throws shadows of its own."""
    return 1 - smoothstep(np.abs(apart), NEAR, FAR)


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
    st, triangles = patch_grid(13, 13)
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
    depth = z + bulge + slope * (pixels[:, 0] - middle[0]) * 0.6 - (0.02 if iris else 0.24)
    # sits behind the lids everywhere at rest: they are thin, the ball is not
    vertices = camera.unproject(pixels, depth - 0.38)
    source = np.column_stack([st * [w - 1, h - 1] + place, np.full(len(st), 8.0)])
    parts.add(vertices, source, triangles, eye=(RIGHT if right else LEFT) if iris else 0)


def add_mouth(
    parts: MeshParts, fit: FaceFit, camera: Camera, cells: dict[str, Cell], places: dict[str, tuple[int, int]]
) -> None:
    """The inside of the mouth: cavity, tongue and two rows of teeth; before them the portrait's own when it is open.

    All follow the curve of the lips, so that no corner comes out through a cheek. What the jaw does not move stays
    with the base of the nose: a pose that errs a little moves both, and bares no teeth.
    """
    ring = fit.points[list(INNER_UPPER + INNER_LOWER)]
    lips = fit.head(ring)
    curve = np.polyfit(lips[:, 0], lips[:, 2], 2)
    curve[0] = min(curve[0], -0.05)
    middle = float(lips[:, 0].mean())
    up, low = fit.head(fit.points[[13]])[0], fit.head(fit.points[[14]])[0]
    inner = float(np.linalg.norm(lips[0] - lips[10]))
    st, triangles = patch_grid(9, 9)

    def put(
        name: str, width: float, top: float, bottom: float, back: float, jaw: F64 | float, narrow: float = 0
    ) -> None:
        h, w = cells[name].alpha.shape
        x = middle + (st[:, 0] - 0.5) * width * (1 - narrow * st[:, 1])
        lip = np.polyval(curve, np.clip(x, lips[:, 0].min(), lips[:, 0].max()))  # beyond the corners it may go anywhere
        p = np.column_stack([x, top + (bottom - top) * st[:, 1], lip - ARCH * (x - middle) ** 2 - back])
        source = np.column_stack([st * [w - 1, h - 1] + places[name], np.full(len(st), 8.0)])
        parts.add(fit.camera(p), source, triangles, jaw=jaw, rig=with_nose(np.broadcast_to(1.0 - jaw, len(p))))

    if "open mouth" in cells:
        cell = cells["open mouth"]
        h, w = cell.alpha.shape
        pixels = st * [w - 1, h - 1] + cell.origin
        flat = fit.head(camera.unproject(pixels, float(ring[:, 2].mean())))
        depth = fit.camera(np.column_stack([flat[:, :2], np.polyval(curve, flat[:, 0]) - 0.8]))[:, 2]
        source = np.column_stack([st * [w - 1, h - 1] + places["open mouth"], np.full(len(st), 8.0)])
        top, bottom = camera.project(fit.points[[13, 14]])[:, 1]
        smile = "tongue" in cells
        jaw = 0.0 if smile else np.clip((pixels[:, 1] - top) / max(bottom - top, 1.0), 0, 1)
        skull = with_nose(np.broadcast_to(1.0 - jaw, len(pixels)))
        parts.add(camera.unproject(pixels, depth), source, triangles, jaw=jaw, rig=skull)
    open_ratio = np.clip(st[:, 1] * 1.35 - 0.2, 0, 1)
    # narrow and not far below the lip, where it would come out between jaw and neck: the chin follows half as far
    under = CAVITY_UNDER * (low[1] - fit.head(fit.points[[152]])[0, 1])
    put("mouth cavity", inner + 4.4, up[1] + 1.2, low[1] - under, 2.7, open_ratio, narrow=0.5)
    if "tongue" in cells:
        put("tongue", min(4.0, inner * 0.9), low[1] + TONGUE_RISE, low[1] - under, 1.6, TONGUE_DROP)
        put(
            "lower teeth",
            min(2 * sum(TEETH_LOWER), 0.85 * inner),
            low[1] - LOWER_TEETH,
            low[1] - LOWER_TEETH - min(1.1, under),
            1.0,
            TEETH_DROP,
        )
    if "upper teeth" in cells:
        put("upper teeth", min(2 * sum(TEETH_UPPER), WIDE * inner), up[1] + 1.24, up[1] - TEETH_SHOW, 0.75, 0.0)


def with_nose(share: F64) -> sp.csr_matrix:
    """(n, LANDMARKS) weights of vertices that go with the base of the nose by a share (n,)."""
    rows, columns = np.repeat(np.arange(len(share)), len(NOSE_BASE)), np.tile(NOSE_BASE, len(share))
    return sp.csr_matrix((np.repeat(share / len(NOSE_BASE), len(NOSE_BASE)), (rows, columns)), (len(share), LANDMARKS))
