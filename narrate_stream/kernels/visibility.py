"""Which lights a point of a mesh sees, and where rays meet it: queries on a bounding volume hierarchy. One source for
CPU and CUDA."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

AWAY = 0.06  # cm: rays start this far off the surface, or it would shadow itself


@wp.kernel
def visibility_pass(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    lights: wp.array(dtype=wp.vec3),
    farthest: float,
    out: wp.array2d(dtype=wp.uint8),
):
    """out[i, l] = 1 where light l stands above point i's horizon and nothing lies between."""
    i = wp.tid()
    n = normals[i]
    start = points[i] + n * AWAY
    for k in range(lights.shape[0]):
        d = lights[k]
        if wp.dot(n, d) > 0.0:  # noqa: SIM102 -- Warp evaluates both sides of an `and`, and rays are dear
            if not wp.mesh_query_ray_anyhit(mesh, start, d, farthest):
                out[i, k] = wp.uint8(1)


@wp.kernel
def distance_pass(mesh: wp.uint64, rays: wp.array(dtype=wp.vec3), farthest: float, out: wp.array(dtype=float)):
    """out[i] = distance from the origin to the mesh along unit ray i; negative where there is nothing."""
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, wp.vec3(0.0, 0.0, 0.0), rays[i], farthest)
    out[i] = -1.0
    if hit.result:
        out[i] = hit.t


def mesh_of(vertices: NDArray[Any], triangles: NDArray[np.int32], device: str) -> wp.Mesh:
    """The hierarchy over triangles (T, 3) of vertices (V, 3)."""
    return wp.Mesh(
        points=wp.array(vertices.astype(np.float32), dtype=wp.vec3, device=device),
        indices=wp.array(triangles.astype(np.int32).ravel(), dtype=wp.int32, device=device),
    )


def distances(
    vertices: NDArray[Any],
    triangles: NDArray[np.int32],
    rays: NDArray[Any],
    *,
    farthest: float = 1000.0,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """(N,) how far from the origin unit rays (N, 3) meet the mesh first, in its unit; negative where they miss it."""
    mesh = mesh_of(vertices, triangles, device)
    out = wp.zeros(len(rays), dtype=float, device=device)
    given = [mesh.id, wp.array(rays.astype(np.float32), dtype=wp.vec3, device=device), farthest, out]
    wp.launch(distance_pass, dim=len(rays), inputs=given, device=device)
    return np.asarray(out.numpy())


def visibility(
    vertices: NDArray[Any],
    triangles: NDArray[np.int32],
    points: NDArray[Any],
    normals: NDArray[Any],
    lights: NDArray[Any],
    *,
    farthest: float = 80.0,
    device: str = "cpu",
) -> NDArray[np.uint8]:
    """(N, L) 1 where point i sees light l.

    vertices (V, 3) and triangles (T, 3) cast the shadows; points and normals (N, 3) lie on them; lights (L, 3) are unit
    directions toward the light; `farthest` in the unit of the vertices.
    """
    mesh = mesh_of(vertices, triangles, device)
    out = wp.zeros((len(points), len(lights)), dtype=wp.uint8, device=device)
    given = [
        mesh.id,
        wp.array(points.astype(np.float32), dtype=wp.vec3, device=device),
        wp.array(normals.astype(np.float32), dtype=wp.vec3, device=device),
        wp.array(lights.astype(np.float32), dtype=wp.vec3, device=device),
        farthest,
        out,
    ]
    wp.launch(visibility_pass, dim=len(points), inputs=given, device=device)
    return np.asarray(out.numpy())
