"""Rotations and cameras: round trips, and the contract's signs as a person would see them."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.geometry import (
    Camera,
    angles_from_rotation,
    partial_rotations,
    quaternion_from_rotation,
    rotation_from_angles,
    similarity,
)

CAMERA = Camera(700.0, 255.5, 260.0)
NOSE, EAR_RIGHT, CROWN = np.array([0.0, 0.0, 10.0]), np.array([7.0, 0.0, 0.0]), np.array([0.0, 10.0, 0.0])


def seen(point: np.ndarray, *angles: float) -> np.ndarray:
    """Where a point of the head lies in the picture, relative to the middle."""
    return CAMERA.project(rotation_from_angles(*angles) @ point + [0, 0, -60]) - CAMERA.project(
        np.array([0.0, 0.0, -60.0])
    )


def test_yaw_moves_the_nose_to_the_images_right() -> None:
    assert seen(NOSE, 20, 0, 0)[0] > 30
    assert seen(NOSE, -20, 0, 0)[0] < -30


def test_pitch_lifts_the_nose_and_roll_is_clockwise() -> None:
    assert seen(NOSE, 0, 20, 0)[1] < -30  # pixels count downward
    assert seen(CROWN, 0, 0, 20)[0] > 30  # the crown tips to the image's right: clockwise as seen
    assert seen(EAR_RIGHT, 0, 0, 20)[1] > 20


@pytest.mark.parametrize("seed", range(5))
def test_angles_round_trip(seed: int) -> None:
    chance = np.random.default_rng(seed)
    for _ in range(50):
        angles = chance.uniform([-179, -88, -179], [179, 88, 179])
        rotation = rotation_from_angles(*angles)
        assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        assert angles_from_rotation(rotation) == pytest.approx(angles, abs=1e-6)


def test_angles_of_a_batch() -> None:
    many = np.stack([rotation_from_angles(10, 5, -3), rotation_from_angles(-40, 0, 12)])
    assert angles_from_rotation(many) == pytest.approx(np.array([[10, 5, -3], [-40, 0, 12]]), abs=1e-9)


def test_partial_rotations_share_the_axis() -> None:
    whole = rotation_from_angles(30, 12, -8)
    none, half, full = partial_rotations(whole, np.array([0.0, 0.5, 1.0]))
    assert none == pytest.approx(np.eye(3), abs=1e-12)
    assert full == pytest.approx(whole, abs=1e-12)
    assert half @ half == pytest.approx(whole, abs=1e-12)


def test_quaternion_is_unit_and_turns_the_same_way() -> None:
    w, x, y, z = quaternion_from_rotation(rotation_from_angles(90, 0, 0))
    assert [w, x, y, z] == pytest.approx([np.sqrt(0.5), 0, np.sqrt(0.5), 0], abs=1e-9)


def test_camera_projects_up_as_up() -> None:
    assert CAMERA.project(np.array([0.0, 0.0, -50.0])) == pytest.approx([255.5, 260.0])
    x, y = CAMERA.project(np.array([5.0, 5.0, -50.0]))
    assert x == pytest.approx(255.5 + 70)
    assert y == pytest.approx(260 - 70)


def test_unproject_is_the_inverse_of_project() -> None:
    points = np.random.default_rng(0).uniform([-20, -20, -90], [20, 20, -30], (40, 3))
    assert CAMERA.unproject(CAMERA.project(points), points[:, 2]) == pytest.approx(points)


def test_a_scaled_camera_sees_scaled_pixels() -> None:
    points = np.random.default_rng(1).uniform([-20, -20, -90], [20, 20, -30], (40, 3))
    assert CAMERA.scaled(0.5, 3, -4).project(points) == pytest.approx(CAMERA.project(points) * 0.5 + [3, -4])


def test_similarity_finds_what_was_done() -> None:
    chance = np.random.default_rng(2)
    source = chance.normal(size=(30, 3))
    rotation, shift = rotation_from_angles(25, -14, 33), np.array([1.0, -2, 3])
    target = 1.7 * source @ rotation.T + shift
    target[0] += 50  # an outlier that has no weight
    weight = np.ones(30)
    weight[0] = 0
    scale, found, t = similarity(source, target, weight)
    assert scale == pytest.approx(1.7)
    assert found == pytest.approx(rotation)
    assert t == pytest.approx(shift)
    mirrored = similarity(source, source * [-1, 1, 1])[1]
    assert np.linalg.det(mirrored) == pytest.approx(1)  # a rotation, never a mirror image
