"""The networks' view of a face: level, at one size, and back again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera
from offline.window import FACE_CM, SIDE, TRAINED_SPAN, face_window

CAMERA = Camera(900.0, 255.5, 300.0)


def posed(roll: float, distance: float = 60.0) -> FaceFit:
    """The average face, rolled about the viewing axis (degrees, counterclockwise with y up)."""
    rotation = Rotation.from_euler("z", roll, degrees=True).as_matrix()
    at = np.array([1.0, 2.0, -distance])
    return FaceFit(rotation, at, canonical().landmarks @ rotation.T + at, 0.0)


@pytest.mark.parametrize("roll", [-30.0, 0.0, 18.0])
def test_eyes_are_level_and_the_face_has_the_stages_size(roll: float) -> None:
    fit = posed(roll)
    window = face_window(fit, CAMERA)
    pixels = CAMERA.project(fit.points[:468]) @ window.to_window[:, :2].T + window.to_window[:, 2]
    assert pixels[33, 1] == pytest.approx(pixels[263, 1], abs=0.5)
    assert pixels[33, 0] < pixels[263, 0]
    assert np.ptp(pixels[:, 1]) == pytest.approx(
        SIDE / TRAINED_SPAN * np.ptp(canonical().landmarks[:, 1]) / FACE_CM, rel=0.1
    )
    assert np.abs((pixels.min(0) + pixels.max(0)) / 2 - (SIDE - 1) / 2).max() < 12
    np.testing.assert_allclose(window.camera.project(window.fit.points[:468]), pixels, atol=1e-6)


def test_normals_turn_with_the_picture_and_back() -> None:
    fit = posed(25.0)
    window = face_window(fit, CAMERA)
    up = fit.rotation[:, 1]  # the head's own up, in the canvas' camera space
    np.testing.assert_allclose(window.turn @ up, [0, 1, 0], atol=1e-6)
    there = np.tile(np.float32([0, 0.6, 0.8]), (SIDE, SIDE, 1))
    back = window.normals_back(there, (512, 600))
    x, y = CAMERA.project(fit.points[[4]])[0].astype(int)
    np.testing.assert_allclose(back[y, x], fit.rotation @ [0, 0.6, 0.8], atol=1e-4)
    assert np.linalg.norm(back[0, 511]) == 0  # beyond the window there is nothing


def test_a_smooth_map_comes_back_as_it_was() -> None:
    y, x = np.mgrid[:600, :512].astype(np.float32)
    picture = np.sin(x / 60) + np.cos(y / 70)
    window = face_window(posed(10.0), CAMERA)
    there = window.cut(picture)
    back = window.back(there, (512, 600), beyond=np.nan)
    inside = cv2.warpAffine(np.ones((SIDE, SIDE), np.float32), window.to_window, (512, 600), flags=cv2.WARP_INVERSE_MAP)
    inside = cv2.erode((inside > 0.999).astype(np.uint8), np.ones((25, 25))) > 0
    assert inside.sum() > 20000
    assert np.abs(back - picture)[inside].max() < 0.02


def test_zoom_and_shift_move_the_face_in_the_window() -> None:
    fit = posed(0.0)
    plain, moved = face_window(fit, CAMERA), face_window(fit, CAMERA, zoom=1.1, shift=(5, -3))
    nose = CAMERA.project(fit.points[[4]])[0]
    a, b = (w.to_window[:, :2] @ nose + w.to_window[:, 2] for w in (plain, moved))
    middle = (SIDE - 1) / 2
    np.testing.assert_allclose(b, (a - middle) * 1.1 + middle + [5, -3], atol=1e-6)
