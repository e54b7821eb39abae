"""The physical face as a mesh: the landmark tessellation refined once, with smooth weights back to the 468
landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from narrate_stream.ops.canonical import canonical

F64 = NDArray[np.float64]
LANDMARKS = 468


@dataclass(frozen=True)
class FaceTopology:
    """triangles (T, 3) over V vertices, the first 468 of which are the landmarks; smooth (V, 468) sparse weights;
    hole (V,) true on the rims of eyes and mouth, eye (V,) of eyes only; rim (V,) true on the outline of the face;
    depth (V,) edges from the nearest rim (0 on it)."""

    triangles: NDArray[np.int32]
    smooth: sp.csr_matrix
    hole: NDArray[np.bool_]
    eye: NDArray[np.bool_]
    rim: NDArray[np.bool_]
    depth: NDArray[np.int32]


def subdivide(triangles: NDArray[np.int32], count: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Every triangle into four. Returns triangles and (M, 2) the edge whose midpoint vertex `count + i` is."""
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, inverse = np.unique(edges, axis=0, return_inverse=True)
    middle = (inverse.reshape(-1, 3) + count).astype(np.int32)
    a, b, c = triangles.T
    ab, bc, ca = middle.T
    parts = [np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.concatenate(parts).astype(np.int32), unique.astype(np.int32)


def boundary_edges(triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """(B, 2) edges that belong to one triangle only."""
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.asarray(unique[count == 1], np.int32)


def biharmonic(triangles: NDArray[np.int32], count: int, handles: int) -> sp.csr_matrix:
    """(count, handles) weights: the smoothest (least squared graph Laplacian) extension of values at the first
    `handles` vertices. Rows sum to 1; a handle keeps its own value."""
    i, j = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
    adjacency = sp.coo_matrix((np.ones(len(i)), (i, j)), (count, count)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float64)
    degree = np.asarray(adjacency.sum(1)).ravel()
    laplacian = sp.eye(count) - sp.diags(1 / np.maximum(degree, 1)) @ adjacency
    energy = (laplacian.T @ laplacian).tocsc()
    free = slice(handles, count)
    weights = splu(energy[free, free]).solve(-energy[free, :handles].toarray())
    weights[np.abs(weights) < 4e-3] = 0
    weights /= weights.sum(1, keepdims=True)
    return sp.vstack([sp.eye(handles), sp.csr_matrix(weights)]).tocsr()


@lru_cache(maxsize=1)
def face_topology() -> FaceTopology:
    """The one topology that all models share."""
    base = canonical().triangles
    triangles, _ = subdivide(base, LANDMARKS)
    count = int(triangles.max()) + 1
    smooth = biharmonic(triangles, count, LANDMARKS)
    outline = boundary_edges(triangles)
    loops = np.unique(outline)
    component = sp.csgraph.connected_components(sp.coo_matrix((np.ones(len(outline)), outline.T), (count, count)))[1]
    on_oval = component == component[10]  # landmark 10 is the top of the forehead
    on_edge = np.zeros(count, np.bool_)
    on_edge[loops] = True
    depth = np.where(on_edge, 0, 99).astype(np.int32)
    for _ in range(6):
        nearest = depth[triangles].min(1) + 1
        for k in range(3):
            np.minimum.at(depth, triangles[:, k], nearest)
    on_eyes = on_edge & np.isin(component, component[[33, 263]])  # landmarks 33 and 263 are the eyes' outer corners
    return FaceTopology(triangles, smooth, on_edge & ~on_oval, on_eyes, on_edge & on_oval, depth)


def vertex_normals(points: F64, triangles: NDArray[np.int32]) -> F64:
    """(V, 3) unit normals, area-weighted over the triangles around each vertex."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    total = np.zeros_like(points)
    for k in range(3):
        np.add.at(total, triangles[:, k], face)
    return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12))
