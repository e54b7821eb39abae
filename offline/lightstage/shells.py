"""Shells over a head: a polar grid that follows any head of the kit, smooth noise, and grids turned into meshes.

Convention: grids are [row, column]; columns go round the pole from the front (0) over +x, rows from the pole outward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Prop:
    """One occluder: vertices (V, 3) cm in the head's space, triangles (T, 3) wound outward, albedo (V, 3) linear RGB
    (nan: the skin's own), roughness and specular in [0, 1], label "hair", "cloth", "glasses" or "skin"."""

    name: str
    vertices: F32
    triangles: I32
    albedo: F32
    roughness: float
    specular: float
    label: str


@dataclass(frozen=True)
class PolarGrid:
    """neutral (R, A, 3) cm; azimuth (A,) and polar (R,) or (R, A) radians; weights (R * A, V) of the kit's vertices."""

    neutral: F64
    azimuth: F64
    polar: F64
    weights: Any

    def points(self, vertices: NDArray[Any]) -> F64:
        """(R, A, 3) the grid on a deformed head (V, 3)."""
        return np.asarray(self.weights @ vertices, np.float64).reshape(self.neutral.shape)


def polar_grid(vertices: F64, chosen: NDArray[Any], centre: F64, tilt: float, azimuth: F64, polar: F64) -> PolarGrid:
    """The surface of vertices[chosen] seen from `centre`, the pole leaning back by `tilt` radians.

    Each grid point averages its 10 nearest vertices by direction, by a Gaussian as wide as their spacing."""
    theta = np.broadcast_to(polar if polar.ndim == 2 else polar[:, None], (polar.shape[0], len(azimuth)))
    pole, front = np.array([0, np.cos(tilt), -np.sin(tilt)]), np.array([0, np.sin(tilt), np.cos(tilt)])
    ring = np.sin(azimuth)[:, None] * [1, 0, 0] + np.cos(azimuth)[:, None] * front
    direction = np.cos(theta)[..., None] * pole + np.sin(theta)[..., None] * ring
    known = vertices[chosen] - centre
    known = known / np.linalg.norm(known, axis=1, keepdims=True)
    distance, near = cKDTree(known).query(direction.reshape(-1, 3), k=10)
    weight = np.exp(-((distance / (0.6 * distance[:, -1:] + 1e-9)) ** 2))
    weight /= weight.sum(1, keepdims=True)
    start = np.arange(0, near.size + 1, near.shape[1])
    matrix = csr_matrix((weight.ravel().astype(np.float32), chosen[near.ravel()], start), (len(near), len(vertices)))
    return PolarGrid((matrix @ vertices).reshape(*theta.shape, 3), azimuth, theta, matrix)


def grid_normals(points: F64) -> F64:
    """(R, A, 3) unit outward normals of a grid that closes round its columns."""
    across = np.roll(points, -1, 1) - np.roll(points, 1, 1)
    normal = np.cross(np.gradient(points, axis=0), across)
    return np.asarray(normal / (np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9))


def grid_triangles(rows: int, columns: int, *, closed: bool) -> I32:
    """(T, 3) of a grid, outward; `closed` joins the last column to the first."""
    index = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(index, -1, 1)
    a, b, c, d = index[:-1], index[1:], right[1:], right[:-1]
    if not closed:
        a, b, c, d = a[:, :-1], b[:, :-1], c[:, :-1], d[:, :-1]
    both = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], -2)
    return np.asarray(both.reshape(-1, 3), np.int32)


def compact(triangles: NDArray[Any], *values: NDArray[Any]) -> tuple[I32, list[NDArray[Any]]]:
    """Triangles renumbered to the vertices that they use, and each of `values` (V, ...) reduced to those."""
    used, inverse = np.unique(triangles, return_inverse=True)
    return inverse.reshape(-1, 3).astype(np.int32), [v[used] for v in values]


def grid_prop(
    name: str, vertices: F64, albedo: F64, keep: Mask, label: str, rough: float, shine: float, depth: F64 | None = None
) -> Prop:
    """The kept part of a grid; `depth` (R, A) in [0, 1], 0 at its edges, gives the lower half an inner face, so
    that hanging hair is a body and not a sheet."""
    rows, columns = keep.shape
    triangles = grid_triangles(rows, columns, closed=True)
    triangles = triangles[keep.reshape(-1)[triangles].all(1)]
    points, colours = vertices.reshape(-1, 3), albedo.reshape(-1, 3)
    if depth is not None:
        low = rows // 2
        inset = 0.03 + 0.8 * np.minimum(keep, depth)
        inner = (vertices - inset[..., None] * grid_normals(vertices))[low::2, ::2]
        kept = keep[low::2, ::2]
        back = grid_triangles(*kept.shape, closed=True)[:, ::-1]
        back = back[kept.reshape(-1)[back].all(1)] + len(points)
        triangles = np.concatenate([triangles, back])
        points = np.concatenate([points, inner.reshape(-1, 3)])
        colours = np.concatenate([colours, 0.7 * albedo[low::2, ::2].reshape(-1, 3)])
    triangles, (points, colours) = compact(triangles, points, colours)
    return Prop(name, points.astype(np.float32), triangles, colours.astype(np.float32), rough, shine, label)


