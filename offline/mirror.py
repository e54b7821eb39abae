"""The half of a turned face that the portrait hardly shows: its partner on the other half, mirrored.

Which triangles these are, and the colours of the mirror image, brought to those that the photograph shows on this half:
faces are not even, and what the light did to the two halves is divided out and put back only roughly. Where the one
goes over into the other nothing shall be seen.

Convention: arrays of the face's V vertices and T triangles (see `offline/facemesh.py`); linear colours.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.types import Array
from offline.facemesh import LANDMARKS, face_topology, vertex_normals
from offline.parts import F64, TURNED, nearest_fill, sample, smoothstep
from offline.softmesh import MapRenderer

EVENINGS = 12  # rounds of averaging where the unseen half begins
GRAZING, OUTSIDE = 0.28, 0.7  # cosine to the camera below which a triangle is not seen; the same outside the matte
BETTER = 0.2  # by which its partner has to be seen better
SEEN = 0.3, 0.5  # cosine from which on a vertex' own colour counts, and counts whole
BELIEF = 0.3  # how far a seen colour counts against the evenness of the gain
STRONGEST = 0.9  # of the gain, as a logarithm
DARK = 0.01  # linear
FADING = 2  # edges from its border over which the mirror image becomes whole
ABOVE = 3e-4  # of its distance that it lies nearer than what it covers
SOFT = 0.012  # of the face's width, over which colours are compared


def partners() -> NDArray[np.int64]:
    """(468,) the landmark on the other half for each."""
    return np.asarray(canonical().mirror[:LANDMARKS])


def far_side(yaw: float) -> NDArray[np.bool_]:
    """(V,) true on the half that a head turned by `yaw` degrees shows less of."""
    x = np.asarray(face_topology().smooth @ canonical().landmarks[:LANDMARKS])[:, 0]
    return np.asarray(x * yaw > 0)


def unseen_triangles(
    vertices: F64, triangles: NDArray[Any], yaw: float, inside: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(T,) true for triangles of the face that the portrait's camera saw from behind or at a grazing angle: at
    three-quarter views the far cheek; and of those that reach out of the matte (`inside` false). They show their
    partner on the other half instead of stretched pixels. One piece, beginning at the face's outline."""
    if abs(yaw) < TURNED:
        return np.zeros(len(triangles), np.bool_)
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    middle = (a + b + c) / 3
    facing = -(normal * middle).sum(1) / np.linalg.norm(middle, axis=1)
    better = facing[nearest_partner(triangles)]
    score = np.minimum(np.where(inside, GRAZING, OUTSIDE) - facing, better - facing - BETTER)
    far = far_side(yaw)[triangles].mean(1) > 0.5
    chosen = (evened(score, triangles, len(vertices)) > 0) & far
    chosen = connected(chosen, face_topology().rim, triangles)
    return ~connected(~chosen, ~far_side(yaw), triangles)  # nor islands that are seen


def connected(chosen: NDArray[np.bool_], seed: NDArray[np.bool_], triangles: NDArray[Any]) -> NDArray[np.bool_]:
    """(T,) of the `chosen` triangles (T,) those that hang together, by common vertices, with some of `seed` (V,)."""
    if not chosen.any():
        return chosen
    t = triangles[chosen]
    n = len(seed)
    links = sp.coo_matrix((np.ones(2 * len(t)), (np.tile(t[:, 0], 2), t[:, 1:].T.ravel())), (n, n))
    piece = sp.csgraph.connected_components(links, directed=False)[1]
    touching = np.zeros(n, np.bool_)
    touching[piece[t.ravel()[seed[t.ravel()]]]] = True
    out = chosen.copy()
    out[chosen] = touching[piece[t[:, 0]]]
    return out


def fading(chosen: NDArray[np.bool_], solid: NDArray[np.bool_], triangles: NDArray[Any]) -> F64:
    """(V,) feather of the `chosen` triangles (T,): 0 where they end beside others, rising inward; but where these are
    not `solid` (T,) themselves they end sharply, as what fades over what fades shows what is behind both."""
    count = int(triangles.max()) + 1
    beside, thin = np.zeros((2, count), np.bool_)
    beside[triangles[~chosen]] = True
    thin[triangles[~solid]] = True
    distance = np.where(beside & ~thin, 0.0, FADING + 1.0)
    for _ in range(FADING):
        nearest = distance[triangles].min(1) + 1
        for k in range(3):
            np.minimum.at(distance, triangles[:, k], nearest)
    return np.where(thin, np.inf, distance / FADING)


