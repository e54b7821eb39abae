"""Ray visibility against plain geometry."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.kernels.visibility import distances, visibility
from narrate_stream.ops.lighting import stage_directions


def square(height: float, half: float) -> tuple[np.ndarray, np.ndarray]:
    """A horizontal square at y = height."""
    v = np.array([[-half, height, -half], [half, height, -half], [half, height, half], [-half, height, half]])
    return v.astype(np.float32), np.array([[0, 2, 1], [0, 3, 2]], np.int32)


def test_below_a_roof_only_the_lights_beside_it_are_seen() -> None:
    vertices, triangles = square(1.0, 1.0)
    lights = stage_directions(400).astype(np.float32)
    points, normals = np.zeros((1, 3), np.float32), np.array([[0, 1, 0]], np.float32)
    seen = visibility(vertices, triangles, points, normals, lights)[0] > 0
    start = 0.06  # rays start off the surface
    above = lights[:, 1] > 1e-3
    reach = (1 - start) / np.maximum(lights[:, 1], 1e-6)
    under = (np.abs(lights[:, 0] * reach) <= 1) & (np.abs(lights[:, 2] * reach) <= 1)
    np.testing.assert_array_equal(seen[above], ~under[above])
    assert not seen[lights[:, 1] < 0].any()  # below the horizon


def sphere(rings: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A closed sphere of radius 5 cm."""
    v, u = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij")
    points = np.stack([np.sin(v) * np.cos(u), np.cos(v), np.sin(v) * np.sin(u)], -1).reshape(-1, 3)
    i = np.arange(rings)[:, None] * (2 * rings + 1) + np.arange(2 * rings)
    a, b, c, d = i, i + 1, i + 2 * rings + 1, i + 2 * rings + 2
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return (5 * points).astype(np.float32), triangles.astype(np.int32)


def test_a_convex_body_hides_nothing_from_itself() -> None:
    vertices, triangles = sphere()
    points = vertices[200:1000:37]
    normals = points / np.linalg.norm(points, axis=1, keepdims=True)
    lights = stage_directions().astype(np.float32)
    seen = visibility(vertices, triangles, points, normals, lights) > 0
    cosine = normals @ lights.T
    np.testing.assert_array_equal(seen[np.abs(cosine) > 0.1], (cosine > 0)[np.abs(cosine) > 0.1])


def test_nothing_beyond_the_farthest_counts() -> None:
    vertices, triangles = square(1.0, 50.0)
    points, normals = np.zeros((1, 3), np.float32), np.array([[0, 1, 0]], np.float32)
    up = np.array([[0, 1, 0]], np.float32)
    assert visibility(vertices, triangles, points, normals, up)[0, 0] == 0
    assert visibility(vertices, triangles, points, normals, up, farthest=0.5)[0, 0] == 1


def test_rays_from_the_camera_meet_the_nearest_of_two_planes() -> None:
    corners = np.array([[-9.0, -9, 0], [9, -9, 0], [9, 9, 0], [-9, 9, 0]])
    vertices = np.concatenate([corners - np.array([0, 0, z]) for z in (10, 20)])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    slanted = np.array([0.6, 0, -0.8])
    found = distances(vertices, triangles, np.stack([[0, 0, -1.0], slanted, [0, 0, 1.0]]))
    assert found[:2] == pytest.approx([10, 12.5], abs=1e-4)
    assert found[2] < 0
