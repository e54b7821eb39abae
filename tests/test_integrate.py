"""Normal integration: known surfaces come back, with one camera and the other."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.geometry import Camera
from offline.integrate import integrate, normals_from_depth

N = 64
UNIT = 0.1  # cm per pixel of the orthographic cases
CAMERA = Camera(6.0 * N, (N - 1) / 2, (N - 1) / 2)
Y, X = np.mgrid[:N, :N] - (N - 1) / 2.0
TALL = 2.0  # cm, the height that errors are measured against


def ball() -> tuple[np.ndarray, np.ndarray]:
    """(z, normals) of a spherical cap, orthographic, 2 cm high."""
    radius = 3.6
    x, y = X * UNIT, -Y * UNIT
    inside = np.maximum(radius**2 - x**2 - y**2, 1.6**2)
    z = np.sqrt(inside)
    n = np.stack([x / radius, y / radius, z / radius], -1)
    n[inside <= 1.6**2] = [0, 0, 1]
    return z - 1.6, n


def plane() -> tuple[np.ndarray, np.ndarray]:
    """(z, normals) of a tilted plane."""
    z = 0.25 * X * UNIT - 0.4 * -Y * UNIT
    n = np.array([-0.25, 0.4, 1.0])
    return z, np.broadcast_to(n / np.linalg.norm(n), (N, N, 3))


def anchored(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A prior that knows one pixel, and its weight."""
    weight = np.zeros((N, N))
    weight[N // 2, N // 2] = 1
    return np.where(weight > 0, z, z[N // 2, N // 2]), weight


def test_a_plane_comes_back_exactly() -> None:
    z, n = plane()
    prior, weight = anchored(z)
    assert integrate(n, prior, weight, np.ones((N, N)), None, UNIT) == pytest.approx(z, abs=1e-3 * np.ptp(z))


def test_a_ball_comes_back_within_half_a_percent() -> None:
    z, n = ball()
    prior, weight = anchored(z)
    edges = np.where(z <= 0, 0.0, 1.0)
    weight[z <= 0] = 1
    prior = np.where(weight > 0, z, 0)
    solved = integrate(n, prior, weight, edges, None, UNIT)
    assert np.abs(solved - z)[z > 0].mean() < 0.005 * TALL
    assert np.abs(solved - z)[z > 0].max() < 0.03 * TALL


def test_a_step_is_held_by_the_prior() -> None:
    z = np.where(X > 0, 2.0, 0.0) + 0.05 * np.sin(Y / 7)
    n = normals_from_depth(0.05 * np.sin(Y / 7), None, UNIT)
    weight = np.full((N, N), 1e-3)
    edges = np.where(np.abs(X) < 1.6, 0.0, 1.0)
    solved = integrate(n, np.where(X > 0, 2.0, 0.0), weight, edges, None, UNIT)
    assert np.abs(solved - z)[:, np.abs(X[0]) > 2].max() < 0.01 * TALL
    smeared = integrate(n, np.where(X > 0, 2.0, 0.0), weight, np.ones((N, N)), None, UNIT)
    assert np.abs(smeared - z).max() > 0.2 * TALL  # without the discontinuity it cannot be held


def bumpy() -> np.ndarray:
    return -60 + 1.0 * np.exp(-(X**2 + Y**2) / (2 * 12.0**2)) + 0.01 * X - 0.006 * Y


def test_perspective_relief_comes_back_within_half_a_percent() -> None:
    z = bumpy()
    prior, weight = anchored(z)
    solved = integrate(normals_from_depth(z, CAMERA), prior, weight, np.ones((N, N)), CAMERA)
    assert np.abs(solved - z)[2:-2, 2:-2].max() < 0.005 * np.ptp(z)


def test_a_tilted_plane_in_perspective_has_one_normal() -> None:
    normal = np.array([0.3, -0.2, 1.0]) / np.linalg.norm([0.3, -0.2, 1.0])
    ray = CAMERA.unproject(np.stack(np.meshgrid(np.arange(N), np.arange(N)), -1).astype(float), -1.0)
    z = 60 * normal[2] / (ray @ normal)
    found = normals_from_depth(z, CAMERA)
    assert found == pytest.approx(np.broadcast_to(normal, (N, N, 3)), abs=2e-3)
    prior, weight = anchored(z)
    solved = integrate(np.broadcast_to(normal, (N, N, 3)), prior, weight, np.ones((N, N)), CAMERA)
    assert np.abs(solved - z).max() < 0.005 * np.ptp(z)


def test_the_prior_pulls_only_as_much_as_it_weighs() -> None:
    z, n = plane()
    flat = np.full((N, N), 5.0)
    weak = integrate(n, flat, np.full((N, N), 1e-6), np.ones((N, N)), None, UNIT)
    strong = integrate(n, flat, np.full((N, N), 1e3), np.ones((N, N)), None, UNIT)
    assert weak - weak.mean() == pytest.approx(z - z.mean(), abs=0.02 * np.ptp(z))
    assert weak.mean() == pytest.approx(5, abs=0.05)
    assert strong == pytest.approx(flat, abs=0.01)


def test_without_any_prior_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="prior"):
        integrate(plane()[1], np.zeros((N, N)), np.zeros((N, N)), np.ones((N, N)), None)


def test_normals_of_a_depth_map_look_at_the_viewer() -> None:
    z, n = ball()
    inside = np.hypot(X, Y) < N / 2 - 3
    assert normals_from_depth(z, None, UNIT)[inside] == pytest.approx(n[inside], abs=0.02)
    assert (normals_from_depth(bumpy(), CAMERA)[..., 2] > 0).all()
