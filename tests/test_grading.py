"""Grading: known answers, and what must not change when a light and what it shines on turn together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrate_stream.lights import parse_light
from narrate_stream.ops.colour import luminance
from narrate_stream.ops.environment import environment
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.grading import (
    MAX_WARMTH,
    Grade,
    approached,
    blended,
    graded,
    rotated_sh,
    tint,
    turned_map,
)
from narrate_stream.ops.lighting import (
    PRESETS,
    Lighting,
    direction,
    map_directions,
    sh_shading,
    shade_normals,
    stage_directions,
    sun,
)

NORMALS = stage_directions(60)
ANGLES = st.floats(-360, 360)


def window(az: float) -> np.ndarray:
    """A dim room (64, 128, 3) with one warm window in that direction."""
    d, _ = map_directions(64, 128)
    return 0.1 + 6.0 * (d @ direction(az, 10) > 0.97)[..., None] * np.array([1.0, 0.8, 0.6])


def test_no_grade_is_the_same_object() -> None:
    light = parse_light("rembrandt")
    assert graded(light, Grade()) is light
    assert graded(light, Grade(0.0, 0.0, 0.0)) is light


@pytest.mark.parametrize("stops", [-2.0, 1.0])
def test_a_stop_is_twice_the_light(stops: float) -> None:
    light = environment(window(40), "room", panorama=window(40))
    brighter = graded(light, Grade(exposure=stops))
    assert shade_normals(brighter, NORMALS) == pytest.approx(
        2**stops * shade_normals(light, NORMALS), rel=1e-4, abs=1e-6
    )
    assert brighter.mirror == pytest.approx(2**stops * light.mirror, rel=1e-5)
    assert brighter.gain == pytest.approx(np.full(3, 2**stops))
    assert brighter.panorama is light.panorama  # the gain is applied where it is drawn


def test_warmth_moves_red_and_blue_and_keeps_white_as_bright() -> None:
    mireds = np.linspace(-MAX_WARMTH, MAX_WARMTH, 41)
    tints = np.stack([tint(m) for m in mireds])
    ratio = tints[:, 0] / tints[:, 2]
    assert (np.diff(ratio) > 0).all()
    assert tint(0) == pytest.approx(np.ones(3), abs=1e-6)
    assert luminance(tints) == pytest.approx(np.ones(41), abs=1e-5)
    warm = graded(Lighting("original", original=True), Grade(warmth=60)).gain
    assert warm[0] > 1 > warm[2]


@settings(max_examples=40, deadline=None)
@given(ANGLES, st.sampled_from([*PRESETS, "sun:70,-20", "room"]))
def test_light_and_normals_turned_together_leave_the_shading(turn: float, name: str) -> None:
    light = environment(window(25), "room") if name == "room" else parse_light(name)
    rotation = rotation_from_angles(turn, 0, 0)
    there = shade_normals(graded(light, Grade(turn=turn)), NORMALS @ rotation.T)
    assert there == pytest.approx(shade_normals(light, NORMALS), abs=2e-5)


@settings(max_examples=40, deadline=None)
@given(ANGLES, st.floats(-89, 89), st.floats(-180, 180))
def test_harmonics_turn_exactly(yaw: float, pitch: float, roll: float) -> None:
    sh = np.random.default_rng(1).normal(size=(9, 3))
    rotation = rotation_from_angles(yaw, pitch, roll)
    turned = rotated_sh(sh, rotation)
    assert sh_shading(turned, NORMALS @ rotation.T) == pytest.approx(sh_shading(sh, NORMALS), abs=1e-9)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(sh))
    assert rotated_sh(turned, rotation.T) == pytest.approx(sh, abs=1e-9)


def test_a_turn_goes_to_the_images_right_and_as_the_map_itself_turned() -> None:
    assert graded(sun(0, 20), Grade(turn=60)).directions[0] == pytest.approx(direction(60, 20), abs=1e-6)
    light = graded(environment(window(0), "room", 1.0), Grade(turn=90))
    again = environment(turned_map(window(0), 90), "room", 1.0)
    assert shade_normals(light, NORMALS) == pytest.approx(shade_normals(again, NORMALS), rel=0.03, abs=0.01)
    assert light.mirror == pytest.approx(again.mirror, rel=0.03, abs=0.01)


def test_a_map_turns_between_its_pixels_and_all_the_way_round() -> None:
    ramp = np.random.default_rng(0).random((4, 36, 3))
    assert turned_map(ramp, 20) == pytest.approx(np.roll(ramp, 2, 1))
    assert turned_map(ramp, 5) == pytest.approx((ramp + np.roll(ramp, 1, 1)) / 2)
    assert turned_map(ramp, -360) == pytest.approx(ramp)


def test_a_grade_is_approached_the_shorter_way_round() -> None:
    halfway = approached(Grade(0, 0, 170), Grade(2, -50, -170), 0.5)
    assert (halfway.exposure, halfway.warmth) == (1, -25)
    assert halfway.turn % 360 == pytest.approx(180)
    assert approached(Grade(), Grade(1, 2, 3), 1.0) == Grade(1, 2, 3)


# ------------------------------------------------------------------ blends


def test_a_blend_begins_with_one_light_and_ends_with_the_other() -> None:
    a, b = parse_light("rembrandt"), parse_light("neon")
    normals = np.stack([[0.0, 0, 1], [-1, 0, 0], [1, 0, 0]])
    shades = [shade_normals(blended(a, b, t), normals) for t in (0.0, 1.0)]
    assert shades[0] == pytest.approx(shade_normals(a, normals), abs=0.01)
    assert shades[1] == pytest.approx(shade_normals(b, normals), abs=1e-5)
    assert blended(a, b, 1.0) is b


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PRESETS)), st.sampled_from(sorted(PRESETS)), st.floats(0.05, 0.95))
def test_a_blend_is_nowhere_brighter_or_darker_than_both_allow(first: str, second: str, t: float) -> None:
    a, b = parse_light(first), parse_light(second)
    total = [float(x.colours.sum() + x.sh[0].sum()) for x in (a, b, blended(a, b, t))]
    assert total[2] == pytest.approx(total[0] * (1 - t) + total[1] * t, rel=0.01)


def test_a_lamp_that_is_near_moves_and_never_becomes_two() -> None:
    light = sun(-40, 10)
    for az in range(-38, 60, 2):
        light = blended(light, sun(az, 10), 0.4)
        assert len(light.directions) == 1
        assert np.linalg.norm(light.directions[0]) == pytest.approx(1)
        assert float(light.colours.max()) == pytest.approx(1)
    assert len(blended(sun(-80, 0), sun(80, 0), 0.5).directions) == 2


def test_lamps_do_not_pile_up_when_lights_are_changed_again_and_again() -> None:
    light = parse_light("rembrandt")
    names = [*PRESETS] * 6
    most = 0
    for name in names:
        light = blended(light, parse_light(name), 0.45)
        most = max(most, len(light.directions))
    assert most < 16


def test_the_portraits_own_light_keeps_its_share_of_every_blend() -> None:
    own, lamp, other = Lighting("original", original=True), sun(0, 0), sun(90, 0, 0.5)
    third = blended(own, lamp, 0.25)
    assert third.share == pytest.approx(0.75)
    assert third.colours.max() == pytest.approx(1)  # what is left is the lamp, whole
    then = blended(third, other, 0.5)
    assert then.share == pytest.approx(0.375)
    assert then.colours.sum(0) * (1 - then.share) == pytest.approx(np.full(3, 0.25 * 0.5 + 0.5 * 0.5), rel=1e-4)
    assert blended(lamp, own, 0.25).share == pytest.approx(0.25)
    assert blended(own, own, 0.3).original
