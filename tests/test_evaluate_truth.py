"""Brute force against what can be written down: spheres, skies, the edge of a shadow, the relighter's own formulas."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from narrate_stream.errors import LightError
from narrate_stream.ops.gloss import highlight
from narrate_stream.ops.lighting import (
    BLEED,
    Lighting,
    ambient,
    direction,
    preset,
    shade_normals,
    soft_cosine,
    stage_directions,
    sun,
)
from offline.evaluate.emitters import Environment
from offline.evaluate.material import highlight_response
from offline.evaluate.rays import PosedMesh
from offline.evaluate.truth import Light, Shone, Surface, Truth, developed, light_of
from tests.toy_model import rectangle, sphere, together, toy_model

AHEAD = np.array([0.0, 0.0, 1.0])
OIL = 0.3


def mesh_of(vertices: np.ndarray, triangles: np.ndarray) -> PosedMesh:
    return PosedMesh(toy_model(vertices, triangles), vertices)


def points(positions: np.ndarray, normals: np.ndarray, away: float = 0.06) -> Surface:
    """A surface whose mesh is as smooth as its normals, seen from straight ahead."""
    n = np.broadcast_to(normals, np.shape(positions)).astype(np.float64)
    return Surface(
        np.asarray(positions, np.float64) + away * n, n, n, np.broadcast_to(AHEAD, n.shape), np.full(len(n), OIL)
    )


def ball() -> tuple[PosedMesh, Surface]:
    """A sphere, and points all over its front."""
    normals = np.array([direction(a, e) for a in range(-80, 81, 20) for e in range(-60, 61, 20)])
    return mesh_of(*sphere()), points(5 * normals + [0, 0, -60], normals)


def test_a_ball_under_a_point_lamp() -> None:
    mesh, surface = ball()
    shone = Truth(mesh, Light.of(sun(60, 20))).shone(surface)
    cosine = surface.normal @ direction(60, 20)
    wanted = soft_cosine(cosine[:, None], BLEED)
    assert shone.open_diffuse == pytest.approx(wanted, abs=1e-5)
    clear = np.abs(cosine) > 0.05
    assert shone.diffuse[clear] == pytest.approx(wanted[clear], abs=1e-5)  # it hides nothing from itself
    assert not shone.diffuse[cosine < -BLEED[0]].any()


def test_a_ball_under_an_even_sky_is_evenly_lit() -> None:
    mesh, surface = ball()
    shone = Truth(mesh, Light.of(Lighting("sky", ambient(0.6)))).shone(surface)
    assert shone.diffuse == pytest.approx(0.6, rel=0.02)
    assert shone.taken.max() < 0.02


def test_at_the_foot_of_a_wall_half_the_sky_is_gone() -> None:
    floor, wall = (
        rectangle((-50, 0, -50), (100, 0, 0), (0, 0, 100)),
        rectangle((-50, 0, -1e-3), (100, 0, 0), (0, 60, 0)),
    )
    foot = points(np.array([[0.0, 0.0, 0.02]]), np.array([0.0, 1.0, 0.0]))
    shone = Truth(mesh_of(*together(floor, wall)), Light.of(Lighting("sky", ambient(1.0))), samples=2048).shone(foot)
    assert shone.diffuse[0, 0] == pytest.approx(0.5, abs=0.02)
    assert shone.taken[0] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("softness", [0.25, 0.5])
def test_the_penumbra_of_a_half_plane(softness: float) -> None:
    """Under a straight edge at height 10 a round lamp above shows the part of its disc beyond the edge: a circular
    segment."""
    floor, roof = rectangle((-50, 0, -50), (100, 0, 0), (0, 0, 100)), rectangle((-50, 10, -50), (50, 0, 0), (0, 0, 100))
    lamp = Lighting("lamp", directions=np.array([[0.0, 1, 0]]), colours=np.ones((1, 3)), softness=np.array([softness]))
    x = np.linspace(-3, 3, 13)
    place = points(np.stack([x, 0 * x, 0 * x], -1), np.array([0.0, 1.0, 0.0]))
    shone = Truth(mesh_of(*together(floor, roof)), Light.of(lamp), samples=1024).shone(place)
    s = np.clip(x / (10 - 0.06) / (softness / 2) * np.sqrt(1 - softness**2 / 8), -1, 1)  # of the disc's radius
    wanted = (np.arccos(-s) + s * np.sqrt(1 - s * s)) / np.pi
    assert shone.diffuse[:, 0] == pytest.approx(wanted, abs=0.02)
    assert shone.open_diffuse[:, 0] == pytest.approx(1, abs=0.01)
    assert shone.diffuse[0].max() == 0
    assert (np.diff(shone.diffuse[:, 0]) > -0.01).all()


@pytest.mark.parametrize("light", ["rembrandt", "split", "clamshell", "sun:40,30"])
def test_without_anything_in_the_way_it_is_the_relighters_own_formula(light: str) -> None:
    """The material has not drifted apart. Point lamps agree to the digit; under area lamps the formulas add the
    variances of lamp and skin at the terminator, and widen the highlight's lobe, where brute force samples both."""
    mesh, surface = ball()
    shining = light_of(light, mesh.model)
    shone = Truth(mesh, shining).shone(surface)
    wanted = shade_normals(shining.lighting, surface.normal)
    hard = shining.lighting.softness.max() == 0
    assert shone.open_diffuse == pytest.approx(wanted, abs=1e-4 if hard else 0.06)
    assert shone.open_shine == pytest.approx(
        highlight(shining.lighting, surface.normal, OIL), abs=1e-4 if hard else 0.08
    )


