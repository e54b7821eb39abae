"""Cells of the eyes: irises found and whole, whites that are white, balls that go on behind the lids."""

from __future__ import annotations

import numpy as np
import pytest

from offline.eyes import LEAST_WHITE, LUMA, SKIN_NEAR, eye_cells, found_eye, possible, saturation, white_of
from offline.layers import LEFT_EYE, RIGHT_EYE, polygon_mask

CENTRE = np.array([60.0, 60.0])
SKIN, WHITE, BROWN = (200, 150, 120), (230, 226, 222), (60, 40, 30)


def eye(scale: float, at: tuple[float, float] = (0.0, 0.0), white: tuple[int, ...] = WHITE) -> tuple[np.ndarray, ...]:
    """A picture of one eye half covered by its lid, and its landmarks, which have the iris `at` px off its place;
    `scale` 1: 30 pixels wide."""
    marks = np.tile(CENTRE, (478, 1))
    t = np.linspace(0, 2 * np.pi, 16, endpoint=False) + np.pi
    for ring in (RIGHT_EYE, LEFT_EYE):
        marks[list(ring)] = CENTRE + scale * np.column_stack([15 * np.cos(t), 4 * np.sin(t)])
    for side in SKIN_NEAR:
        for above, places in zip((-9, 9), side, strict=True):
            marks[list(places)] = CENTRE + np.array([0, above * scale])
    marks[468:478] += at
    for k in (469, 474):
        marks[k : k + 4] += scale * np.array([[6, 0], [0, -6], [-6, 0], [0, 6]])
    y, x = np.mgrid[:120, :120]
    picture = np.full((120, 120, 3), SKIN, np.uint8)
    opening = polygon_mask(marks[list(RIGHT_EYE)], (120, 120))
    picture[opening] = white
    picture[opening & (np.hypot(x - 60, y - 60) < 6 * scale)] = BROWN
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


def test_an_iris_is_found_where_the_picture_has_it() -> None:
    found = found_eye(*eye(3.0, at=(2.0, -1.0)), right=True)
    assert found.centre + found.origin == pytest.approx(CENTRE, abs=0.8)
    assert found.radius == pytest.approx(18, rel=0.08)
    dark = found_eye(*eye(3.0, at=(2.0, -1.0), white=BROWN), right=True)  # nothing to be found: as the landmarks say
    assert dark.centre + dark.origin == pytest.approx(CENTRE + np.array([2, -1]))


def test_the_white_behind_the_iris_is_the_white_beside_it() -> None:
    picture, marks = eye(3.0)
    ball, _ = eye_cells(picture, marks, right=True)
    middle = ball.colour[round(60 - ball.origin[1]), round(60 - ball.origin[0])]
    assert middle == pytest.approx(WHITE, abs=25)
    assert float(saturation(middle)) < 0.08


def test_no_white_is_darker_or_more_colourful_than_whites_beside_such_skin() -> None:
    skin = np.array(SKIN, np.float32)
    assert possible(np.array(WHITE, np.float32), skin) == pytest.approx(WHITE)
    made = possible(np.array([140, 70, 50], np.float32), skin)  # of an eye with no white to be seen
    assert float(made @ LUMA) == pytest.approx(LEAST_WHITE * float(skin @ LUMA))
    assert float(saturation(made)) < 0.5 * float(saturation(skin)) + 0.03
    picture, marks = eye(1.0, white=BROWN)
    assert (white_of(picture, marks, True) @ LUMA >= 0.99 * LEAST_WHITE * float(skin @ LUMA)).all()


def test_tiny_eyes_have_cells_too() -> None:
    ball, iris = eye_cells(*eye(0.12), right=True)
    assert ball.alpha.max() > 0.5
    assert np.isfinite(iris.colour).all()
    assert np.isfinite(ball.colour).all()


def test_the_ball_goes_on_farther_behind_the_nose_than_behind_the_temple_and_darker() -> None:
    ball, _ = eye_cells(*eye(1.0), True)
    seen = np.flatnonzero((ball.alpha > 0.5).any(0))
    middle = CENTRE[0] - ball.origin[0]
    assert seen[-1] - middle > middle - seen[0] + 3  # the right eye's nose is on the picture's right
    row = round(CENTRE[1] - ball.origin[1])
    assert ball.colour[row, seen[-1]].mean() < 0.8 * ball.colour[row, round(middle + 12)].mean()