def evened(score: F64, triangles: NDArray[Any], count: int) -> F64:
    """(T,) averaged over neighbours, a few times: one border between two choices instead of many patches. `count`: the
    number of vertices."""
    users = np.maximum(np.bincount(triangles.ravel(), minlength=count), 1)
    for _ in range(EVENINGS):
        total = np.bincount(triangles.ravel(), np.repeat(score, 3), minlength=count)
        score = (total / users)[triangles].mean(1)
    return score


def nearest_partner(triangles: NDArray[Any]) -> NDArray[np.int64]:
    """(T,) the triangle that lies where each triangle's mirror image would lie."""
    points = face_topology().smooth @ canonical().landmarks[:LANDMARKS]
    middle = points[triangles].mean(1)
    return np.asarray(cKDTree(middle).query(middle * [-1, 1, 1])[1])


def mirrored_normals(normals: F64, fit: FaceFit) -> F64:
    """(h, w, 3) camera-space normals reflected in the head's plane of symmetry."""
    flip = fit.rotation @ np.diag([-1.0, 1.0, 1.0]) @ fit.rotation.T
    return np.asarray(normals @ flip.T)


def likening(
    fit: FaceFit,
    landmarks: F64,
    alpha: Array,
    seen: NDArray[Any],
    image: NDArray[Any],
    origin: tuple[int, int],
    yaw: float,
) -> Array:
    """(h, w, C) factors that bring a mirror image (h, w, C) of the face, at canvas pixel `origin`, to what is `seen`
    (H, W, C) on the half that it stands for: where that shows enough of it, and evenly on from there."""
    topology = face_topology()
    pixels = np.asarray(topology.smooth @ landmarks[:LANDMARKS, :2])
    there = np.asarray(topology.smooth @ landmarks[partners(), :2]) - origin
    points = np.asarray(topology.smooth @ fit.points[:LANDMARKS])
    facing = -(vertex_normals(points, topology.triangles) * points).sum(1) / np.linalg.norm(points, axis=1)
    far = far_side(yaw)
    solid = sample(cv2.erode(alpha, np.ones((5, 5))), *pixels.T) > 0.9
    sure = smoothstep(facing, *SEEN) * (far & solid & ~topology.hole)
    sigma = SOFT * float(np.ptp(landmarks[:, 0]))
    soft = [cv2.GaussianBlur(a.astype(np.float32), (0, 0), sigma) for a in (seen, image)]
    own, other = (
        np.stack([sample(a[..., k], *at.T) for k in range(a.shape[-1])], -1)
        for a, at in zip(soft, (pixels, there), strict=True)
    )
    gain = spread_evenly(np.log((own + DARK) / (other + DARK)), sure, topology.triangles)
    triangles = topology.triangles[far[topology.triangles].any(1)]
    h, w = image.shape[:2]
    screen = np.column_stack([there, np.full(len(there), 0.01)])
    found = MapRenderer(triangles).map(screen, np.clip(gain, -STRONGEST, STRONGEST), w, h, perspective=False)
    known = ~np.isnan(found[..., 0])
    whole = np.stack([nearest_fill(np.nan_to_num(found[..., k]), known) for k in range(found.shape[-1])], -1)
    return np.asarray(np.exp(cv2.GaussianBlur(whole.astype(np.float32), (0, 0), sigma)))


def spread_evenly(values: F64, sure: F64, triangles: NDArray[Any]) -> F64:
    """(V, C) the smooth field over a mesh that is near `values` (V, C) where they are `sure` (V,) 0..1."""
    n = len(values)
    i, j = triangles.ravel(), triangles[:, [1, 2, 0]].ravel()
    link = sp.coo_matrix((np.ones(len(i)), (i, j)), (n, n)).tocsr()
    link = ((link + link.T) > 0).astype(np.float64)
    stiff = sp.diags(np.asarray(link.sum(1)).ravel()) - link + sp.diags(BELIEF * sure + 1e-6)
    return np.asarray(spsolve(stiff.tocsc(), BELIEF * sure[:, None] * values)).reshape(n, -1)
