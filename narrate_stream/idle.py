"""Idle motion: what a portrait does by itself while nobody drives it: it breathes, blinks, sways a little and looks.

Everything is a function of time and a seed, without memory: the same second always shows the same picture. The numbers
are those of people at rest: 15 breaths a minute, a blink every 2 to 6 s that lasts 0.2 s, a head that is never quite
still.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.drivers.mesh import neutral_motion
from narrate_stream.ops.geometry import partial_rotations, rotation_from_angles
from narrate_stream.retarget import Retargeter
from narrate_stream.types import Array, AvatarMotion, Pose

F64 = NDArray[np.float64]
BREATHS = 0.25  # Hz
CHEST = 0.09  # cm the shoulders rise and sink about their middle
LIFT = np.array([0.0, 0.05, 0.025])  # cm the head goes with them
NOD = 0.22  # degrees it looks up while breathing in
BLINKS = 4.0  # seconds, the mean interval: each blink comes by chance in the first half of its own 4 s
CLOSING, SHUT, OPENING = 0.07, 0.03, 0.1  # seconds of a blink
SWAY = np.array([0.8, 0.45, 0.4])  # degrees of yaw, pitch, roll
DRIFT = np.array([0.12, 0.0, 0.1])  # cm
RATES = np.array([0.061, 0.047, 0.053, 0.039, 0.0, 0.043])  # Hz of those six, none a multiple of another
LOOKS = 2.6  # seconds, the mean time a look rests
LOOK = np.array([0.045, 0.02])  # cm the irises go astray, sideways and up
GLANCE, GLANCES = np.array([0.16, 0.08]), 0.3  # the same of a glance, and the share of looks that are one
JUMP = 0.05  # seconds an eye's jump takes
FOLLOW = 0.9  # closure of the lids per cm that the irises go down: they keep to the iris


@dataclass(frozen=True)
class Posture:
    """An idle body: breath -1 (out) to 1 (in); closure of the lids, 1 shut, a little below 0 in a look up; angles (3,)
    yaw, pitch, roll, degrees; shift (3,) cm; gaze (2,) cm."""

    breath: float
    closure: float
    angles: F64
    shift: F64
    gaze: F64


def posture(seconds: float, since: float, seed: int = 0) -> Posture:
    """The posture at a time. Blinks that began before `since` are left out: none is cut in."""
    air, swing = breath(seconds, seed), sway(seconds, seed)
    angles = SWAY * swing[:3] + [0, NOD * air, 0]
    gaze = look(seconds, seed)
    shut = closure(seconds, since, seed)
    lids = shut - (1 - shut) * FOLLOW * float(gaze[1])
    return Posture(air, lids, angles, DRIFT * swing[3:] + LIFT * air, gaze)


def chance(seed: int, number: int, count: int) -> F64:
    """(count,) numbers 0..1, always the same for this seed and number."""
    return np.random.default_rng([seed & 0xFFFFFFFF, number & 0xFFFFFFFF]).random(count)


def breath(seconds: float, seed: int) -> float:
    """-1..1; in is quicker than out, and no breath is quite as long as the last."""
    a, b = chance(seed, 1, 2)
    phase = 2 * np.pi * (BREATHS * seconds + 0.05 * np.sin(2 * np.pi * (seconds / 19 + a)) + b)
    return float(np.sin(phase + 0.35 * np.cos(phase)))


def sway(seconds: float, seed: int) -> F64:
    """(6,) -1..1, slow and without a rhythm: two sines each."""
    first, second = chance(seed, 2, 12).reshape(2, 6)
    slow = np.sin(2 * np.pi * (RATES * seconds + first))
    return np.asarray(0.65 * slow + 0.35 * np.sin(2 * np.pi * (2.3 * RATES * seconds + second)))


def blink_time(number: int, seed: int) -> float:
    """When the blink of this number begins, s; neighbours are 2 to 6 s apart."""
    return BLINKS * (number + 0.5 * float(chance(seed, 2 * number + 1001, 1)[0]))


def closure(seconds: float, since: float, seed: int) -> float:
    """0 open, 1 shut: lids fall faster than they rise."""
    begun = blink_time(int(np.floor(seconds / BLINKS)), seed)
    late = seconds - begun
    if begun < since or not 0 <= late < CLOSING + SHUT + OPENING:
        return 0.0
    return smooth(min(late / CLOSING, (CLOSING + SHUT + OPENING - late) / OPENING))


def look(seconds: float, seed: int) -> F64:
    """(2,) cm: the look rests, then jumps a little, as eyes do."""
    number = int(np.floor(seconds / LOOKS))
    jump = LOOKS * (number + 0.8 * float(chance(seed, 2 * number + 2000, 1)[0]))
    before, after = (aim(n, seed) for n in (number - 1, number))
    return np.asarray(before + (after - before) * smooth((seconds - jump) / JUMP))


def aim(number: int, seed: int) -> F64:
    """(2,) cm where the look of this number rests: close to the viewer, or at times aside."""
    x, y, kind = chance(seed, 2 * number + 3000, 3)
    return np.asarray((GLANCE if kind < GLANCES else LOOK) * (2 * np.array([x, y]) - 1))


def smooth(t: float) -> float:
    """0 to 1 with a soft start and a soft end, for t from 0 to 1."""
    x = min(max(t, 0.0), 1.0)
    return x * x * (3 - 2 * x)


class Idle:
    """The idle motion of one portrait."""

    def __init__(self, model: HybridModel, seed: int = 0) -> None:
        self.seed = seed
        self._lever = (model.pivot - model.translation).astype(np.float64)
        self._shut = shut_lids(model)

    def __call__(self, seconds: float, since: float) -> AvatarMotion:
        """The motion at a time; `since`: when it began to idle."""
        now = posture(seconds, since, self.seed)
        turn = rotation_from_angles(*now.angles)
        shift = turn @ self._lever - self._lever + now.shift
        return AvatarMotion(
            Pose(turn.astype(np.float32), shift.astype(np.float32)),
            now.closure * self._shut,
            np.tile(now.gaze, (2, 1)).astype(np.float32),
            np.zeros(3, np.float32),
            breath=CHEST * now.breath,
        )


def shut_lids(model: HybridModel) -> Array:
    """(468, 3) cm from the portrait's face to the same with shut eyes."""
    retarget, rest = Retargeter(model), neutral_motion()
    retarget.calibrate(rest)
    wide = retarget(rest, 0.0).offsets
    face = expressive_face({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}).astype(np.float32)
    shut = Retargeter(model)
    shut.calibrate(rest)
    return shut(type(rest)(rest.rotation, rest.translation, face, rest.pixels, rest.size), 0.0).offsets - wide


