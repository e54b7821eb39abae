"""The driver's neutral, found and refined while it drives: the face and the pose that stand for the portrait.

Every moment is weighed by how calm it is: frontal, mouth shut, gaze ahead, lids and brows as they mostly are, not
moving. The neutral is the mean of what was seen, weighed so steeply that calm moments decide; the past fades over
minutes, so it follows a driver who sits differently now. What is used goes toward that mean within a second and never
jumps. `set` takes one moment by hand and keeps it; another person, or one who comes back, is found anew.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.retarget import eye_widths, gaze_of, lid_openings
from narrate_stream.types import Array, Motion

F64 = NDArray[np.float64]
STEEP = 0.25  # of unrest: by so much less a moment counts e times as much
MEMORY = 60.0  # seconds in which the past comes to count 1/e
EASE = 0.45  # seconds in which the neutral in use comes 1/e nearer to the one found
GONE = 1e-5  # share below which nothing is mixed
NEAR = 0.006  # cm: a neutral that lies nearer is the same; 0.01 of it is a degree
TURN = np.array([0.1, 0.1, 0.05])  # unrest per degree of yaw, pitch, roll
MOUTH, GAZE = 14.0, 5.0  # per mouth width that the lips are apart, per eye width that the irises are aside
UNUSUAL = np.array([12.0, 3.0, 6.0])  # per eye width of lids, mouth width over eye distance, brows over eye distance
MOVING = 0.08  # per cm/s of the face
LEARN = np.array([0.6, 1.0, 1.0])  # of those three a second, at first, and the longer the slower
NEWCOMER = 0.7  # seconds in which one learns what is usual; before, moments hardly count
GOOD, SURE = 3.0, 0.6  # unrest at which the score is halved; seconds of calm that it wants


class Calibration:
    """Finds a driver's neutral, moment by moment. neutral: the one in use, None before the first moment; score: 0..1,
    how far it can be trusted; by_hand: whether it was set."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """A new driver."""
        self.neutral: Motion | None = None
        self.by_hand, self.score = False, 0.0
        self._found: Motion | None = None
        self._last: Motion | None = None
        self._usual, self._age = np.zeros(3), 0.0
        self._best = np.inf  # unrest that weighs 1
        self._weight = self._square = self._unrest = 0.0  # seconds, of weight and of its square; their unrest

    def set(self, motion: Motion) -> Motion:
        """This moment is the neutral from now on."""
        self.forget()
        self.neutral, self.by_hand = motion, True
        self.score = trust(unrest(motion, features(motion), 0.0), np.inf)
        self._last = motion
        return motion

    def __call__(self, motion: Motion, seconds: float) -> Motion:
        """The neutral in use at this moment, `seconds` after the last; the same object while it does not change."""
        if self._last is not None and motion.person != self._last.person:
            self.forget()
        speed = face_speed(motion, self._last, seconds)
        self._last = motion
        if self.by_hand:
            assert self.neutral is not None
            return self.neutral
        self._learn(motion, speed, seconds)
        assert self._found is not None
        if self.neutral is None:
            self.neutral = self._found
        elif apart(self.neutral, self._found) > NEAR:
            self.neutral = toward(self.neutral, self._found, 1 - float(np.exp(-seconds / EASE)))
        return self.neutral

    def _learn(self, motion: Motion, speed: float, seconds: float) -> None:
        """One more moment goes into the mean."""
        seen = features(motion)
        self._follow_usual(seen, seconds)
        now = unrest(motion, seen - self._usual, speed)
        self._rescale(now)
        known = (1 - np.exp(-self._age / NEWCOMER)) ** 2
        weight, fade = float(known * np.exp((self._best - now) / STEEP)) * seconds, float(np.exp(-seconds / MEMORY))
        self._weight = fade * self._weight + weight
        self._square = fade * self._square + weight * weight / max(seconds, 1e-6)
        share = weight / max(self._weight, 1e-9)
        self._unrest += share * (now - self._unrest)
        if self._found is None:
            self._found = motion
        elif share > GONE:
            self._found = toward(self._found, motion, share)
        self.score = trust(self._unrest, self._weight**2 / max(self._square, 1e-9))

    def _rescale(self, now: float) -> None:
        """Weights are over the calmest moment's, which may be this one."""
        if now < self._best:
            shrink = float(np.exp((now - self._best) / STEEP)) if np.isfinite(self._best) else 0.0
            self._weight, self._square, self._best = self._weight * shrink, self._square * shrink**2, now

    def _follow_usual(self, seen: F64, seconds: float) -> None:
        """A running median: half of the time above, half below."""
        if self._age == 0:
            self._usual = seen
        self._age += seconds
        step = LEARN * seconds / (1 + 0.5 * self._age)
        self._usual = self._usual + np.clip(seen - self._usual, -step, step)


def features(motion: Motion) -> F64:
    """(3,) lid opening over eye width, mouth width and brows' height over the distance of the outer eye corners."""
    face = motion.landmarks
    eyes = float(np.linalg.norm(face[33] - face[263]))
    lids = float((lid_openings(face) / eye_widths(face)).mean())
    brows = float((face[[105, 334], 1] - face[[33, 263], 1]).mean())
    return np.array([lids, np.linalg.norm(face[61] - face[291]) / eyes, brows / eyes])


def unrest(motion: Motion, unusual: F64, speed: float) -> float:
    """0 calm and frontal; unusual (3,) by how much the features are not as usual; speed of the face, cm/s."""
    face = motion.landmarks
    turn = np.abs(angles_from_rotation(motion.rotation)) @ TURN
    mouth = np.linalg.norm(face[13] - face[14]) / np.linalg.norm(face[78] - face[308])
    gaze = np.abs(gaze_of(face)[:, 0]).mean()
    return float(turn + MOUTH * mouth + GAZE * gaze + np.abs(unusual) @ UNUSUAL + MOVING * speed)


def trust(restless: float, seconds: float) -> float:
    """0..1: how good a neutral of this unrest is that was seen for so long."""
    return float((1 - np.exp(-seconds / SURE)) / (1 + (restless / GOOD) ** 2))


def face_speed(motion: Motion, last: Motion | None, seconds: float) -> float:
    """cm/s at which the face's landmarks move, the head's own way left out."""
    if last is None or seconds <= 0:
        return 0.0
    return float(np.linalg.norm(motion.landmarks - last.landmarks, axis=-1).mean() / seconds)


def apart(one: Motion, other: Motion) -> float:
    """cm between two moments' faces, a degree of turn or a tenth of a cm of place counting 0.01."""
    turn = np.degrees(np.linalg.norm(one.rotation - other.rotation) / np.sqrt(2))
    place = np.linalg.norm(one.translation - other.translation)
    return float(np.linalg.norm(one.landmarks - other.landmarks, axis=-1).mean() + 0.01 * turn + 0.1 * place)


def toward(one: Motion, other: Motion, share: float) -> Motion:
    """From one moment the share 0..1 of the way to another (turns as the nearest rotation to the mean of both)."""

    def mixed(a: Array, b: Array) -> Array:
        return np.asarray(a + share * (b - a), np.float32)

    u, _, vt = np.linalg.svd(one.rotation + share * (other.rotation - one.rotation))
    return replace(
        other,
        rotation=(u @ vt).astype(np.float32),
        translation=mixed(one.translation, other.translation),
        landmarks=mixed(one.landmarks, other.landmarks),
        pixels=mixed(one.pixels, other.pixels),
    )
