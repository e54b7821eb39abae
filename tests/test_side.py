"""The cheek's side: a texture that goes round the outline, begins as the cheek and ends as what lies behind."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from offline import side
from offline.facemesh import face_topology
from offline.outline import outward

PER_CM = 10.0


def brim() -> side.Brim:
    """The canonical face, ten pixels to the centimetre, in a picture of 240 x 240."""
    points = np.asarray(face_topology().smooth @ canonical().landmarks[:468])
    pixels = points[:, :2] * [PER_CM, -PER_CM] + 120.0
    return side.Brim(pixels, outward(pixels) * PER_CM)


def test_the_loop_goes_once_round_from_the_forehead() -> None:
    order, along = side.loop()
    assert order[0] == order[-1]
    assert sorted(order[:-1].tolist()) == np.flatnonzero(face_topology().rim).tolist()
    assert (np.diff(along) > 0).all()
    height = (face_topology().smooth @ canonical().landmarks[:468])[order, 1]
    assert height.argmax() in (0, 1, len(order) - 2, len(order) - 1)
    middle = along[np.flatnonzero(order == 152)[0]] / along[-1]
    assert middle == pytest.approx(0.5, abs=0.03)  # the chin is half way


def test_a_vertex_finds_its_column_and_depth_its_row() -> None:
    cell = side.side_cell(400)
    assert cell.alpha.shape == (side.ROWS, 392)
    at = side.places(np.full(len(brim().pixels), side.BACK / 2), cell, (10, 20))
    assert at[152] == pytest.approx([10 + 391 / 2, 20 + (side.ROWS - 1) / 2], abs=12)
    far = side.places(np.full(len(brim().pixels), 99.0), cell, (10, 20))
    assert far[152, 1] == 20 + side.ROWS - 1


def plain(value: float) -> np.ndarray:
    return np.full((240, 240, 6), value, np.float32)


def test_an_even_cheek_goes_on_evenly_and_becomes_the_shell() -> None:
    shape = (side.ROWS, 300)
    shell = np.full((*shape, 6), 0.1, np.float32)
    colour, lit = side.side_colours(plain(0.4), brim(), shell, np.zeros(300), np.ones(shape))
    assert colour[0] == pytest.approx(np.full((300, 3), 0.4), abs=0.01)
    assert colour[-1] == pytest.approx(np.full((300, 3), 0.1), abs=0.01)
    assert lit == pytest.approx(colour, abs=0.01)
    hair = side.side_colours(plain(0.4), brim(), shell, np.ones(300), np.ones(shape))[0]
    assert hair[side.ROWS // 6].mean() < colour[side.ROWS // 6].mean() - 0.1


def test_a_line_across_the_outline_does_not_go_on_as_a_stripe() -> None:
    picture = plain(0.4)
    picture[118:121] = 0.05  # an arm of glasses
    shape = (side.ROWS, 300)
    colour = side.side_colours(picture, brim(), np.full((*shape, 6), 0.4, np.float32), np.zeros(300), np.ones(shape))[0]
    contrast = [float(np.ptp(colour[row].mean(-1))) for row in (0, side.ROWS // 3)]
    assert contrast[0] > 0.2
    assert contrast[1] < 0.5 * contrast[0]


def test_skin_beside_the_outline_is_taken_for_the_ear_and_hair_comes_sooner() -> None:
    picture = plain(0.4)
    shell = np.full((side.ROWS, 300, 3), 0.1, np.float32)
    none, all_ = np.zeros(len(brim().pixels)), np.ones(len(brim().pixels))
    behind, soon = side.what_follows(picture, brim(), none, none, shell)
    assert behind == pytest.approx(np.full((side.ROWS, 300, 6), 0.1), abs=1e-4)  # in the light that is on the cheek
    assert not soon.any()
    skin, soon = side.what_follows(picture, brim(), all_, none, shell)
    assert skin == pytest.approx(np.full_like(skin, 0.4), abs=1e-4)
    assert soon[150] > 0.9  # under the chin
    assert soon[75] < 0.1  # at the cheek
    assert side.what_follows(picture, brim(), none, all_, shell)[1] == pytest.approx(np.ones(300))


def test_the_side_faces_aside() -> None:
    inside = np.tile([0.0, 0.0, 1.0], (4, 1))
    made = side.side_normals(inside, np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 32)
    assert made[0] == pytest.approx(inside)
    assert made[-1, 0, 0] > 0.9
    assert made[-1, 1, 0] < -0.9
    assert made[-1, 2, 1] < -0.9  # the picture's y is down
    assert made[-1, 3, 1] > 0.9
