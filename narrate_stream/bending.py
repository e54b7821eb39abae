"""How an expression turns the surface of the face: the normals that the light meets follow the mesh (paper, 4.3).

What the portrait's baked normals know (folds, pores, the fit of a network) no mesh knows; so they are kept and turned
by as much as the mesh's own normals turn. Only the face's tessellation is asked; toward its outline the turn fades,
since what lies beyond hardly moves. It fades toward the eyes as well: a lid slides over a ball, and what comes out of
the fold above it is no skin that tilts. (By the mesh, which knows no ball, lids that shut turned to the sky: white.)

Convention: a *bend* is a rotation that takes a normal to another on the shortest way, as a vector: its axis, as long as
the sine of its angle. Frame of the portrait's camera, before the head is posed.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, dijkstra

from narrate_stream.bundle import HybridModel
from narrate_stream.types import Array

LANDMARKS = 468  # a model's first vertices
FADE = 3  # edges from the outline of the face, over which bends fade in
LIDS = 4, 8  # edges from the rim of an eye: up to the first they are lid and fold, over the rest bends fade in
EYE_CORNERS = 33, 263
MOST = 0.75  # sine of the largest bend: small triangles at lids and lips fold over
NONE = 1e-4  # cm: landmarks that move less do not move


class Bending:
    """The bends of one model's face; see the module."""

    def __init__(self, model: HybridModel) -> None:
        corners = face_of(model)
        self.vertices, local = np.unique(corners, return_inverse=True)
        self.triangles, n = local.reshape(corners.shape).astype(np.int32), len(self.vertices)
        self._shape = model.vertices.shape
        every = np.arange(len(self.triangles))
        self._around = sp.csr_matrix(
            (np.ones(self.triangles.size, np.float32), (self.triangles.ravel(), np.repeat(every, 3))), (n, len(every))
        )
        self._even = evened(self.triangles, n) if n else sp.csr_matrix((0, 0), dtype=np.float32)
        eyes = np.flatnonzero(np.isin(self.vertices, EYE_CORNERS))
        self._share = (from_outline(self.triangles, n) * from_eyes(self.triangles, n, eyes))[:, None]
        self._rest = self._normals(model.vertices)

    def __call__(self, points: Array) -> Array:
        """(V, 3) bends of the mesh with vertices at `points` (V, 3), not yet posed; 0 wherever it is not the face."""
        out = np.zeros(self._shape, np.float32)
        bend = crossed(self._rest, self._normals(points)) * self._share
        bend = np.asarray(self._even @ bend)
        length = np.sqrt(np.einsum("vc,vc->v", bend, bend))[:, None]
        out[self.vertices] = bend * (MOST * np.tanh(length / MOST) / np.maximum(length, 1e-9))
        return out

    def _normals(self, points: Array) -> Array:
        """(n, 3) of the face's vertices: the mean over the triangles round each, weighted by area."""
        p = points[self.vertices]
        a, b, c = (p[self.triangles[:, k]] for k in range(3))
        total = np.asarray(self._around @ crossed(b - a, c - a))
        return np.asarray(total / (np.sqrt(np.einsum("vc,vc->v", total, total))[:, None] + 1e-9))


def crossed(a: Array, b: Array) -> Array:
    """(n, 3) vector products; numpy's own takes five times as long."""
    x, y, z = a.T
    u, v, w = b.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], -1)


def face_of(model: HybridModel) -> NDArray[np.int32]:
    """(T, 3) the triangles that hang together with a landmark and that the rig moves."""
    t = model.triangles
    pairs = np.concatenate([t[:, :2], t[:, 1:]])
    graph = sp.coo_matrix((np.ones(len(pairs)), pairs.T), (len(model.vertices),) * 2)
    _, piece = connected_components(graph, directed=False)
    moved = np.diff(model.rig_indptr) > 0
    return np.asarray(t[np.isin(piece[t[:, 0]], piece[:LANDMARKS]) & moved[t].all(1)])


def evened(triangles: NDArray[np.int32], count: int) -> sp.csr_matrix:
    """(n, n) the mean of a vertex and of the mean of its neighbours."""
    pairs = np.concatenate([triangles[:, [i, j]] for i in range(3) for j in range(3) if i != j])
    beside = sp.csr_matrix((np.ones(len(pairs)), pairs.T), (count, count))
    beside.data[:] = 1
    mean = sp.diags(1 / np.maximum(np.asarray(beside.sum(1)).ravel(), 1)) @ beside
    return sp.csr_matrix((sp.identity(count) + mean) * 0.5, dtype=np.float32)