def added(motion: AvatarMotion, more: AvatarMotion, share: float) -> AvatarMotion:
    """`motion` with `share` (0..1) of another on top."""
    if share <= 0:
        return motion
    turn = partial_rotations(more.pose.rotation.astype(np.float64), np.array([share]))[0].astype(np.float32)
    pose = Pose(turn @ motion.pose.rotation, motion.pose.translation + share * more.pose.translation)
    return AvatarMotion(
        pose,
        motion.offsets + share * more.offsets,
        motion.gaze + share * more.gaze,
        motion.jaw + share * more.jaw,
        motion.view,
        motion.breath + share * more.breath,
    )


def between(first: AvatarMotion, second: AvatarMotion, share: float) -> AvatarMotion:
    """From the first motion (share 0) to the second (1)."""
    way = (second.pose.rotation @ first.pose.rotation.T).astype(np.float64)
    turn = partial_rotations(way, np.array([share]))[0].astype(np.float32)
    a, b = 1 - share, share
    return AvatarMotion(
        Pose(turn @ first.pose.rotation, a * first.pose.translation + b * second.pose.translation),
        a * first.offsets + b * second.offsets,
        a * first.gaze + b * second.gaze,
        a * first.jaw + b * second.jaw,
        second.view,
        a * first.breath + b * second.breath,
    )
