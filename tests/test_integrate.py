"""Normal integration: known surfaces come back, with one camera and the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrate_stream.ops.geometry import Camera
from offline.integrate import blurred, integrate, normals_from_depth

N = 64
UNIT = 0.1  # cm per pixel of the orthographic cases
CAMERA = Camera(6.0 * N, (N - 1) / 2, (N - 1) / 2)
Y, X = np.mgrid[:N, :N] - (N - 1) / 2.0
TALL = 2.0  # cm, the height that errors are measured against
FAR = 60.0  # cm from the camera, of the perspective cases
RAY = CAMERA.unproject(np.stack(np.meshgrid(np.arange(N), np.arange(N)), -1).astype(np.float64), -1.0)
few = settings(max_examples=15, deadline=None, derandomize=True)
cameras = st.sampled_from([None, CAMERA])


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


def sphere(camera: Camera | None, roundness: float) -> tuple[np.ndarray, np.ndarray]:
    """(z, normals) of a sphere's near side, from the formula; `roundness`: the share of its radius that the picture's
    corners reach."""
    radius = (4.5 if camera is None else 7.0) / roundness
    if camera is None:
        x, y = X * UNIT, -Y * UNIT
        z = np.sqrt(radius**2 - x**2 - y**2)
        return z, np.stack([x, y, z], -1) / radius
    middle = FAR + radius
    a, b = (RAY**2).sum(-1), RAY[..., 2] * -middle  # |s * ray - (0, 0, -middle)| = radius, the smaller s
    s = (b - np.sqrt(b**2 - a * (middle**2 - radius**2))) / a
    point = RAY * s[..., None]
    return point[..., 2], (point + np.array([0, 0, middle])) / radius


def slanted(camera: Camera | None, slope_x: float, slope_y: float) -> tuple[np.ndarray, np.ndarray]:
    """(z, normals) of a plane that rises by `slope_x` to the right and `slope_y` upward, from the formula."""
    normal = np.array([-slope_x, -slope_y, 1.0]) / np.linalg.norm([slope_x, slope_y, 1.0])
    level = slope_x * X * UNIT - slope_y * Y * UNIT
    z = level if camera is None else FAR * normal[2] / (RAY @ normal)
    return z, np.broadcast_to(normal, (N, N, 3))


@few
@given(camera=cameras, roundness=st.floats(0.1, 0.75), x=st.integers(0, N - 1), y=st.integers(0, N - 1))
def test_any_sphere_comes_back_from_one_known_pixel(camera: Camera | None, roundness: float, x: int, y: int) -> None:
    z, n = sphere(camera, roundness)
    weight = np.zeros((N, N))
    weight[y, x] = 1
    solved = integrate(n, np.full((N, N), z[y, x]), weight, np.ones((N, N)), camera, UNIT)
    assert np.abs(solved - z).max() < 0.005 * np.ptp(z)


@few
@given(camera=cameras, slope_x=st.floats(-2.0, 2.0), slope_y=st.floats(-2.0, 2.0))
def test_any_plane_comes_back_from_one_known_pixel(camera: Camera | None, slope_x: float, slope_y: float) -> None:
    z, n = slanted(camera, slope_x, slope_y)
    prior, weight = anchored(z)
    solved = integrate(n, prior, weight, np.ones((N, N)), camera, UNIT)
    assert np.abs(solved - z).max() < 0.005 * max(np.ptp(z), 0.1)


@few
@given(camera=cameras, height=st.floats(0.5, 5.0), at=st.integers(12, 50), slope=st.floats(-0.5, 0.5))
def test_any_step_comes_back(camera: Camera | None, height: float, at: int, slope: float) -> None:
    """Two slanted halves, one before the other; the prior knows one pixel of each, the normals nothing of the step."""
    z, n = slanted(camera, slope, 0.3)
    right = np.broadcast_to(np.arange(N) >= at, (N, N))
    nearer = 1 - height / FAR * right  # brought to the camera, with the same normals
    z = z + height * right if camera is None else z * nearer
    edges, weight = np.ones((N, N)), np.zeros((N, N))
    edges[:, at] = 0
    weight[N // 2, [2, N - 3]] = 1
    weight[:, at] = 1
    solved = integrate(n, np.where(weight > 0, z, z.mean()), weight, edges, camera, UNIT)
    assert np.abs(solved - z).max() < 0.005 * np.ptp(z)
    across = integrate(n, np.where(weight > 0, z, z.mean()), weight, np.ones((N, N)), camera, UNIT)
    assert np.abs(across - z).max() > 0.05 * height  # believed everywhere, the normals smooth the step away


def ridge() -> np.ndarray:
    """z of a ridge 2 cm high whose flanks are as wide as three pixels."""
    return 1.0 + np.tanh((7 - np.abs(X)) / 1.0) + 0.03 * Y * UNIT


def test_a_ridge_seen_through_a_blur_keeps_its_height() -> None:
    z = ridge()
    prior = z + 0.8 * np.exp(-(X**2 + Y**2) / (2 * 14.0**2))  # knows the flanks, not how high all of it lies
    dull = blurred(normals_from_depth(z, None, UNIT), 2.0)
    given = dull, prior, np.full((N, N), 1e-5), np.ones((N, N)), None, UNIT
    top, foot = np.abs(X[0]) < 2, (np.abs(X[0]) > 12) & (np.abs(X[0]) < 20)

    def height(found: np.ndarray) -> float:
        return float(found[:, top].mean() - found[:, foot].mean())

    assert height(integrate(*given)) < 0.5 * TALL  # averaged normals are not steep enough
    assert height(integrate(*given, blur=2.0)) == pytest.approx(height(z), rel=0.05)
    assert abs(height(prior) - height(z)) > 0.1 * TALL


def test_normals_that_are_the_priors_own_change_nothing() -> None:
    z = bumpy()
    own = blurred(normals_from_depth(z, CAMERA), 2.0)
    solved = integrate(own, z, np.full((N, N), 1e-6), np.ones((N, N)), CAMERA, blur=2.0)
    assert solved == pytest.approx(z, abs=1e-4)
