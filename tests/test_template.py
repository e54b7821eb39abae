"""The head template on the canvas: neck, hair from the matte, front depth, on a ball of a head."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array
from offline import template
from offline.headfit import HeadFit
from offline.parts import F64

FAR, RADIUS = 100.0, 10.0
ROWS, COLUMNS = 24, 48
CAMERA = Camera(400.0, 99.5, 99.5)


def ball(lowest: float = -60.0) -> F64:
    """(ROWS, COLUMNS, 3) in head space: columns from the back over the image's left."""
    elevation = np.radians(np.linspace(89.9, lowest, ROWS))[:, None]
    azimuth = np.arange(COLUMNS) * 2 * np.pi / COLUMNS - np.pi
    x, z = np.cos(elevation) * np.sin(azimuth), np.cos(elevation) * np.cos(azimuth)
    return np.asarray(RADIUS * np.stack([x, np.sin(elevation) + 0 * x, z], -1))


def ball_fit(lowest: float = -60.0) -> HeadFit:
    shift = np.array([0.0, 0.0, -FAR])
    return HeadFit(np.eye(3), shift, np.zeros((478, 3)), 0.0, ball(lowest) + shift)


def disc(radius: float, size: int = 200) -> Array:
    y, x = np.mgrid[:size, :size]
    return np.asarray((np.hypot(x - 99.5, y - 99.5) < radius) * 1.0, np.float32)


def test_outline_radius_of_a_disc_and_of_a_picture_that_ends() -> None:
    radius, cut = template.outline_radius(disc(50), np.array([99.5, 99.5]))
    assert radius == pytest.approx(np.full(template.SECTORS, 50), abs=1.5)
    assert not cut.any()
    assert template.outline_radius(np.ones((200, 200), np.float32), np.array([99.5, 99.5]))[1].all()


def test_shell_triangles_look_outward_and_facing_is_one_in_the_middle() -> None:
    shell = ball() + np.array([0.0, 0.0, -FAR])
    a, b, c = np.moveaxis(shell.reshape(-1, 3)[template.shell_triangles(ROWS, COLUMNS)], 1, 0)
    outward = (np.cross(b - a, c - a) * ((a + b + c) / 3 - [0, 0, -FAR])).sum(1)
    assert (outward > -1e-9).all()
    facing, normal = template.facing_of(shell)
    assert facing.max() > 0.98
    assert facing.min() < -0.98
    middle = (ball() / RADIUS)[2:-2]
    assert ((normal[2:-2] * middle).sum(-1) > 0.99).all()


def test_front_map_is_the_near_side_of_the_ball() -> None:
    shell = ball(-89.9) + np.array([0.0, 0.0, -FAR])
    none = np.zeros((ROWS, COLUMNS), np.bool_)
    front = template.front_map(shell, none, none, CAMERA, 200, 200)
    assert front.z[100, 100] == pytest.approx(RADIUS - FAR, abs=0.2)
    assert np.isnan(front.z[100, 145])
    assert not front.neck.any()


def test_hair_grows_to_the_matte_and_the_face_does_not() -> None:
    fit = ball_fit()
    skull = np.hypot(*np.moveaxis(CAMERA.project(fit.shell) - 99.5, -1, 0)).max()
    grown = template.with_hair(fit, fit.shell, disc(1.25 * skull), CAMERA)
    length = np.linalg.norm(grown - [0, 0, -FAR], axis=-1)
    azimuth, elevation = template.own_directions(fit, fit.shell)
    back = (np.abs(azimuth) > 120) & (elevation > 10)
    assert (length[back] > 1.08 * RADIUS).all()
    assert length[(np.abs(azimuth) < 40) & (np.abs(elevation) < 20)] == pytest.approx(RADIUS, abs=0.05)


