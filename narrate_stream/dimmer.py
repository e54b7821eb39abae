"""The light that is on: which it is to be, how it is graded, how far it has got. Nothing pops; time is a parameter."""

from __future__ import annotations

import math

from narrate_stream.ops.grading import Grade, approached, blended, graded
from narrate_stream.ops.lighting import Lighting

EASE = 0.06  # seconds in which two thirds of a change are done: most of it within two frames
SETTLED = 6 * EASE  # after which it is done


class Dimmer:
    """`set_light` and `set_grade` say where to; a call moves on by so many seconds and gives the light to shade with.

    The same object is returned while nothing changes: relighters keep what they computed for it.
    """

    def __init__(self, light: Lighting, grade: Grade | None = None) -> None:
        self._aim, self._grade_aim = light, grade or Grade()
        self._light, self._grade = self._aim, self._grade_aim
        self._age = SETTLED
        self._shown = light, self._grade, graded(light, self._grade)
        self._goal = self._shown

    @property
    def grade(self) -> Grade:
        """What was asked for."""
        return self._grade_aim

    @property
    def aim(self) -> Lighting:
        """The light that was asked for, not graded."""
        return self._aim

    @property
    def goal(self) -> Lighting:
        """The light as it will be, graded."""
        self._goal = _kept(self._goal, self._aim, self._grade_aim)
        return self._goal[2]

    def set_light(self, light: Lighting) -> None:
        """Fade to another light."""
        self._aim, self._age = light, 0.0

    def set_grade(self, grade: Grade) -> None:
        """Ease to another grade."""
        self._grade_aim, self._age = grade, 0.0

    def __call__(self, seconds: float) -> Lighting:
        """The light `seconds` after the last call."""
        self._age += seconds
        share = 1.0 if self._age >= SETTLED else 1 - math.exp(-seconds / EASE)
        if self._light is not self._aim:
            self._light = blended(self._light, self._aim, share)
        self._grade = approached(self._grade, self._grade_aim, share)
        self._shown = _kept(self._shown, self._light, self._grade)
        return self._shown[2]


def _kept(last: tuple[Lighting, Grade, Lighting], light: Lighting, grade: Grade) -> tuple[Lighting, Grade, Lighting]:
    """Light, grade and the graded light; the last ones where they still hold."""
    return last if last[0] is light and last[1] == grade else (light, grade, graded(light, grade))
