"""The corners of a mouth are put to where its dark line ends."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from narrate_stream.types import Image
from offline.mouthline import AROUND, REACH, with_whole_mouth

EYES = 200.0  # px
SKIN, LINE = 190, 60


@pytest.fixture(scope="module")
def marks() -> np.ndarray:
    """A frontal face of 200 px between the eyes' corners, its mouth in the middle of a 512 px picture."""
    face = canonical().landmarks[:, :2] * [1, -1]
    face = face * EYES / np.linalg.norm(face[33] - face[263])
    return np.column_stack([face - face[[61, 291]].mean(0) + 256, np.zeros(len(face))])


def drawn(marks: np.ndarray, beyond: float) -> Image:
    """Skin with a line between the lips that ends `beyond` eye distances outside of the landmarks' corners."""
    (left, y), (right, _) = marks[61, :2], marks[291, :2]
    picture = np.full((512, 512, 3), SKIN, np.uint8)
    ends = [(round(x * 16), round(y * 16)) for x in (left - beyond * EYES, right + beyond * EYES)]
    cv2.line(picture, ends[0], ends[1], (LINE,) * 3, 5, cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(picture, (0, 0), 1.0)


@pytest.mark.parametrize("beyond", [0.02, 0.05])
def test_corners_go_to_the_end_of_the_line(marks: np.ndarray, beyond: float) -> None:
    out = with_whole_mouth(drawn(marks, beyond), marks)
    moved = (out - marks)[:, :2] / EYES
    assert moved[[61, 291], 0] == pytest.approx([-beyond, beyond], abs=0.015)
    assert np.abs(moved[[61, 291], 1]).max() < 0.012
    assert (np.abs(moved[[78, 308], 0]) > 0.5 * beyond).all()  # the inner corners along with them
    away = np.linalg.norm(marks[:, None, :2] - marks[[61, 291], :2], axis=-1).min(1) > 3 * AROUND * EYES
    assert np.abs(moved[away]).max() < 1e-3


def test_a_line_leads_only_so_far(marks: np.ndarray) -> None:
    moved = (with_whole_mouth(drawn(marks, 0.4), marks) - marks)[61, :2] / EYES
    assert np.hypot(*moved) == pytest.approx(REACH, abs=0.01)


def test_without_a_line_corners_stay(marks: np.ndarray) -> None:
    plain = np.full((512, 512, 3), SKIN, np.uint8)
    assert with_whole_mouth(plain, marks) == pytest.approx(marks)
    assert with_whole_mouth(drawn(marks, -0.02), marks)[[61, 291]] == pytest.approx(marks[[61, 291]], abs=1.5)