def test_neck_is_a_tube_below_the_head_and_keeps_the_face() -> None:
    fit = ball_fit()
    neck = fit.head(template.with_neck(fit))
    assert neck.shape == (ROWS + template.NECK_ROWS, COLUMNS, 3)
    high = ball()[..., 1] > -5.5
    assert neck[:ROWS][high] == pytest.approx(ball()[high])
    last = neck[-1]
    assert last[:, 1] == pytest.approx(np.full(COLUMNS, template.NECK_END))
    across = (last[:, 0] / template.NECK_WIDE) ** 2
    along = ((last[:, 2] - template.neck_axis(last[:, 1])) / template.NECK_DEEP) ** 2
    assert across + along == pytest.approx(np.ones(COLUMNS))


def test_rest_meets_the_face_but_not_at_the_jaw() -> None:
    face = np.zeros((80, 80), np.bool_)
    face[20:50, 20:60] = True
    below = np.zeros_like(face)
    below[50:] = True
    neck = below.copy()
    front = template.FrontMap(np.full((80, 80), -95.0), neck)
    zeros, cover = np.zeros((80, 80)), np.ones((80, 80), np.float32)
    ears = template.EarBoard(zeros, zeros)
    depths = np.where(face, -93.0, 0.0)
    rest, behind = template.rest_with_template(front, zeros, face, depths, below, cover, ears, 0.1)
    assert not behind.any()
    assert rest[18, 40] == pytest.approx(-93.0, abs=0.2)
    assert rest[52, 40] == pytest.approx(-95.0)
    assert rest[0, 0] == pytest.approx(-95.0, abs=0.3)


def test_ears_lie_on_their_board_by_a_step_behind_the_cheek() -> None:
    face = np.zeros((80, 80), np.bool_)
    face[20:60, 20:60] = True
    side = np.full((80, 80), -94.0)
    side[:, 64:] = -99.0  # the template's own cheek ends a little outside the face's outline
    front = template.FrontMap(side, np.zeros_like(face))
    nothing, cover = np.zeros_like(face), np.ones((80, 80), np.float32)
    share = np.zeros((80, 80))
    share[30:50] = 1.0
    ears = template.EarBoard(np.full((80, 80), -98.0), share)
    depths = np.where(face, -93.0, 0.0)
    rest, behind = template.rest_with_template(front, np.zeros((80, 80)), face, depths, nothing, cover, ears, 0.1)
    assert behind[35:45, 62:75].all()
    assert not behind[:, :59].any()
    assert not behind[:24].any()  # it closes smoothly
    assert rest[40, 62] == pytest.approx(-98.0 - 0.3 * template.FLAT, abs=0.15)
    assert rest[40, 75] == pytest.approx(-98.0 - 1.6 * template.FLAT, abs=0.15)


def test_the_ear_board_is_a_plane_across_the_head() -> None:
    fit = ball_fit()
    camera = Camera(400.0, 39.5, 39.5)
    board = template.ear_board(fit, camera, 80, 80)
    x, y = np.meshgrid(np.arange(80.0), np.arange(80.0))
    place = fit.head(camera.unproject(np.stack([x, y], -1), board.z))
    assert place[..., 2] == pytest.approx(np.full((80, 80), template.EAR_FRONT))
    assert (board.share[(place[..., 1] > template.EAR_LOW) & (place[..., 1] < template.EAR_TOP)] > 0.99).all()
    assert not board.share[place[..., 1] > template.EAR_TOP + 3.01].any()


def test_where_the_person_ends_at_the_outline_there_is_no_ear() -> None:
    face = np.zeros((80, 80), np.bool_)
    face[:, 20:60] = True
    cover = np.ones((80, 80), np.float32)
    cover[40:, 61:] = 0
    distance, label = np.abs(np.arange(80) - 59.0) * 0.1 + np.zeros((80, 1)), np.zeros((80, 80), np.int32)
    label += np.arange(80)[:, None].astype(np.int32)
    there = template.something(cover, ~face, distance, label, 0.1)
    assert (there[:30, 70] > 0.99).all()
    assert (there[50:, 70] < 0.01).all()
