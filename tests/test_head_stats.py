"""Statistics of heads: rays, grids, principal directions and the regression, on shapes whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from offline.head_stats import (
    COLUMNS,
    COMPONENTS,
    MODES,
    RIDGE,
    ROWS,
    Grid,
    directions,
    laid_on,
    lowest_elevation,
    outermost,
    principal,
    symmetric,
    truth,
    write,
)
from offline.headfit import MARKS, Aligned, align, features, ray_frame
from offline.stage_faces import Shot


def ball(radius: float, lowest: float = -90.0) -> np.ndarray:
    """(T, 3, 3) triangles of a ball round the origin, open below `lowest` degrees of elevation."""
    up, around = np.radians(np.arange(lowest, 90.1, 2.5)), np.radians(np.arange(0, 360, 5.0))
    u, a = np.meshgrid(up, around, indexing="ij")
    p = radius * np.stack([np.cos(u) * np.sin(a), np.sin(u), np.cos(u) * np.cos(a)], -1)
    q = np.roll(p, -1, 1)
    quads = [(p[:-1], q[:-1], q[1:]), (p[:-1], q[1:], p[1:])]
    return np.concatenate([np.stack(t, 2).reshape(-1, 3, 3) for t in quads])


def test_directions_go_round_from_the_back_and_down_from_the_crown() -> None:
    lowest = np.full(COLUMNS, -60.0)
    rays = directions(lowest).reshape(ROWS, COLUMNS, 3)
    assert np.linalg.norm(rays, axis=-1) == pytest.approx(np.ones((ROWS, COLUMNS)))
    assert (rays[0, :, 1] > 0.999).all()
    assert np.degrees(np.arcsin(rays[-1, :, 1])) == pytest.approx(lowest)
    level = rays[int(np.abs(rays[:, 0, 1]).argmin())]
    for column, towards in ((0, [0, 0, -1]), (1, [-1, 0, 0]), (2, [0, 0, 1]), (3, [1, 0, 0])):
        assert level[column * COLUMNS // 4] == pytest.approx(towards, abs=0.05)


def test_rays_leave_a_ball_at_its_radius() -> None:
    surface = np.concatenate([ball(3.0), ball(8.0), ball(5.0)])  # the farthest counts
    rays = directions(np.full(COLUMNS, -88.0))[::37]
    which, shares, there = outermost(rays, surface)
    assert there.all()
    assert shares.sum(1) == pytest.approx(np.ones(len(rays)))
    assert shares.min() > -1e-6
    points = np.einsum("nk,nkc->nc", shares, surface[which])
    assert np.linalg.norm(points, axis=1) == pytest.approx(np.full(len(rays), 8.0), abs=0.02)
    assert points / np.linalg.norm(points, axis=1, keepdims=True) == pytest.approx(rays, abs=1e-9)


def test_a_triangle_wider_than_half_the_sky_is_met_too() -> None:
    near = np.array([[[-50.0, -40, 0.01], [50, -40, 0.01], [0, 60, 0.01]]])
    rays = np.array([[0.0, 0, 1], [0, 0, -1], [0.8, 0.0, 0.6]])
    assert outermost(rays, near)[2].tolist() == [True, False, True]


def test_a_hole_is_told() -> None:
    rays = np.array([[0.0, 1, 0], [0, -1, 0]])
    assert outermost(rays, ball(8.0, -40.0))[2].tolist() == [True, False]


def test_the_grid_ends_above_where_the_surface_ends() -> None:
    lowest = lowest_elevation(ball(8.0, -50.0))
    assert lowest.shape == (COLUMNS,)
    assert (lowest > -50).all()
    assert (lowest < -45).all()
    assert lowest == pytest.approx(lowest[-np.arange(COLUMNS) % COLUMNS])


@pytest.mark.parametrize("height", [-2.0, 0.0, 3.4])
def test_the_canonical_face_is_laid_on_at_the_height_of_the_eyes(height: float) -> None:
    """A skin as dense as the kit's, from the canonical triangles, at a height that is to be found."""
    face = canonical()
    corners = face.landmarks[face.triangles]
    shares = np.random.default_rng(0).dirichlet([1, 1, 1], (12, 1))
    dense = np.concatenate([face.landmarks[:MARKS], (corners * shares[..., None]).sum(2).reshape(-1, 3)])
    nearest, found = laid_on(dense + np.array([0, height, 0]))
    assert found == pytest.approx(height, abs=0.051)
    assert np.abs(dense[nearest] - face.landmarks[:MARKS]).max() < 0.06


def test_grid_points_follow_the_vertices() -> None:
    vertices = np.random.default_rng(1).normal(size=(5, 3))
    grid = Grid(np.array([[0, 1, 2], [4, 4, 4]]), np.array([[0.5, 0.25, 0.25], [1, 0, 0]]), np.array([0, 2.0, 0]))
    wanted = [0.5 * vertices[0] + 0.25 * vertices[1] + 0.25 * vertices[2] - [0, 2, 0], vertices[4] - [0, 2, 0]]
    assert grid.points(vertices) == pytest.approx(np.array(wanted))


def photographed() -> tuple[Shot, Aligned, np.ndarray, np.ndarray]:
    """A canonical face as a head: the shot, what is aligned, the head's points and the origin in its own space."""
    origin, place = np.array([0.0, 3.0, 0.0]), np.array([6.0, -2, -70])
    rotation, camera = rotation_from_angles(18, -7, 4), Camera(700, 191.5, 191.5)
    head = canonical().landmarks[:MARKS]
    posed = (head + origin) @ rotation.T + place
    z = -posed[:, 2:] * camera.focal / 70
    marks = np.concatenate([camera.project(posed), z - z.mean()], 1)
    depth = posed[:, 2].copy()
    shot = Shot(np.concatenate([marks, np.zeros((10, 3))]), camera, rotation, place, depth, head)
    return shot, align(shot.landmarks), head, origin


