"""A head fitted to landmarks of the canonical face: its pose, its camera and the shell around it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera, angles_from_rotation, rotation_from_angles
from offline.headfit import (
    FARTHEST,
    MARKS,
    NEAREST,
    STRANGEST,
    USUAL,
    HeadFit,
    align,
    believed_distance,
    features,
    fit_head,
    head_stats,
    ray_frame,
    shape_components,
)

SIZE, DISTANCE = 512, 60.0
CAMERA = Camera(0.028 * SIZE * DISTANCE, (SIZE - 1) / 2, (SIZE - 1) / 2)
POSES = [(0, 0, 0), (25, 0, 0), (-25, 0, 0), (12, 10, -6), (-12, -10, 6)]


@lru_cache
def seen(pose: tuple[float, float, float], dx: float = 0.0) -> np.ndarray:
    """(478, 3) landmarks in pixels of the canonical face as the detector sees it (its flattened depth and slid outline
    are the average of the stage's), `dx` cm beside the middle."""
    face = canonical().landmarks.copy()
    face[:MARKS] += head_stats().mean.reshape(-1, 3)
    scale = CAMERA.focal / DISTANCE
    return scale * (face @ rotation_from_angles(*pose).T + [dx, 0, 0]) * [1, -1, -1] + [CAMERA.cx, CAMERA.cy, 0]


@lru_cache
def fitted(pose: tuple[float, float, float], dx: float = 0.0) -> tuple[HeadFit, Camera]:
    return fit_head(seen(pose, dx), CAMERA)


@pytest.mark.parametrize("pose", POSES)
def test_the_pose_comes_back(pose: tuple[float, float, float]) -> None:
    yaw, pitch, roll = angles_from_rotation(fitted(pose)[0].rotation)
    assert yaw == pytest.approx(pose[0], abs=4)
    assert pitch == pytest.approx(pose[1], abs=6)
    assert roll == pytest.approx(pose[2], abs=4)


@pytest.mark.parametrize("pose", POSES)
def test_every_landmark_lies_under_its_pixel(pose: tuple[float, float, float]) -> None:
    fit, camera = fitted(pose)
    assert camera.project(fit.points) == pytest.approx(seen(pose)[:, :2], abs=1e-6)


@pytest.mark.parametrize("pose", POSES)
def test_camera_and_distance_are_a_portraits(pose: tuple[float, float, float]) -> None:
    fit, camera = fitted(pose)
    assert (camera.cx, camera.cy) == (CAMERA.cx, CAMERA.cy)
    assert 0.6 < camera.focal / CAMERA.focal < 1.6
    assert 0.6 < -fit.translation[2] / DISTANCE < 1.6
    # the size of the face goes with them: eyes and chin are as far apart as they are on people
    face = fit.head(fit.points)
    assert face[263, 0] - face[33, 0] == pytest.approx(9.2, abs=1.5)
    assert np.linalg.norm(face[152] - face[168]) == pytest.approx(11.0, abs=2.5)


def test_a_head_beside_the_middle_that_looks_at_the_camera_is_turned() -> None:
    fit, _ = fitted((0, 0, 0), 12.0)
    yaw, _, roll = angles_from_rotation(fit.rotation)
    aside = np.degrees(np.arctan2(*fit.translation[[0, 2]] * [1, -1]))
    assert aside > 8
    assert yaw == pytest.approx(-aside, abs=4)
    assert abs(roll) < 4


@pytest.mark.parametrize("pose", [(0, 0, 0), (25, 0, 0)])
def test_the_shell_is_a_head_around_the_face(pose: tuple[float, float, float]) -> None:
    fit, _ = fitted(pose)
    rows, columns = head_stats().shape
    assert fit.shell.shape == (rows, columns, 3)
    head = fit.head(fit.shell)
    assert 9.5 < head[..., 1].max() < 13.5  # the crown above the eyes, cm
    assert -12.5 < head[..., 2].min() < -6  # the back of the head behind the ears
    assert head[: rows // 2, :, 0].max() == pytest.approx(-head[: rows // 2, :, 0].min(), abs=1.5)
    middle, level = columns // 2, int(np.abs(head[:, columns // 2, 1]).argmin())
    assert head[level, middle, 2] > 6  # the middle columns are the face's
    assert head[level, 0, 2] < -5  # the first the back's
    assert head[level, columns // 4, 0] < -5 < 5 < head[level, 3 * columns // 4, 0]
    assert np.abs(head[0, :, 1] - head[..., 1].max()).max() < 0.5  # the first row is the crown


def test_the_same_landmarks_give_the_same_head() -> None:
    again, camera = fit_head(seen((25, 0, 0)).copy(), CAMERA)
    first, other = fitted((25, 0, 0))
    assert camera == other
    assert (again.points == first.points).all()
    assert (again.shell == first.shell).all()


def test_an_enlarged_picture_shows_the_same_head() -> None:
    big = seen((12, 10, -6)) * 2
    fit, camera = fit_head(big, CAMERA.scaled(2))
    small, other = fitted((12, 10, -6))
    assert camera.focal == pytest.approx(2 * other.focal, rel=1e-3)
    assert fit.shell == pytest.approx(small.shell, abs=0.2)


def test_align_recovers_a_similarity() -> None:
    rotation = rotation_from_angles(20, -8, 5)
    points = 14.0 * canonical().landmarks @ rotation.T
    found = align(points * [1, -1, -1] + [200, 150, 30])
    assert found.scale == pytest.approx(14)
    assert found.rotation == pytest.approx(rotation, abs=1e-9)
    assert found.centre == pytest.approx([200, 150])
    assert np.abs(found.rest).max() < 1e-9
    assert found.rest.shape == (3 * MARKS,)


def test_what_no_head_looks_like_is_brought_back_to_the_average() -> None:
    stats = head_stats()
    unlikely = 100 * np.random.default_rng(0).normal(size=3 * MARKS)
    assert np.sqrt((shape_components(stats, stats.mean + unlikely) ** 2).mean()) == pytest.approx(STRANGEST)
    assert np.abs(shape_components(stats, stats.mean)).max() < 1e-9
    likely = stats.mean + 0.5 * stats.basis.T @ (np.ones(len(stats.basis)) / (stats.basis**2).sum(1))
    assert shape_components(stats, likely) == pytest.approx(np.full(len(stats.basis), 0.5), abs=0.05)


def test_features_of_a_frontal_average_are_the_constant() -> None:
    count = len(head_stats().basis)
    found = features(np.zeros(count), np.eye(3))
    assert found.shape == (len(head_stats().weights),)
    assert found[0] == 1
    assert not found[1:].any()
    many = features(np.ones((5, count)), np.stack([rotation_from_angles(23, 0, 0)] * 5))
    assert many.shape == (5, len(found))
    assert many[:, 1] == pytest.approx(np.ones(5))


def test_the_ray_frame_points_at_the_head() -> None:
    chance = np.random.default_rng(1)
    for direction in chance.uniform([-0.6, -0.6, -1], [0.6, 0.6, -0.5], (20, 3)):
        frame = ray_frame(direction)
        assert frame @ [0, 0, -1] == pytest.approx(direction / np.linalg.norm(direction), abs=1e-12)
        assert frame @ frame.T == pytest.approx(np.eye(3), abs=1e-12)
    assert ray_frame(np.array([0.0, 0.0, -3.0])) == pytest.approx(np.eye(3))


def test_believed_distance_is_between_what_both_say() -> None:
    assert believed_distance(60.0, 1 / 90) == pytest.approx(72.0)  # the harmonic mean
    assert believed_distance(NEAREST - 1, 1 / 90) == believed_distance(USUAL, 1 / 90)  # cropped
    assert believed_distance(1e4, 1 / 90) == believed_distance(FARTHEST, 1 / 90)


def test_shipped_statistics_fit_together() -> None:
    stats = head_stats()
    rows, columns = stats.shape
    count, points = len(stats.basis), rows * columns + MARKS
    assert stats.mean.shape == (3 * MARKS,)
    assert stats.basis.shape == (count, 3 * MARKS)
    assert stats.template.shape == (points, 3)
    assert stats.modes.shape[1:] == (points, 3)
    assert stats.weights.shape[1] == 7 + len(stats.modes) + MARKS
    # the template carries the canonical face where that face is, not below it
    face, own = canonical().landmarks[:MARKS], stats.template[-MARKS:]
    scale = np.ptp(face[:, 0]) / np.ptp(own[:, 0])
    assert np.abs(scale * own - face).mean(0) == pytest.approx([0, 0, 0], abs=0.6)
