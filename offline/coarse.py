"""Coarse geometry of what is not the face (the role StyleSDF's shape plays in the paper, 4.1): the head around it.

Convention: camera space, cm (x right, y up, z toward the viewer, the camera at the origin looking along -z).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.types import Array
from offline.multigrid import Membrane, solve

F64 = NDArray[np.float64]
JAW = (136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365)


def rest_depth(
    coverage: Array,
    face: NDArray[np.bool_],
    face_z: F64,
    below: NDArray[np.bool_],
    middle: float,
    unit: float,
    thickness: F64,
) -> F64:
    """(H, W) camera-space z (cm) of head, hair, neck and shoulders around the face, by inflation.

    Solves for q = (z - middle)^2 a Poisson equation whose solution on a disc is a sphere: q = 0 at the silhouette
    (coverage 0.5), q given on the face, q'' = -4 inside. `below` marks where the surface must not join the face (under
    the jaw); `middle`: z of the plane of the silhouette; `unit`: cm per pixel; `thickness` (H, 1): soft limit of z -
    middle, cm.
    The picture's border is no silhouette: the surface goes on there.
    """
    h, w = coverage.shape
    person = (coverage > 0.5) | face
    free = person & ~face
    out = np.full((h, w), middle)
    out[face] = face_z[face]
    if not free.any():
        return out
    q_face = np.where(face, np.maximum(face_z - middle, 0.1) ** 2, 0)
    right, down = np.zeros((h, w)), np.zeros((h, w))
    right[:, :-1] = free[:, :-1] & free[:, 1:]
    down[:-1] = free[:-1] & free[1:]
    tie, wanted = np.where(free, 1e-7, 1.0), np.where(free, 4.0 * unit**2, 0.0)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        ys, xs = slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx))
        yn, xn = slice(max(0, dy), h + min(0, dy)), slice(max(0, dx), w + min(0, dx))
        held = free[ys, xs] & ~free[yn, xn] & ~(face[yn, xn] & below[ys, xs])
        tie[ys, xs] += held
        wanted[ys, xs] += np.where(held, q_face[yn, xn], 0)
    q = solve(Membrane(right, down, tie), wanted, np.where(free, q_face.max(), 0.0), 1e-5)[free]
    rise = np.sqrt(np.maximum(q, 0))
    out[free] = middle + soft_limit(rise, np.broadcast_to(thickness, (h, w))[free])
    return out


def soft_limit(x: F64, limit: F64) -> F64:
    """x below about half of `limit`, approaching it smoothly above."""
    half = limit / 2
    over = np.maximum(x - half, 0)
    return np.asarray(np.where(x <= half, x, half + half * np.tanh(over / half)))


def jaw_side(landmarks: F64, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) true for pixels outside the face whose nearest point of the face's outline belongs to the lower jaw."""
    from offline.preprocess import OVAL

    h, w = shape
    outline = landmarks[list(OVAL), :2]
    dense = np.concatenate(
        [np.linspace(outline[i], outline[(i + 1) % len(outline)], 8, endpoint=False) for i in range(len(outline))]
    )
    is_jaw = np.repeat([a in JAW and b in JAW for a, b in zip(OVAL, OVAL[1:] + OVAL[:1], strict=True)], 8)
    canvas = np.ones((h, w), np.uint8)
    at = np.clip(np.round(dense).astype(int), 0, [w - 1, h - 1])
    canvas[at[:, 1], at[:, 0]] = 0
    label = cv2.distanceTransformWithLabels(canvas, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    jaw = np.zeros(label.max() + 1, np.bool_)
    jaw[label[at[:, 1], at[:, 0]]] = is_jaw
    return np.asarray(jaw[label])