def test_an_even_room_is_mirrored_evenly() -> None:
    mesh, surface = ball()
    shone = Truth(mesh, Light("room", Lighting("room"), (Environment(np.full((16, 32, 3), 0.5)),))).shone(surface)
    facing = surface.normal @ AHEAD > 0.5
    around = np.broadcast_to(stage_directions(8000), (len(surface.normal), 8000, 3))  # the same room as many lamps
    wanted = highlight_response(surface.normal, surface.oil, surface.viewer, around).mean((1, 2)) * 4 * 0.5
    assert shone.open_shine[facing, 0] == pytest.approx(wanted[facing], rel=0.04)
    assert (shone.shine <= shone.open_shine + 1e-9).all()


def test_a_shadow_takes_the_highlight_too() -> None:
    vertices, triangles = together(sphere(), rectangle((-20, -20, -40), (40, 0, 0), (0, 40, 0)))
    _, surface = ball()
    shone = Truth(mesh_of(vertices, triangles), Light.of(sun(0, 0))).shone(surface)
    assert shone.open_shine.max() > 0.1
    assert not shone.shine.any()
    assert not shone.diffuse.any()


def test_a_map_is_exposed_as_the_relighters(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "room.png"), (60 + 195 * rng.random((8, 16, 3)) ** 3).astype(np.uint8))
    vertices, triangles = sphere()
    light = light_of(f"{tmp_path}/room.png@90", toy_model(vertices, triangles))
    assert light.name == "room.png@90"
    shone = Truth(mesh_of(vertices, triangles), light).shone(ball()[1])
    assert shone.diffuse == pytest.approx(shade_normals(light.lighting, ball()[1].normal), rel=0.15)
    assert shone.diffuse.mean() == pytest.approx(shade_normals(light.lighting, ball()[1].normal).mean(), rel=0.03)


def test_the_portraits_own_light_is_refused() -> None:
    with pytest.raises(LightError, match="cannot be traced"):
        light_of("original", toy_model(*sphere(4)))


def test_no_points_are_no_trouble() -> None:
    mesh, surface = ball()
    assert Truth(mesh, Light.of(preset("loop"))).shone(surface[:0]).shine.shape == (0, 3)


def test_it_repeats_itself() -> None:
    mesh, surface = ball()
    one, two = (Truth(mesh, Light.of(preset("loop")), samples=64).shone(surface) for _ in range(2))
    np.testing.assert_array_equal(one.diffuse, two.diffuse)


def test_a_picture_of_it() -> None:
    shone = Shone(*np.array([[[0.5] * 3], [[0.2] * 3], [[1.0] * 3], [[0.2] * 3]]))
    dark, bright = (
        developed(np.full((1, 3), 0.4), np.ones(1), shone, np.zeros(3)),
        developed(np.full((1, 3), 0.4), np.ones(1), shone.unhidden(), np.full(3, 0.1)),
    )
    assert dark[0, 0] == pytest.approx(1.055 * 0.4 ** (1 / 2.4) - 0.055, abs=1e-4)
    assert bright[0, 0] > dark[0, 0]
    assert shone.taken[0] == pytest.approx(0.5)
