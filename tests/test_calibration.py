"""Calibration: drivers of all habits come to rest in their own neutral, without a jump, and the score says how well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from narrate_stream.calibration import GOOD, SURE, Calibration, apart, toward, trust
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.drivers.mesh import neutral_motion
from narrate_stream.ops.geometry import angles_from_rotation, rotation_from_angles
from narrate_stream.retarget import lid_openings
from narrate_stream.types import Motion

FPS = 30
Angles = tuple[float, float, float]
CALM = expressive_face({})


def moment(weights: dict[str, float] | None = None, angles: Angles = (0, 0, 0), seed: int | None = None) -> Motion:
    """A driver with this face and turn; with a seed, as a detector sees it."""
    rest, face = neutral_motion(), expressive_face(weights or {})
    if seed is not None:
        face = face + np.random.default_rng(seed).normal(0, 0.015, face.shape)
    turn = rotation_from_angles(*angles).astype(np.float32)
    return replace(rest, landmarks=face.astype(np.float32), rotation=turn)


def seconds_of(length: float, make: Callable[[float], Motion]) -> Iterator[Motion]:
    """So many seconds of moments; make(t) gives one."""
    return (make(i / FPS) for i in range(round(length * FPS)))


def still(length: float, weights: dict[str, float] | None = None, angles: Angles = (0, 0, 0)) -> Iterator[Motion]:
    return (moment(weights, angles, seed=i) for i in range(round(length * FPS)))


def talking(length: float, angles: Angles = (0, 0, 0)) -> Iterator[Motion]:
    """Speech: the mouth opens four times a second, shuts between, and the head nods; a blink every 3 s."""

    def at(t: float) -> Motion:
        jaw = 0.3 * max(0.0, np.sin(2 * np.pi * 4 * t + 1))
        blink = max(0.0, 1 - abs((t % 3) - 1.5) / 0.12)
        face = {"jawOpen": jaw, "mouthFunnel": 0.4 * jaw, "eyeBlinkLeft": blink, "eyeBlinkRight": blink}
        nod = (angles[0] + 3 * np.sin(2.1 * t), angles[1] + 2 * np.sin(1.3 * t), angles[2])
        return moment(face, nod, round(t * FPS))

    return seconds_of(length, at)


def watch(calibration: Calibration, motions: Iterable[Motion]) -> list[Motion]:
    """The neutrals in use, moment by moment."""
    return [calibration(motion, 1 / FPS) for motion in motions]


def turn_of(motion: Motion) -> np.ndarray:
    return np.abs(angles_from_rotation(motion.rotation))


def largest_step(neutrals: list[Motion]) -> float:
    return max(apart(a, b) for a, b in pairwise(neutrals))


def test_a_driver_who_starts_turned_is_found_when_it_faces_the_camera() -> None:
    calibration = Calibration()
    used = watch(calibration, still(2, angles=(25, 5, 0)))
    assert turn_of(used[0]) == pytest.approx([25, 5, 0], abs=0.1)  # at once: something has to stand for the portrait
    low = calibration.score
    used += watch(calibration, still(3))
    assert turn_of(used[-1]).max() < 0.5
    assert calibration.score > 0.85 > 0.6 > low
    assert largest_step(used) < 0.03  # a tenth of the way in a frame, at most
    half = next(i for i, m in enumerate(used) if turn_of(m)[0] < 12.5)
    assert 2 < half / FPS < 3


def test_a_driver_who_starts_in_the_middle_of_a_word_shuts_its_mouth() -> None:
    calibration = Calibration()
    used = watch(calibration, [moment({"jawOpen": 0.6}, seed=1), *talking(6)])
    gap = [float(np.linalg.norm(m.landmarks[13] - m.landmarks[14])) for m in (used[0], used[-1])]
    assert gap[0] > 1
    assert gap[1] < 0.25
    assert largest_step(used) < 0.05


def test_a_driver_who_starts_half_blinking_opens_its_eyes() -> None:
    calibration = Calibration()
    half = {"eyeBlinkLeft": 0.6, "eyeBlinkRight": 0.6}
    used = watch(calibration, [*still(0.1, half), *still(3)])
    wanted = lid_openings(CALM)
    assert (lid_openings(used[0].landmarks) < 0.6 * wanted).all()
    assert lid_openings(used[-1].landmarks) == pytest.approx(wanted, rel=0.1)


def test_blinks_looks_and_words_do_not_move_a_neutral_that_was_found() -> None:
    calibration = Calibration()
    calm = watch(calibration, still(4))[-1]
    talk = watch(calibration, talking(40, angles=(12, -4, 0)))[-1]
    assert apart(calm, talk) < 0.03
    assert calibration.score > 0.7


def test_a_driver_who_sits_down_differently_is_followed_slowly() -> None:
    calibration = Calibration()
    watch(calibration, still(10))
    moved = [replace(m, translation=m.translation + np.float32([4, -3, 6])) for m in still(1, angles=(0, 5, 0))]
    used = watch(calibration, moved * 20)
    assert turn_of(used[-1])[1] < 3  # twenty seconds of it do not count as much as ten calm ones yet
    used = watch(calibration, moved * 400)
    assert turn_of(used[-1])[1] == pytest.approx(5, abs=0.5)
    assert used[-1].translation - used[0].translation == pytest.approx([4, -3, 6], abs=2.5)


def test_by_hand_stays_until_another_person_comes() -> None:
    calibration, odd = Calibration(), moment({"mouthSmileLeft": 1.0}, (10, 0, 0))
    watch(calibration, still(2))
    assert calibration.set(odd) is odd
    assert calibration.by_hand
    assert 0 < calibration.score < 0.9  # it is told what it is: turned and smiling
    assert all(neutral is odd for neutral in watch(calibration, still(2)))
    other = [replace(m, person=1) for m in still(1)]
    assert turn_of(watch(calibration, other)[0]).max() < 0.1
    assert not calibration.by_hand


def test_another_person_is_not_mixed_with_the_first() -> None:
    calibration = Calibration()
    watch(calibration, still(5))
    wide = [replace(m, landmarks=m.landmarks * np.float32([1.2, 1, 1]), person=1) for m in still(1)]
    found = watch(calibration, wide)
    assert found[0].landmarks == pytest.approx(wide[0].landmarks)
    assert found[-1].landmarks == pytest.approx(CALM * [1.2, 1, 1], abs=0.05)


def test_a_neutral_that_does_not_change_is_the_same_object() -> None:
    calibration = Calibration()
    used = watch(calibration, [moment()] * 30)
    assert len({id(neutral) for neutral in used}) == 1


def test_trust_wants_calm_and_time() -> None:
    assert trust(0, np.inf) == 1
    assert trust(GOOD, np.inf) == pytest.approx(0.5)
    assert trust(0, SURE) == pytest.approx(1 - np.exp(-1))
    assert trust(0, 0) == 0


def test_half_way_is_half_of_everything() -> None:
    one, other = moment(), replace(moment(angles=(20, 0, 0)), translation=np.float32([2, 0, -62]))
    half = toward(one, other, 0.5)
    assert turn_of(half) == pytest.approx([10, 0, 0], abs=1e-3)
    assert half.translation == pytest.approx([1, 0, -61])
