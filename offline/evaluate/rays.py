"""Rays on the posed mesh of a model: which point of it a pixel shows, and what that point sees.

Nothing of the relighter's is used: the mesh, its atlas coordinates and its matte are all there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.kernels.rasterise import launch
from narrate_stream.kernels.rays import sees_pass, shown_pass
from narrate_stream.renderer import gather
from offline.facemesh import vertex_normals

F64 = NDArray[np.float64]
AWAY = 0.06  # cm: rays start this far off the surface, or it would shadow itself
REACH = 120.0  # cm: nothing of a person is farther from another part of it
GRAZING = 0.035  # sine of the least angle (2 degrees) above the surface under which light is traced
LAYERS = 12  # sheets of the mesh that a ray from the camera may pass until it finds the one that is shown
PROBES = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3] * 3], np.float32
)


@dataclass(frozen=True)
class Places:
    """Points of a model's surface, wherever the mesh is: triangle (N,), weights of its corners (N, 3), atlas x and y
    (N, 2) in the atlas' own pixels."""

    face: NDArray[np.int32]
    weight: F64
    atlas: F64

    def __len__(self) -> int:
        return len(self.face)

    def __getitem__(self, which: Any) -> Places:
        return Places(self.face[which], self.weight[which], self.atlas[which])


@dataclass(frozen=True)
class PosedPoints:
    """The same points on a posed mesh, camera space: position (N, 3) cm; outward (N, 3) the mesh's own smooth normal;
    turn (N, 3, 3) takes the portrait's normals to this pose and expression (not of unit length)."""

    position: F64
    outward: F64
    turn: F64


def solid_triangles(model: HybridModel) -> NDArray[np.bool_]:
    """(T,) the triangles that the matte covers wholly, as far as corners, edges and middle tell."""
    corners = model.source[model.triangles].astype(np.float32)
    at = np.einsum("pk,tkc->tpc", PROBES, corners).reshape(-1, 3)
    cover = gather(model.alpha, np.ascontiguousarray(at[:, 0]), np.ascontiguousarray(at[:, 1])) * np.minimum(
        at[:, 2], 1
    )
    return np.asarray((cover.reshape(len(corners), -1) > 250).all(1))


class PosedMesh:
    """A model's mesh with its vertices at `points` (V, 3) cm, camera space."""

    def __init__(self, model: HybridModel, points: NDArray[Any], device: str = "cpu") -> None:
        self.model, self.device = model, device
        self.points = np.asarray(points, np.float64)
        self._all = self._mesh(model.triangles)
        solid = solid_triangles(model)
        self._solid, self._sheer = self._mesh(model.triangles[solid]), self._mesh(model.triangles[~solid])
        self._sheer_triangles = wp.array(model.triangles[~solid], dtype=wp.vec3i, device=device)
        self._source = wp.array(np.ascontiguousarray(model.source, np.float32), dtype=wp.vec3, device=device)
        self._alpha = wp.array(model.alpha, device=device)
        self._normals = vertex_normals(self.points, model.triangles)

    def _mesh(self, triangles: NDArray[np.int32]) -> wp.Mesh:
        if not len(triangles):
            triangles = np.zeros((1, 3), np.int32)  # Warp wants one; without area it is never met
        return wp.Mesh(
            points=wp.array(self.points.astype(np.float32), dtype=wp.vec3, device=self.device),
            indices=wp.array(np.ascontiguousarray(triangles, np.int32).ravel(), dtype=wp.int32, device=self.device),
        )

    def shown(self, rays: F64, atlas: NDArray[Any], tolerance: float) -> tuple[Places, NDArray[np.bool_]]:
        """What the camera's rays (N, 3) meet where the picture shows `atlas` (N, 2), to within `tolerance` atlas
        pixels; and which of the N were found (the Places are of those only)."""
        n, d = len(rays), self.device
        face, weight = wp.zeros(n, dtype=int, device=d), wp.zeros(n, dtype=wp.vec3, device=d)
        unit = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
        given = [
            self._all.id,
            wp.array(self.model.triangles, dtype=wp.vec3i, device=d),
            wp.array(np.ascontiguousarray(self.model.source[:, :2]), dtype=wp.vec2, device=d),
            wp.array(unit.astype(np.float32), dtype=wp.vec3, device=d),
            wp.array(atlas.astype(np.float32), dtype=wp.vec2, device=d),
            float(tolerance),
            LAYERS,
            face,
            weight,
        ]
        launch(shown_pass, n, given, d)
        found = face.numpy() >= 0
        places = Places(
            face.numpy()[found], weight.numpy()[found].astype(np.float64), np.asarray(atlas[found], np.float64)
        )
        return places, found

    def at(self, places: Places) -> PosedPoints:
        """These places in this pose."""
        corner = self.model.triangles[places.face]
        now = self.points[corner]
        position = np.einsum("nk,nkc->nc", places.weight, now)
        outward = np.einsum("nk,nkc->nc", places.weight, self._normals[corner])
        outward /= np.linalg.norm(outward, axis=-1, keepdims=True) + 1e-12
        return PosedPoints(position, outward, normal_turn(self.model.vertices[corner].astype(np.float64), now))

    def sees(self, start: F64, directions: NDArray[Any]) -> NDArray[np.bool_]:
        """(N, K) whether the points (N, 3) see out in directions (N, K, 3) of length 1; those of length 0 do not."""
        n, k = directions.shape[:2]
        out = wp.zeros((n, k), dtype=wp.uint8, device=self.device)
        given = [
            self._solid.id,
            self._sheer.id,
            self._sheer_triangles,
            self._source,
            self._alpha,
            wp.array(start.astype(np.float32), dtype=wp.vec3, device=self.device),
            wp.array(np.ascontiguousarray(directions, np.float32), dtype=wp.vec3, device=self.device),
            REACH,
            LAYERS,
            out,
        ]
        launch(sees_pass, n * k, given, self.device)
        return np.asarray(out.numpy() > 0)


def normal_turn(rest: F64, now: F64) -> F64:
    """(N, 3, 3) what takes normals on triangles `rest` (N, 3, 3: corner, axis) to the same triangles `now`: the inverse
    transpose of the deformation, a rotation where the triangle moved rigidly."""
    # pseudo-inverses: closed lips have triangles without area
    then, after = (triangle_frame(t) for t in (rest, now))
    deformation = after @ np.linalg.pinv(then)
    return np.asarray(np.swapaxes(np.linalg.pinv(deformation), -1, -2))


def triangle_frame(corners: F64) -> F64:
    """(N, 3, 3) two edges and the unit normal of triangles (N, 3, 3), as columns."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    n = np.cross(a, b)
    n = n / (np.linalg.norm(n, axis=-1, keepdims=True) + 1e-12)
    return np.stack([a, b, n], -1)


def lifted(directions: NDArray[Any], outward: F64) -> NDArray[Any]:
    """Directions (N, K, 3), those below the surface's horizon raised to GRAZING above it: what reaches a point from
    there came in beside it."""
    out = outward[:, None].astype(directions.dtype)
    height = (directions * out).sum(-1, keepdims=True)
    raised = directions + (np.maximum(height, GRAZING) - height) * out
    return np.asarray(raised / np.linalg.norm(raised, axis=-1, keepdims=True))
