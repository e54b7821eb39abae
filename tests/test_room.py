"""The driver's room: found on its side, still while the head turns, slow to change, and cheap between looks."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from narrate_stream.drivers.mesh import neutral_motion
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.colour import srgb_from_linear
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.ops.lighting import Lighting, ambient, direction, dominant, shade_normals, sun
from narrate_stream.room import EVERY, NOT_SKIN, SPOTS, TURNS, Room, apart, between, face_normals, one_lamp, skin, spots
from narrate_stream.types import Image, Motion

STEP = 1 / 30
CAMERA = Camera(400, 119.5, 119.5)
FACE = canonical().landmarks
SKIN = np.array([0.42, 0.26, 0.18])


def seen(light: Lighting, yaw: float = 0.0) -> tuple[Image, Motion]:
    """The canonical face in a light, its triangles painted one by one, and the motion that a driver would report."""
    turn = rotation_from_angles(yaw, 0, 0)
    points = FACE @ turn.T + [0, 2, -60]
    pixels = CAMERA.project(points)
    shade = shade_normals(light, face_normals(points[:468])[canonical().triangles].mean(1)) * SKIN
    colours = np.asarray(srgb_from_linear(shade) * 255 + 0.5, np.uint8)
    image = np.full((240, 240, 3), 90, np.uint8)
    for t in np.argsort(points[canonical().triangles, 2].mean(1)):
        corners = np.round(pixels[canonical().triangles[t]] * 16).astype(np.int32)
        cv2.fillConvexPoly(image, corners, colours[t].tolist(), shift=4)
    motion = replace(
        neutral_motion(), rotation=turn.astype(np.float32), pixels=pixels.astype(np.float32), size=(240, 240)
    )
    return image, motion


def window(az: float) -> Lighting:
    return replace(sun(az, 20), sh=ambient(0.15), softness=np.full(1, 0.3, np.float32))


def settled(room: Room, frames: list[tuple[Image, Motion]], count: int) -> Lighting:
    """The room after `count` frames of these, again and again."""
    for i in range(count):
        light = room(*frames[i % len(frames)], STEP)
    assert light is not None
    return light


@pytest.mark.parametrize("az", [-60, 50])
def test_a_window_is_found_on_its_side_at_once(az: float) -> None:
    light = settled(Room(), [seen(window(az))], 1)
    assert direction(*dominant(light)) @ direction(az, 20) > np.cos(np.radians(12))


def test_a_turning_head_does_not_turn_the_room() -> None:
    room, turning = Room(), [seen(window(-50), 25 * np.sin(2 * np.pi * i / 30)) for i in range(0, 30, 2)]
    settled(room, turning, 30)
    azimuths = [dominant(settled(room, turning[i:] + turning[:i], 1))[0] for i in range(15)]
    assert np.ptp(azimuths) < 4
    assert np.mean(azimuths) == pytest.approx(-50, abs=10)


def test_a_lamp_that_moves_is_followed_and_does_not_jump() -> None:
    room = Room()
    settled(room, [seen(window(-50))], 30)
    other, azimuths = [seen(window(50))], []
    for _ in range(80):
        azimuths.append(dominant(settled(room, other, EVERY))[0])
    assert azimuths[0] < -20
    assert azimuths[-1] == pytest.approx(50, abs=15)
    assert np.abs(np.diff(azimuths)).max() < 45


def test_a_room_that_stands_still_is_the_same_light() -> None:
    room, frame = Room(), [seen(window(30))]
    before = settled(room, frame, 3 * EVERY * TURNS)
    assert all(settled(room, frame, 1) is before for _ in range(EVERY * 4))


def test_no_skin_no_light_and_a_light_outlives_it() -> None:
    room, dark = Room(), seen(window(0))
    white = np.full_like(dark[0], 255)
    assert room(white, dark[1], STEP) is None
    light = room(*dark, STEP)
    assert light is not None
    for _ in range(2 * EVERY * TURNS):
        last = room(white, dark[1], STEP)
    assert last is not None


def test_spots_lie_on_skin_all_over_the_face_and_in_every_part_of_them() -> None:
    where = spots()
    assert where.corners.shape == where.shares.shape == (SPOTS, 3)
    assert where.shares.sum(1) == pytest.approx(np.ones(SPOTS))
    assert not np.isin(where.corners, NOT_SKIN).any()
    at = (FACE[where.corners] * where.shares[..., None]).sum(1)
    for part in range(TURNS):
        assert at[part::TURNS, 0].min() < -1 < 1 < at[part::TURNS, 0].max()


def test_colours_are_read_where_the_spots_are() -> None:
    image, motion = seen(Lighting("", ambient(0.8)))
    level, normal = skin(image, motion, slice(None))
    assert len(level) > 0.8 * SPOTS
    assert np.median(level, 0) == pytest.approx(0.8 * SKIN, rel=0.05)
    assert np.linalg.norm(normal, axis=1) == pytest.approx(np.ones(len(normal)))
    assert normal[:, 2].min() > 0


def test_lights_mix_evenly_and_a_room_without_a_lamp_has_a_dark_one() -> None:
    a, b = one_lamp(window(-40)), one_lamp(Lighting("", ambient(0.6)))
    assert not b.colours.any()
    half = between(a, b, 0.5)
    assert half.colours == pytest.approx(a.colours / 2)
    assert half.directions == pytest.approx(a.directions, abs=1e-4)
    assert half.sh == pytest.approx((a.sh + b.sh) / 2)
    assert apart(a, a) == 0
    assert apart(a, half) > 0.1
