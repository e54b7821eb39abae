"""The head's shell: its texture mirrored and filled, hair continued, and what the rest sheet leaves to it."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array
from offline import complete, sheets, shell
from offline.geometry import Surface
from offline.headfit import HeadFit
from offline.parts import grid_triangles

K, COLUMNS, ROWS = 2, 24, 12
WIDTH = (COLUMNS + 1) * K


def ball_fit() -> HeadFit:
    """A ball of a head: 24 rows from the crown down, 48 columns from the back round."""
    up = np.radians(np.linspace(88, -60, 24))[:, None]
    round_ = np.arange(48) * 2 * np.pi / 48 - np.pi
    x, z = np.cos(up) * np.sin(round_), np.cos(up) * np.cos(round_)
    shell = 10 * np.stack([x, np.sin(up) + 0 * x, z], -1) + [0.0, -1.0, -100.0]
    return HeadFit(np.eye(3), np.array([0.0, 0.0, -100.0]), np.zeros((478, 3)), 0.0, shell)


def symmetric() -> Array:
    """(h, w, 3) a texture that is the same on both halves of the head."""
    column = (np.arange(WIDTH) - (K - 1) / 2) % (COLUMNS * K)
    wave = 0.5 + 0.4 * np.cos(2 * np.pi * column / (COLUMNS * K))
    rows = np.linspace(0.2, 1, ROWS * K)[:, None]
    return np.repeat((rows * wave)[..., None], 3, -1).astype(np.float32)


def test_mirror_of_a_symmetric_texture_is_itself() -> None:
    assert complete.mirrored(symmetric(), K)[:, : COLUMNS * K] == pytest.approx(symmetric()[:, : COLUMNS * K], abs=1e-5)


def test_one_seen_half_gives_both_and_the_marks_say_so() -> None:
    full = symmetric()
    weight = np.zeros(full.shape[:2], np.float32)
    weight[:, 2 : COLUMNS * K // 2] = 1
    made, origin = complete.completed(full * weight[..., None], weight, K)
    for mark in (complete.SEEN, complete.MIRRORED):
        there = origin == mark
        assert there.any()
        assert made[there] == pytest.approx(full[there], abs=1e-3)
    assert (origin[:, 2 : COLUMNS * K // 2] == complete.SEEN).all()


def test_nothing_seen_twice_is_filled_with_what_is_near() -> None:
    weight = np.zeros((ROWS * K, WIDTH), np.float32)
    weight[:4] = 1
    made, origin = complete.completed(np.full((ROWS * K, WIDTH, 3), 0.3, np.float32), weight, K)
    assert made == pytest.approx(np.full_like(made, 0.3), abs=1e-3)
    assert (origin[8:] == complete.FILLED).all()


def test_origin_shares_add_up() -> None:
    origin = np.array([[complete.SEEN, complete.MIRRORED], [complete.FILLED, complete.FILLED]], np.uint8)
    blank = np.zeros((2, 2))
    colour = np.zeros((2, 2, 3))
    paint = complete.ShellPaint(colour, colour, blank, np.zeros((2, 2, 2)), origin, colour, blank, colour)
    assert complete.origin_shares(paint) == {"seen": 0.25, "mirrored": 0.25, "filled": 0.5}


def test_enlarged_repeats_the_first_column_at_the_seam() -> None:
    values = np.random.default_rng(0).random((ROWS, COLUMNS, 3))
    big = complete.enlarged(values, 1)
    assert big.shape == (ROWS, COLUMNS + 1, 3)
    assert big[:, :-1] == pytest.approx(values, abs=1e-6)
    assert big[:, -1] == pytest.approx(values[:, 0], abs=1e-6)


def test_scalp_is_above_and_behind_not_the_face() -> None:
    azimuth, elevation = np.array([0.0, 0.0, 180.0, 180.0]), np.array([0.0, 80.0, 0.0, -80.0])
    assert complete.scalp_share(azimuth, elevation) == pytest.approx([0, 1, 1, 0])


def test_torn_corners_share_one_copy_at_the_depth_outside() -> None:
    triangles = grid_triangles(4, 3, np.ones(12, np.bool_))
    z = np.tile([-90.0, -90.0, -97.0, -97.0], 3)
    face = np.tile([True, True, False, False], 3)
    copied, deep, mended = sheets.split_tears(triangles, z, face, face, np.zeros(12, np.bool_))
    assert copied.tolist() == [1, 5, 9]
    assert deep == pytest.approx([-97.0] * 3)
    every = np.concatenate([z, deep])
    assert np.ptp(every[mended], axis=1).max() < 1e-9
    assert len(mended) == len(triangles)


def test_what_is_stepped_is_torn_however_small_the_step() -> None:
    triangles = grid_triangles(4, 3, np.ones(12, np.bool_))
    z = np.tile([-90.0, -90.0, -91.0, -91.0], 3)
    face = np.tile([True, True, False, False], 3)
    none = np.zeros(12, np.bool_)
    assert len(sheets.split_tears(triangles, z, face, none, none)[0]) == 0
    assert sheets.split_tears(triangles, z, face, none, ~face)[0].tolist() == [1, 5, 9]


def test_a_grid_vertex_beside_the_picture_takes_its_neighbours_depth() -> None:
    z = np.arange(12.0)
    known, empty = np.zeros(12, np.bool_), np.zeros(12, np.bool_)
    known[[4, 8]], empty[[5, 11]] = True, True
    found = sheets.beside(z, known, empty, (3, 4))
    assert found[5] == pytest.approx(6.0)
    assert np.delete(found, 5) == pytest.approx(np.delete(z, 5))


def test_a_cheek_before_the_background_is_told_from_a_jaw_before_the_neck() -> None:
    face = np.zeros((60, 60), np.bool_)
    face[10:40, 15:45] = True
    cover = np.zeros((60, 60), np.float32)
    cover[10:60, 15:45] = 1
    bare = sheets.beside_nothing(face, cover)
    assert bare[20, 16]
    assert bare[20, 43]
    assert not bare[38, 30]


def round_face() -> Surface:
    """A face of 20 map pixels' radius, a millimetre each, that falls away from z -90 to -92 at its outline."""
    y, x = np.mgrid[:60, :60] - 30.0
    r = np.hypot(x, y)
    face, z = r < 20, -90 - 2 * np.minimum(r / 20, 1) ** 4
    none = np.zeros((60, 60, 3))
    camera = Camera(900.0, 30.0, 30.0)
    return Surface(z, none, none, face, camera, 1.0, -95.0, z, np.where(face, z, -92.0), ~face, none, face, ~face, 0.1)


