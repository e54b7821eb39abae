"""Tests of the canonical face fitted to landmarks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FACE, Misfit, eyes_apart, fit_face
from narrate_stream.ops.geometry import Camera

TURN, PLACE = np.array([0.1, -0.3, 0.05]), np.array([2.0, -1.0, -55.0])


@dataclass(frozen=True)
class CountingCamera(Camera):
    """Counts how often something is projected."""

    calls: list[int] = field(default_factory=list)

    def project(self, points: np.ndarray) -> np.ndarray:
        self.calls.append(len(points))
        return super().project(points)


def seen(camera: Camera, sigmas: np.ndarray) -> np.ndarray:
    """(478, 3) landmarks, without depth, of the canonical face with these modes, turned and placed."""
    face = canonical()
    shape = face.landmarks + np.tensordot(sigmas, np.concatenate([face.identity, face.expression]), 1)
    pixels = camera.project(shape @ Rotation.from_rotvec(TURN).as_matrix().T + PLACE)
    return np.column_stack([pixels, np.zeros(len(pixels))])


def test_the_pose_of_a_known_face_is_found_in_a_few_looks() -> None:
    camera = CountingCamera(768.0, 255.5, 255.5)
    landmarks = seen(camera, np.zeros(48))
    camera.calls.clear()
    fit = fit_face(landmarks, camera)
    assert fit.rotation == pytest.approx(Rotation.from_rotvec(TURN).as_matrix(), abs=1e-4)
    assert fit.translation == pytest.approx(PLACE, abs=0.02)
    assert fit.error < 1e-4
    assert camera.project(fit.points) == pytest.approx(landmarks[:, :2], abs=1e-6)
    assert len(camera.calls) < 60  # by differences it is hundreds, and a live driver's first frame waits for them


def test_slopes_are_those_of_the_misfit() -> None:
    face, camera = canonical(), Camera(768.0, 255.5, 255.5)
    modes = np.concatenate([face.identity[:2], face.expression[:1]])[:, :FACE]
    misfit = Misfit(seen(camera, np.zeros(48))[:FACE, :2], camera, modes, np.array([0.5, 0.5, 0.3]))
    at = np.concatenate([TURN * 1.2, PLACE + 1, [0.3, -0.2, 0.4]])
    slopes = misfit.slopes(at)
    for column, step in zip(slopes.T, 1e-5 * np.eye(len(at)), strict=True):
        assert column == pytest.approx((misfit(at + step) - misfit(at - step)) / 2e-5, abs=1e-4)


def test_another_face_is_fitted_nearer_than_the_average_one() -> None:
    camera, another = Camera(768.0, 255.5, 255.5), np.zeros(48)
    another[0] = 1.0
    average, landmarks = seen(camera, np.zeros(48)), seen(camera, another)
    away = np.sqrt(((average - landmarks)[:FACE, :2] ** 2).sum(-1).mean()) / eyes_apart(landmarks[:, :2])
    assert fit_face(landmarks, camera).error < 0.1 * away
