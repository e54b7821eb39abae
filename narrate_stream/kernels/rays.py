"""Rays through a mesh with an atlas: what a pixel shows, and what a point sees. One source for CPU and CUDA.

Ray queries on bounding volume hierarchies. The offline measurements use them; no frame does.
"""

from __future__ import annotations

import warp as wp


@wp.kernel
def shown_pass(
    mesh: wp.uint64,
    triangles: wp.array(dtype=wp.vec3i),
    source: wp.array(dtype=wp.vec2),
    rays: wp.array(dtype=wp.vec3),
    wanted: wp.array(dtype=wp.vec2),
    tolerance: float,
    layers: int,
    face: wp.array(dtype=int),
    weight: wp.array(dtype=wp.vec3),
):
    """Along ray i from the camera: the first triangle whose atlas coordinate is the wanted one, and the weights of its
    corners; -1 where there is none."""
    i = wp.tid()
    face[i] = -1
    near = wp.float32(0.0)  # by this name Warp knows that the loop changes it
    for _ in range(layers):
        hit = wp.mesh_query_ray(mesh, rays[i] * near, rays[i], 1.0e4)
        if not hit.result:
            return
        near += hit.t + 1.0e-4
        corner = triangles[hit.face]
        rest = 1.0 - hit.u - hit.v
        at = source[corner[0]] * hit.u + source[corner[1]] * hit.v + source[corner[2]] * rest
        if wp.length(at - wanted[i]) < tolerance:
            face[i] = hit.face
            weight[i] = wp.vec3(hit.u, hit.v, rest)
            return


@wp.kernel
def sees_pass(
    solid: wp.uint64,
    sheer: wp.uint64,
    triangles: wp.array(dtype=wp.vec3i),
    source: wp.array(dtype=wp.vec3),
    alpha: wp.array2d(dtype=wp.uint8),
    start: wp.array(dtype=wp.vec3),
    directions: wp.array2d(dtype=wp.vec3),
    farthest: float,
    layers: int,
    out: wp.array2d(dtype=wp.uint8),
):
    """out[i, k] = 1 where nothing lies in direction k of point i; a direction of length 0 is not asked for. `triangles`
    and `source` belong to the sheer mesh, which stops light only where its matte does."""
    n = wp.tid()
    i = n // directions.shape[1]
    k = n - i * directions.shape[1]
    d = directions[i, k]
    if wp.length_sq(d) < 0.25:
        return
    if wp.mesh_query_ray_anyhit(solid, start[i], d, farthest):
        return
    near = wp.float32(0.0)  # by this name Warp knows that the loop changes it
    for _ in range(layers):
        hit = wp.mesh_query_ray(sheer, start[i] + d * near, d, farthest)
        if not hit.result:
            break
        near += hit.t + 1.0e-4
        corner = triangles[hit.face]
        rest = 1.0 - hit.u - hit.v
        at = source[corner[0]] * hit.u + source[corner[1]] * hit.v + source[corner[2]] * rest
        x = wp.clamp(int(at[0] + 0.5), 0, alpha.shape[1] - 1)
        y = wp.clamp(int(at[1] + 0.5), 0, alpha.shape[0] - 1)
        if float(alpha[y, x]) * wp.clamp(at[2], 0.0, 1.0) >= 127.5:
            return
    out[i, k] = wp.uint8(1)