def test_the_sheet_begins_as_deep_as_the_rim_within_a_cell_of_it() -> None:
    solid = round_face()
    deep = sheets.brink(solid, 4.0)
    assert deep[30, 30] == pytest.approx(-90, abs=0.02)
    assert deep[30, 12] == pytest.approx(solid.z[solid.face].min(), abs=0.15)
    assert (deep <= solid.z + 1e-9).all()


def test_the_shell_stays_inside_the_wall_behind_the_outline() -> None:
    solid = round_face()
    outside = shell.outside_face(solid)
    assert outside[30, 30] == pytest.approx(-2.0, abs=0.15)
    assert outside[30, 58] == pytest.approx(0.8, abs=0.15)
    at = np.array([[[0.0, 0, -93], [1.9, 0, -93], [1.9, 0, -92 - shell.WALL_DEEP - 0.5]]])
    assert shell.before_wall(outside, solid, solid.camera, at, 0.0).tolist() == [[False, True, False]]
    assert not shell.before_wall(outside, solid, solid.camera, at, 1.0).any()


def test_the_shell_narrows_at_the_ears_without_a_step() -> None:
    azimuth = np.linspace(0, 180, 721)
    share = shell.beside_ears(azimuth, 0 * azimuth)
    assert share[azimuth == shell.EAR_AT] == 1
    assert share[[0, -1]].tolist() == [0, 0]
    assert np.abs(np.diff(share)).max() < 0.03


def test_a_point_of_the_shell_finds_its_own_texel_and_one_between_two_lies_between() -> None:
    fit = ball_fit()
    rows, columns = fit.shell.shape[:2]
    k = shell.texels(fit.shell, 400)
    own = shell.texture_at(fit, fit.shell, 400, (10, 20), fit.shell[5:7, 7])
    assert own[0] == pytest.approx([10 + 7 * k + (k - 1) / 2, 20 + 5 * k + (k - 1) / 2, 8.0], abs=0.2)
    assert own[1, 1] - own[0, 1] == pytest.approx(k, abs=0.2)
    seam = shell.texture_at(fit, fit.shell, 400, (10, 20), fit.shell[rows // 2, [0, columns - 1]].mean(0)[None])
    assert seam[0, 0] == pytest.approx(10 - k / 2 + (k - 1) / 2, abs=0.3) or seam[0, 0] > 10 + (columns - 1) * k


def test_what_the_light_missed_is_carried_beyond_what_was_seen() -> None:
    lit = np.full((16, 36, 3), 0.2)
    photo = np.full((16, 36, 3), 0.1, np.float32)
    known = np.zeros((16, 36))
    known[:, :18] = 1
    gain = complete.brightness(photo, lit, known)
    assert gain == pytest.approx(np.full_like(gain, 0.104 / 0.204), abs=0.02)
    assert complete.brightness(photo * 0, lit, known) == pytest.approx(np.full_like(gain, complete.BRIGHTER[0]))
