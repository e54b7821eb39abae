"""Hair as a volume, on shapes with known answers: a ridge, a wall, a spike."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops import horizon
from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lighting import direction
from offline import volume
from offline.bake import bake_horizons, horizons
from offline.geometry import Surface
from offline.materials import shining

SIZE, DISTANCE, FOCAL = 96, 60.0, 288.0  # 0.21 cm a pixel


def surface(z: np.ndarray, face: np.ndarray) -> Surface:
    """A surface of depths z alone."""
    flat = np.broadcast_to([0.0, 0.0, 1.0], (*z.shape, 3))
    nothing, centre = np.zeros_like(face), (SIZE - 1) / 2
    camera = Camera(FOCAL, centre, centre)
    unit = DISTANCE / FOCAL
    return Surface(z, flat, flat, face, camera, 1.0, -DISTANCE, z, z, nothing, z, nothing, nothing, unit)


def behind_a_ridge(hair: float, height: float) -> float:
    """How much is seen of a lamp, 15 degrees over the picture, on 4 cm behind a ridge, all of it hair or none."""
    x = (np.arange(SIZE) - SIZE / 2) * DISTANCE / FOCAL
    z = np.tile(-DISTANCE + height * np.exp(-((x / 1.5) ** 2)), (SIZE, 1))
    far = {
        "vertices": np.array([[0, 0, -900], [1, 0, -900], [0, 1, -900]], np.float64),
        "triangles": np.array([[0, 1, 2]], np.int32),
    }
    nobody = np.zeros(z.shape, np.bool_)
    share = np.full(z.shape, hair)
    planes = bake_horizons(surface(z, nobody), far, np.ones(z.shape), np.zeros((478, 3)), share)
    row = horizon.seen(planes, direction(-75, 0), 0.05)[planes.shape[1] // 2]
    after = SIZE // 2 + np.array([2.0, 6.0]) * FOCAL / DISTANCE
    first, last = (after * planes.shape[2] / SIZE).astype(int)
    return float(row[first:last].mean())


def test_light_seeps_through_a_lock_but_through_nothing_else() -> None:
    assert behind_a_ridge(0.0, 1.4) < 0.6
    assert behind_a_ridge(1.0, 1.4) > 0.97


def test_a_thick_head_of_hair_throws_a_shadow() -> None:
    assert behind_a_ridge(1.0, 6.0) < 0.3


def test_a_wall_of_hair_is_as_high_as_light_does_not_come_through() -> None:
    y, x = np.mgrid[:64, :64] * 0.25
    hair = x >= 8
    wall = np.stack([x, -y, 4.0 * hair], -1)
    thin = wall.copy()
    thin[..., 2] = volume.thinned(wall[..., 2], hair * 1.0)
    row = horizon.seen(horizons(thin, wall), direction(45, 0), 0.0)[32, :31]
    assert (row < 0.5).sum() * 0.25 == pytest.approx(4.0 - volume.THROUGH, abs=0.5)


def test_hair_is_averaged_over_hair_and_skin_left_alone() -> None:
    hair = np.zeros((80, 80))
    hair[:, 30:] = 1
    values = np.where(hair > 0, 10.0, 200.0).astype(np.float32)
    values[40, 60] = 90
    found = volume.spread(values, hair, 0.3)
    assert (found[:, :30] == 200).all()
    assert found[:, 30] == pytest.approx(10, abs=1e-3)  # none of the skin beside it
    peak = 80 / (2 * np.pi * (volume.AROUND / 0.3) ** 2)
    assert found[40, 60] - 10 == pytest.approx(peak, rel=0.05)
    assert volume.spread(np.dstack([values] * 3), hair, 0.3)[..., 1] == pytest.approx(found)


def test_hair_is_beside_the_face_and_no_skin_under_the_jaw() -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    face = np.hypot(x - 48, y - 40) < 24
    below = ~face & (y > 60)
    skin, dark = (200, 150, 120), (30, 22, 18)
    colours = np.full((SIZE, SIZE, 3), dark, np.uint8)
    colours[face | (below & (abs(x - 48) < 20))] = skin
    alpha = (x < 90).astype(np.float32)
    made = surface(np.full(face.shape, -DISTANCE), face)
    share = volume.hair_share(Surface(**{**vars(made), "below": below}), colours, alpha)
    face_and_nobody, beside = share[40, [48, 93]], share[[40, 8, 85], [10, 48, 10]]
    assert (face_and_nobody == 0).all()
    assert beside == pytest.approx(1, abs=0.1)  # at the ear, on the crown, on the shoulder
    assert share[85, 48] < 0.1  # the neck


def test_a_lock_shines_alike_and_less_deep_in_the_hair() -> None:
    hair, combed, grey = np.ones((60, 120), np.bool_), np.ones((60, 120), np.float32), np.full((60, 120), 0.2)
    combed[28:32, 18:22] = 0  # strands that cross
    grey[:, 90:] = 0.05
    found = shining(grey.astype(np.float32), combed, hair, 6.0)
    assert found[30, 20] > 0.8
    assert found[30, 50] == pytest.approx(1, abs=1e-3)
    assert found[30, 115] == pytest.approx((0.05 / 0.2) ** 2, abs=0.01)