def test_truth_is_what_leads_back_to_the_head() -> None:
    """The numbers, put together as `fit_head` does, are the pose, the place and the depth of the shot."""
    shot, seen, head, origin = photographed()
    numbers, sized = truth(shot, seen, head, origin)
    size, place = np.exp(numbers[3]), shot.place + shot.rotation @ origin
    assert 10 / numbers[4] == pytest.approx(-place[2])
    assert size == pytest.approx(1.1, abs=0.05)  # the face is 7 of 70 cm nearer than the origin
    assert sized * size == pytest.approx(head)
    pixel = seen.centre + numbers[5:7] * seen.scale
    distance = shot.camera.focal * size / seen.scale
    assert shot.camera.unproject(pixel, -distance) == pytest.approx(place)
    ray = ray_frame(place)
    assert ray @ seen.rotation @ Rotation.from_rotvec(numbers[:3]).as_matrix() == pytest.approx(shot.rotation)
    near = (numbers[7:] + (canonical().landmarks[:MARKS] @ seen.rotation.T)[:, 2]) * size
    posed = (head + origin) @ shot.rotation.T + shot.place
    assert near == pytest.approx(((posed - place) @ ray)[:, 2], abs=1e-6)


def test_where_something_else_is_seen_the_heads_own_depth_counts() -> None:
    shot, seen, head, origin = photographed()
    whole = truth(shot, seen, head, origin)[0]
    shot.depth[5], shot.depth[9] = np.nan, shot.depth[9] - 30
    assert truth(shot, seen, head, origin)[0] == pytest.approx(whole, abs=1e-9)
    shot.depth[9] += 31
    assert truth(shot, seen, head, origin)[0][7 + 9] > whole[7 + 9] + 0.5  # a centimetre is believed


def test_principal_directions_of_a_known_cloud() -> None:
    chance = np.random.default_rng(2)
    axes = np.linalg.qr(chance.normal(size=(40, 3)))[0].T
    sigma = np.array([5.0, 2.0, 0.5])
    rows = (7 + chance.normal(size=(900, 3)) * sigma @ axes).astype(np.float32)
    mean, found = principal(rows, 3)
    assert mean == pytest.approx(np.full(40, 7.0), abs=0.4)
    assert np.linalg.norm(found, axis=1) == pytest.approx(sigma, rel=0.1)
    assert np.abs((found / sigma[:, None] * axes).sum(1)) == pytest.approx(np.ones(3), abs=0.03)


def test_the_template_is_made_symmetric() -> None:
    template = np.random.default_rng(3).normal(size=(ROWS * COLUMNS + MARKS, 3))
    modes = np.random.default_rng(4).normal(size=(2, *template.shape))
    even, same = symmetric(template, modes)
    assert (same == modes).all()
    np.testing.assert_allclose(symmetric(even, modes)[0], even, atol=1e-12)
    grid = even[:-MARKS].reshape(ROWS, COLUMNS, 3)
    assert grid[:, COLUMNS // 4] == pytest.approx(grid[:, 3 * COLUMNS // 4] * [-1, 1, 1])
    assert grid[:, COLUMNS // 2, 0] == pytest.approx(np.zeros(ROWS))
    marks = even[-MARKS:]
    assert marks[33] == pytest.approx(marks[263] * [-1, 1, 1])


def test_the_regression_finds_a_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Heads that grow with the first thing seen, and turn with the second: the file's weights say so."""
    chance, count = np.random.default_rng(5), 260
    seen = chance.normal(size=(count, 2))
    shapes = np.zeros((count, 3 * MARKS))
    shapes[:, 0], shapes[:, 1] = 3 * seen[:, 0], 2 * seen[:, 1]
    shapes += 1e-3 * chance.normal(size=shapes.shape)
    wanted = np.zeros((count, 7 + MARKS))
    wanted[:, 1], wanted[:, 3], wanted[:, 7:] = 0.1 * seen[:, 1], 0.2 * seen[:, 0], 1.5
    heads = chance.normal(size=(count, 3 * (ROWS * COLUMNS + MARKS))) * 1e-3
    heads[:, 10] += 4 * seen[:, 0]
    poses = np.stack([rotation_from_angles(*a) for a in chance.normal(0, 8, (count, 3))])
    path = tmp_path / "head.npz"
    write(path, shapes.astype(np.float32), poses, wanted, heads.astype(np.float32))
    assert "turn error" in capsys.readouterr().out
    data = dict(np.load(path))
    assert data["basis"].shape == (COMPONENTS, 3 * MARKS)
    assert data["modes"].shape == (MODES, ROWS * COLUMNS + MARKS, 3)
    new = shapes[3] * 0
    new[0], new[1] = 3 * 1.2, 2 * -0.8
    component = data["basis"].astype(np.float64) @ (new - data["mean"])
    predicted = features(component, np.eye(3)) @ data["weights"].astype(np.float64)
    own = 0.8 * count  # every fifth is left out to tell the error; ridge pulls whitened components by this much:
    kept = own / (own + RIDGE)
    assert predicted[[1, 3]] == pytest.approx([kept * 0.1 * -0.8, kept * 0.2 * 1.2], abs=0.02)
    assert data["weights"][0, -MARKS:] == pytest.approx(np.full(MARKS, 1.5), abs=0.05)
    assert np.abs(data["modes"][0]).argmax() == 10
