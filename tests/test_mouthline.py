"""The corners of a mouth are put to where its dark line ends."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Image
from offline.headfit import HeadFit
from offline.mouthline import AROUND, REACH, moved_corners, with_whole_mouth
from offline.preprocess import Portrait

EYES = 200.0  # px
SKIN, LINE = 190, 60


@pytest.fixture(scope="module")
def marks() -> np.ndarray:
    """A frontal face of 200 px between the eyes' corners, its mouth in the middle of a 512 px picture."""
    face = canonical().landmarks[:, :2] * [1, -1]
    face = face * EYES / np.linalg.norm(face[33] - face[263])
    return np.column_stack([face - face[[61, 291]].mean(0) + 256, np.zeros(len(face))])


def drawn(marks: np.ndarray, *beyond: float) -> Image:
    """Skin with a line between the lips that ends so many eye distances outside of the landmarks' corners."""
    (left, y), (right, _) = marks[61, :2], marks[291, :2]
    picture = np.full((512, 512, 3), SKIN, np.uint8)
    ends = [(round(x * 16), round(y * 16)) for x in (left - beyond[0] * EYES, right + beyond[-1] * EYES)]
    cv2.line(picture, ends[0], ends[1], (LINE,) * 3, 5, cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(picture, (0, 0), 1.0)


@pytest.mark.parametrize("beyond", [0.02, 0.05])
def test_corners_go_to_the_end_of_the_line(marks: np.ndarray, beyond: float) -> None:
    out = moved_corners(drawn(marks, beyond), marks)
    moved = (out - marks)[:, :2] / EYES
    assert moved[[61, 291], 0] == pytest.approx([-beyond, beyond], abs=0.015)
    assert np.abs(moved[[61, 291], 1]).max() < 0.012
    assert (np.abs(moved[[78, 308], 0]) > 0.5 * beyond).all()  # the inner corners along with them
    away = np.linalg.norm(marks[:, None, :2] - marks[[61, 291], :2], axis=-1).min(1) > 3 * AROUND * EYES
    assert np.abs(moved[away]).max() < 1e-3


def test_a_line_without_an_end_is_not_the_mouths(marks: np.ndarray) -> None:
    assert moved_corners(drawn(marks, 2 * REACH), marks) == pytest.approx(marks)


def test_what_one_side_has_more_of_is_not_the_mouths(marks: np.ndarray) -> None:
    moved = (moved_corners(drawn(marks, 0.03, 0.06), marks) - marks)[[61, 291], 0] / EYES
    assert moved == pytest.approx([-0.03, 0.03], abs=0.015)
    assert moved_corners(drawn(marks, 0.0, 0.05), marks)[[61, 291]] == pytest.approx(marks[[61, 291]], abs=2.0)


def test_without_a_line_corners_stay(marks: np.ndarray) -> None:
    plain = np.full((512, 512, 3), SKIN, np.uint8)
    assert moved_corners(plain, marks) == pytest.approx(marks)
    assert moved_corners(drawn(marks, -0.02), marks)[[61, 291]] == pytest.approx(marks[[61, 291]], abs=1.5)


def test_corners_go_along_the_surface_and_the_fit_stays(marks: np.ndarray) -> None:
    """On a slope of 45 degrees a corner that goes outward goes back as far."""
    camera = Camera(1000.0, 255.5, 255.5)
    x = (np.arange(512) - 255.5) * 0.1
    z = -100.0 - np.abs(np.broadcast_to(x[None], (512, 512)))
    points = camera.unproject(marks[:, :2], -100.0 - 0.1 * np.abs(marks[:, 0] - 255.5))
    fit = HeadFit(np.eye(3), np.zeros(3), points, 0.0, np.zeros((2, 2, 3)))
    portrait = Portrait(drawn(marks, 0.05), None, marks, (0.0, 0.0, 1.0), camera, 1, False, (False,) * 4)
    moved, after = with_whole_mouth(portrait, fit, SimpleNamespace(z=z, scale=1.0))  # type: ignore[arg-type]
    assert camera.project(after.points)[:468] == pytest.approx(moved.landmarks[:468, :2], abs=1e-6)
    aside = np.abs(moved.landmarks - marks)[[61, 291], 0]
    assert aside == pytest.approx(0.05 * EYES, abs=3)
    assert (points - after.points)[[61, 291], 2] == pytest.approx(0.1 * aside, abs=0.02)
    assert np.array_equal(after.points[[1, 10, 152, 470]], points[[1, 10, 152, 470]])
