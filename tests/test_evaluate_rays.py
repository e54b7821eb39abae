"""Rays on the posed mesh: the right sheet of several, holes in the matte, normals that follow."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.geometry import rotation_from_angles
from offline.evaluate.rays import GRAZING, PosedMesh, lifted, normal_turn
from tests.toy_model import SIDE, rectangle, together, toy_model

UP = np.array([[[0.0, 0.0, 1.0]]])


def two_sheets() -> PosedMesh:
    """A near sheet of the atlas' left half over a far sheet of its right half, both across the view."""
    near, far = (rectangle((-3, -3, z), (6, 0, 0), (0, 6, 0)) for z in (-20, -24))
    source = np.array([[0, 15], [15, 15], [15, 0], [0, 0], [16, 15], [31, 15], [31, 0], [16, 0]])
    vertices, triangles = together(near, far)
    return PosedMesh(toy_model(vertices, triangles, source), vertices)


def test_a_pixel_shows_the_sheet_that_its_atlas_coordinate_names() -> None:
    mesh = two_sheets()
    rays = np.tile([[0.0, 0.0, -1.0]], (3, 1))
    places, found = mesh.shown(rays, np.array([[7.5, 7.5], [23.5, 7.5], [7.5, 14.0]]), 1.0)
    assert found.tolist() == [True, True, False]  # the third is on neither sheet where the ray passes
    posed = mesh.at(places)
    assert posed.position == pytest.approx(np.array([[0, 0, -20], [0, 0, -24]]), abs=1e-4)
    assert np.abs(posed.outward[:, 2]) == pytest.approx(1)


def test_places_keep_to_the_surface_when_it_moves() -> None:
    mesh = two_sheets()
    places, _ = mesh.shown(np.array([[0.05, 0.05, -1.0]]), np.array([[10.0, 5.0]]), 1.0)
    shift = np.array([1.0, 2.0, 3.0])
    moved = PosedMesh(mesh.model, mesh.points + shift)
    assert moved.at(places).position == pytest.approx(mesh.at(places).position + shift)


def test_light_falls_through_a_hole_in_the_matte() -> None:
    alpha = np.full((SIDE, SIDE), 255)
    alpha[:, : SIDE // 2] = 0
    vertices, triangles = rectangle((-4, -4, -10), (8, 0, 0), (0, 8, 0))
    source = np.array([[0, 31], [31, 31], [31, 0], [0, 0]])
    mesh = PosedMesh(toy_model(vertices, triangles, source, alpha), vertices)
    start = np.array([[-2.0, 0, -20], [2.0, 0, -20], [6.0, 0, -20]])  # below hole, cloth, nothing
    assert mesh.sees(start, np.repeat(UP, 3, 0))[:, 0].tolist() == [True, False, True]


def test_a_direction_without_length_is_not_seen() -> None:
    assert not two_sheets().sees(np.zeros((1, 3)), np.zeros((1, 2, 3))).any()


@pytest.mark.parametrize("turn", [(30, 0, 0), (-20, 40, 10)])
def test_normals_turn_with_a_rigid_triangle(turn: tuple[float, float, float]) -> None:
    rotation = rotation_from_angles(*turn)
    rest = np.random.default_rng(1).normal(size=(5, 3, 3))
    now = rest @ rotation.T + [1, 2, 3]
    assert normal_turn(rest, now) == pytest.approx(np.broadcast_to(rotation, (5, 3, 3)), abs=1e-9)


def test_normals_of_a_stretched_triangle_stay_at_right_angles_to_it() -> None:
    rng = np.random.default_rng(2)
    rest, now = rng.normal(size=(2, 8, 3, 3))
    normal = np.cross(rest[:, 1] - rest[:, 0], rest[:, 2] - rest[:, 0])
    turned = np.einsum("nij,nj->ni", normal_turn(rest, now), normal)
    edges = np.stack([now[:, 1] - now[:, 0], now[:, 2] - now[:, 0]], 1)
    assert np.abs(np.einsum("nkc,nc->nk", edges, turned)).max() < 1e-9


def test_a_triangle_without_area_does_no_harm() -> None:
    flat = np.zeros((1, 3, 3))
    assert np.isfinite(normal_turn(flat, flat)).all()


def test_directions_below_the_horizon_are_lifted_to_it() -> None:
    outward = np.array([[0.0, 1.0, 0.0]])
    angles = np.radians([-80, -10, 0, 1, 30, 80])
    directions = np.stack([np.cos(angles), np.sin(angles), 0 * angles], -1)[None]
    raised = lifted(directions, outward)
    assert np.linalg.norm(raised, axis=-1) == pytest.approx(1)
    assert (raised[..., 1] > 0.99 * GRAZING).all()
    assert raised[0, 4:] == pytest.approx(directions[0, 4:])
    assert (raised[0, :5, 0] > 0.8).all()  # they keep their side