def smoothstep(low: float, high: float, x: NDArray[Any]) -> F64:
    """0 at or below `low`, 1 at or above `high`, smooth between."""
    t = np.clip((np.asarray(x, np.float64) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def around(degrees: list[float], values: list[float], azimuth: F64) -> F64:
    """Smooth even function of azimuth through `values` at `degrees` (0 front to 180 back)."""
    d = np.arange(-20, 201)
    fine = np.interp(np.minimum(np.abs(d), 360 - np.abs(d)), degrees, values)
    kernel = np.hanning(13) / np.hanning(13).sum()
    return np.asarray(np.interp(np.abs(np.rad2deg(azimuth)), d, np.convolve(fine, kernel, "same")))


def ring_noise(rng: np.random.Generator, angle: F64, knots: int) -> F64:
    """Smooth noise of unit variance along an angle (radians), periodic, with `knots` random values per turn."""
    table = rng.standard_normal(knots)
    t = (angle / (2 * np.pi) % 1) * knots
    low = np.floor(t).astype(np.int64)
    w = t - low
    w = w * w * (3 - 2 * w)
    return np.asarray((table[low % knots] * (1 - w) + table[(low + 1) % knots] * w) * 1.2)


def space_noise(rng: np.random.Generator, points: F64, wavelength: float, terms: int = 8) -> F64:
    """(...) smooth noise of unit variance at points (..., 3), about `wavelength` cm: a sum of random plane waves."""
    k = rng.standard_normal((3, terms))
    k *= 2 * np.pi / wavelength / np.linalg.norm(k, axis=0) * rng.uniform(0.7, 1.3, terms)
    waves = np.sin(points.astype(np.float32) @ k.astype(np.float32) + rng.uniform(0, 6.3, terms).astype(np.float32))
    return np.asarray(waves.sum(-1) * np.sqrt(2 / terms), np.float64)


def sweep(centre: F64, out: F64, up: F64, profile: F64, *, closed: bool, round_profile: bool) -> tuple[F32, I32]:
    """A profile (K, 2) or (A, K, 2) along (out, up) carried along `centre` (A, 3), outward where `profile` runs from
    the top over the outside down and the path runs from the front over +x. `round_profile` joins its ends."""
    shape = np.broadcast_to(profile, (len(centre), *profile.shape[-2:]))
    points = centre[:, None] + shape[..., :1] * out[:, None] + shape[..., 1:] * up[:, None]
    grid = points.transpose(1, 0, 2)
    if round_profile:
        grid = np.concatenate([grid, grid[:1]])
    triangles = grid_triangles(*grid.shape[:2], closed=closed)
    return grid.reshape(-1, 3).astype(np.float32), triangles


def tube(path: F64, radius: NDArray[Any] | float, *, closed: bool, sides: int = 8) -> tuple[F32, I32]:
    """A tube of `radius` cm (scalar or (N,)) round a path (N, 3)."""
    step = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    step /= np.linalg.norm(step, axis=1, keepdims=True) + 1e-9
    helper = np.array([0.0, 1, 0]) if np.abs(step[:, 1]).max() < 0.95 else np.array([0.0, 0, 1])
    side = np.cross(step, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    other = np.cross(side, step)
    turn = np.linspace(0, -2 * np.pi, sides, endpoint=False)
    profile = np.stack([np.cos(turn), np.sin(turn)], -1)[None] * np.broadcast_to(radius, len(path))[:, None, None]
    vertices, triangles = sweep(path, side, other, profile, closed=closed, round_profile=True)
    # Which way the profile turns against the path decides the winding: a tube's triangles must look away from it.
    corner = vertices[triangles].astype(np.float64)
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    axis = np.tile(path, (sides + 1, 1))[triangles].mean(1)
    if np.einsum("ij,ij->", normal, corner.mean(1) - axis) < 0:
        triangles = np.ascontiguousarray(triangles[:, ::-1])
    return vertices, triangles


def merged(parts: list[tuple[F32, I32]]) -> tuple[F32, I32]:
    """Several (vertices, triangles) as one."""
    offset = np.cumsum([0] + [len(v) for v, _ in parts])
    return (
        np.concatenate([v for v, _ in parts]),
        np.concatenate([t + o for (_, t), o in zip(parts, offset, strict=False)]).astype(np.int32),
    )
