"""Cells of eyes and mouth: whole irises, eyeballs that go on behind the upper lid, mouths that fade sideways."""

from __future__ import annotations

import numpy as np
import pytest

from offline.layers import RIGHT_EYE, eye_cells, gap_from, polygon_mask

CENTRE = np.array([60.0, 60.0])


def eye(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture of one eye half covered by its lid, and its landmarks; `scale` 1: 30 pixels wide."""
    marks = np.tile(CENTRE, (478, 1))
    t = np.linspace(0, 2 * np.pi, 16, endpoint=False) + np.pi
    marks[list(RIGHT_EYE)] = CENTRE + scale * np.column_stack([15 * np.cos(t), 4 * np.sin(t)])
    marks[469:473] += scale * np.array([[6, 0], [0, -6], [-6, 0], [0, 6]])
    y, x = np.mgrid[:120, :120]
    picture = np.full((120, 120, 3), (200, 150, 120), np.uint8)
    opening = polygon_mask(marks[list(RIGHT_EYE)], (120, 120))
    picture[opening] = 230
    picture[opening & (np.hypot(x - 60, y - 60) < 6 * scale)] = (60, 40, 30)
    return picture, marks


def test_the_iris_is_a_whole_disc_whatever_the_lids_cover() -> None:
    picture, marks = eye(1.0)
    ball, iris = eye_cells(picture, marks, right=True)
    y, x = np.mgrid[: iris.alpha.shape[0], : iris.alpha.shape[1]]
    away = np.hypot(x + iris.origin[0] - 60, y + iris.origin[1] - 60)
    assert iris.alpha[away < 5].min() > 0.9
    assert iris.alpha[away > 8].max() < 0.1
    assert iris.colour[away < 5].mean() < 90
    rows = np.flatnonzero(ball.alpha.max(1) > 0.5) + ball.origin[1]
    assert 60 - rows[0] > rows[-1] - 60 + 3  # farther under the upper lid than toward the cheek


def test_tiny_eyes_have_cells_too() -> None:
    ball, iris = eye_cells(*eye(0.12), right=True)
    assert ball.alpha.max() > 0.5
    assert np.isfinite(iris.colour).all()


def test_distances_of_columns() -> None:
    assert gap_from(np.array([False, False, True, False, True, False])) == pytest.approx([2, 1, 0, 1, 0, 1])
    assert gap_from(np.zeros(3, np.bool_)) == pytest.approx([0, 0, 0])


def test_the_ball_goes_on_farther_behind_the_nose_than_behind_the_temple_and_darker() -> None:
    ball, _ = eye_cells(*eye(1.0), True)
    seen = np.flatnonzero((ball.alpha > 0.5).any(0))
    middle = CENTRE[0] - ball.origin[0]
    assert seen[-1] - middle > middle - seen[0] + 3  # the right eye's nose is on the picture's right
    row = round(CENTRE[1] - ball.origin[1])
    assert ball.colour[row, seen[-1]].mean() < 0.8 * ball.colour[row, round(middle + 12)].mean()
