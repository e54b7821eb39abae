"""The light that is on: eased, soon visible, and the same object while nothing changes."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.dimmer import SETTLED, Dimmer
from narrate_stream.lights import parse_light
from narrate_stream.ops.grading import Grade, graded
from narrate_stream.ops.lighting import Lighting, shade_normals, stage_directions, sun

NORMALS = stage_directions(40)
STEP = 1 / 30


def shading(light: Lighting) -> np.ndarray:
    return shade_normals(light, NORMALS)


def test_nothing_changes_while_nothing_is_changed() -> None:
    dimmer = Dimmer(parse_light("loop"))
    assert len({id(dimmer(STEP)) for _ in range(5)}) == 1
    dimmer.set_grade(Grade(1.0))
    for _ in range(20):
        last = dimmer(STEP)
    assert all(dimmer(STEP) is last for _ in range(5))
    assert shading(last) == pytest.approx(2 * shading(parse_light("loop")), rel=1e-4)


@pytest.mark.parametrize("grade", [Grade(-2), Grade(0, 80), Grade(0, 0, 120), Grade(1, -50, -30)])
def test_a_grade_shows_within_two_frames_and_never_overshoots(grade: Grade) -> None:
    light = parse_light("rembrandt")
    dimmer, end = Dimmer(light), shading(graded(light, grade))
    left = [float(np.abs(shading(dimmer(STEP)) - end).max())]
    whole = left[0]
    dimmer.set_grade(grade)
    left += [float(np.abs(shading(dimmer(STEP)) - end).max()) for _ in range(15)]
    assert left[2] < 0.75 * whole
    assert (np.diff(left) <= 1e-9).all()
    assert left[-1] == 0


def test_a_light_shows_within_two_frames_and_arrives() -> None:
    a, b = parse_light("flat"), parse_light("split")
    dimmer = Dimmer(a)
    dimmer(STEP)
    dimmer.set_light(b)
    shown = [shading(dimmer(STEP)) for _ in range(1 + int(SETTLED / STEP) + 1)]
    whole = np.abs(shading(a) - shading(b)).max()
    assert np.abs(shown[1] - shading(a)).max() > 0.5 * whole
    steps = [np.abs(x - y).max() for x, y in zip([shading(a), *shown], shown, strict=False)]
    assert max(steps) < 0.5 * whole
    assert steps[-1] < 0.01 * whole
    assert dimmer(STEP) is b


def test_a_drag_lags_little_and_keeps_to_one_lamp() -> None:
    dimmer = Dimmer(sun(-60, 20))
    for az in range(-60, 61, 3):
        dimmer.set_light(sun(az, 20))
        shown = dimmer(STEP)
        assert len(shown.directions) == 1
    assert np.degrees(np.arccos(shown.directions[0] @ sun(60, 20).directions[0])) < 8


def test_the_goal_is_there_at_once() -> None:
    dimmer = Dimmer(parse_light("loop"), Grade(1))
    assert dimmer.goal is dimmer.goal
    assert dimmer.goal.colours == pytest.approx(2 * parse_light("loop").colours, rel=1e-5)
    dimmer.set_light(parse_light("rim"))
    dimmer.set_grade(Grade())
    assert dimmer.goal.name == "rim"
    assert dimmer.grade == Grade()


def test_frames_that_come_late_end_the_change() -> None:
    dimmer = Dimmer(parse_light("flat"))
    dimmer.set_light(parse_light("rim"))
    assert dimmer(2.0).name == "rim"
