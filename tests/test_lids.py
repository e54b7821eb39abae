"""The skin of a shut lid: the lit skin around the eye where the photograph has shade, folds or frames of glasses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from narrate_stream.lids import LID, OPENING, reached, shut_lid
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.colour import linear_table
from narrate_stream.types import Image

SKIN = (190, 150, 130)


def shut(picture: Image, marks: np.ndarray, unit: float) -> np.ndarray:
    """(h, w, 3) the picture's linear light with a shut lid."""
    light = linear_table()[picture]
    box, brighter = shut_lid(picture, marks, unit)
    light[box] *= 1 + brighter
    return light


def test_what_comes_down_is_coloured_as_the_skin_around_and_lashes_stay() -> None:
    unit = 60.0
    marks = canonical().landmarks[:468, :2] * [unit, -unit] + 600
    even = np.full((1200, 1200, 3), SKIN, np.uint8)
    assert shut(even, marks, unit) == pytest.approx(linear_table()[even], abs=1e-4)
    shaded = even.copy()
    socket = marks[list(LID)]
    cv2.fillPoly(shaded, [(socket + (socket - socket.mean(0)) * 0.3).round().astype(np.int32)], (40, 32, 29))
    cv2.fillPoly(shaded, [marks[list(OPENING)].round().astype(np.int32)], (240, 240, 240))
    found = shut(shaded, marks, unit)
    fold = marks[[27, 223]].mean(0).round().astype(int)
    assert found[fold[1], fold[0]] == pytest.approx(linear_table()[even[0, 0]], rel=0.1)
    x, y = marks[159].round().astype(int)
    assert found[y, x] == pytest.approx(linear_table()[shaded[y, x]])  # the edge, with its lashes
    below = marks[145].round().astype(int)
    assert found[below[1] + 2, below[0]] == pytest.approx(linear_table()[shaded[below[1] + 2, below[0]]], rel=0.02)


def test_black_is_no_colour_that_gets_brighter() -> None:
    """A speck that would have to get a thousand times brighter stays as it is, and its surroundings lead there."""
    times = np.full((41, 41), 2.0, np.float32)
    times[20, 20] = 1000
    held = reached(times, 50.0)
    assert held[20, 20] < 0.1
    assert held[20, :10] == pytest.approx(1)
    assert (np.diff(held[20, 20:]) >= 0).all()