def from_outline(triangles: NDArray[np.int32], count: int) -> Array:
    """(n,) 0 on the outline of the face .. 1 from FADE edges inside on; eyes and mouth are no outline."""
    if count == 0:
        return np.zeros(0, np.float32)
    graph, ring, outline = rims(triangles, count)
    return fading_in(graph, np.flatnonzero(ring == outline), 0, FADE)


def from_eyes(triangles: NDArray[np.int32], count: int, eyes: NDArray[np.intp]) -> Array:
    """(n,) 0 on lids and in the folds above them .. 1 well outside; eyes: a vertex on the rim of each hole."""
    if count == 0:
        return np.zeros(0, np.float32)
    graph, ring, outline = rims(triangles, count)
    holes = [number for number in ring[eyes] if number != outline and (ring == number).sum() > 1]
    return fading_in(graph, np.flatnonzero(np.isin(ring, holes)), *LIDS)


def rims(triangles: NDArray[np.int32], count: int) -> tuple[sp.csr_matrix, NDArray[np.int32], int]:
    """The graph of the edges; (n,) the number of the rim that each vertex lies on, inside of the mesh one of its own;
    and the number of the longest rim, the outline."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    unique, used = np.unique(edges, axis=0, return_counts=True)
    graph = sp.csr_matrix((np.ones(len(unique)), unique.T), (count, count))
    rim = unique[used == 1]
    _, ring = connected_components(sp.coo_matrix((np.ones(len(rim)), rim.T), (count, count)), directed=False)
    return graph, ring, int(np.bincount(ring[rim.ravel()]).argmax())


def fading_in(graph: sp.csr_matrix, where: NDArray[np.intp], begin: int, whole: int) -> Array:
    """(n,) 0 up to `begin` edges from the vertices `where` .. 1 from `whole` edges on."""
    if len(where) == 0:
        return np.ones(graph.shape[0], np.float32)
    far = dijkstra(graph, directed=False, indices=where, unweighted=True, limit=whole, min_only=True)
    return np.asarray(np.clip((far - begin) / (whole - begin), 0, 1), np.float32)


def texel_corners(
    source: Array, triangles: NDArray[np.int32], scale: float, size: tuple[int, int]
) -> tuple[NDArray[np.int32], Array]:
    """Of every texel of a map `size` (W, H) that is `scale` times the atlas: (H, W, 3) the vertices of the triangle
    that it lies in, -1 for none, and (H, W, 3) how much it takes of each. source (V, 3): atlas coordinates."""
    corner = np.full((size[1], size[0], 3), -1, np.int32)
    by = np.zeros((size[1], size[0], 3), np.float32)
    at = (source[:, :2] + 0.5) * scale - 0.5
    for triangle in triangles:
        a, b, c = at[triangle]
        lo = np.maximum(np.ceil(np.min([a, b, c], 0)).astype(int), 0)
        hi = np.minimum(np.floor(np.max([a, b, c], 0)).astype(int), np.array(size) - 1)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if (hi < lo).any() or abs(area) < 1e-9:
            continue
        y, x = np.mgrid[lo[1] : hi[1] + 1, lo[0] : hi[0] + 1]
        v = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        w = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        inside = (v >= -1e-6) & (w >= -1e-6) & (v + w <= 1 + 1e-6)
        corner[y[inside], x[inside]] = triangle
        by[y[inside], x[inside]] = np.stack([1 - v - w, v, w], -1)[inside]
    return corner, by


def bend_map(bend: Array, corner: NDArray[np.int32], by: Array) -> Array:
    """(..., 3) bends of texels with these `texel_corners` (..., 3), of the bends of vertices (V, 3)."""
    taken = np.einsum("...kc,...k->...c", bend[np.maximum(corner, 0)], by)
    return np.asarray(np.where(corner[..., :1] >= 0, taken, 0), np.float32)


def turned(normals: Array, bend: Array) -> Array:
    """(..., 3) normals, unit, turned by bends (..., 3)."""
    across = np.cross(bend, normals)
    cosine = np.sqrt(np.maximum(1 - (bend * bend).sum(-1, keepdims=True), 0))
    return np.asarray(normals + across + np.cross(bend, across) / (1 + cosine), np.float32)
