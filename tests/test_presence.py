"""Faces lost and found: no jump in either direction, and rest where nothing else is wanted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.geometry import angles_from_rotation, rotation_from_angles
from narrate_stream.presence import IDLE_AFTER, IDLE_EASE, RETURN, Presence, still_motion
from narrate_stream.types import AvatarMotion, Pose

STEP = 1 / 30


def turned(yaw: float) -> AvatarMotion:
    return replace(still_motion(), pose=Pose(rotation_from_angles(yaw, 0, 0).astype(np.float32)))


def yaw(motion: AvatarMotion) -> float:
    return float(angles_from_rotation(motion.pose.rotation)[0])


def lost(presence: Presence, seconds: float, start: float = 0.0) -> list[AvatarMotion]:
    return [presence.hold(start + i * STEP, STEP) for i in range(round(seconds / STEP))]


def test_a_face_that_stays_is_passed_on_untouched(model: HybridModel) -> None:
    presence, now = Presence(model, True), turned(20)
    for _ in range(5):
        assert presence.follow(now, STEP) is now
    assert presence.seen


def test_a_lost_face_goes_home_and_a_found_one_comes_back_step_by_step(model: HybridModel) -> None:
    presence = Presence(model, False)
    presence.follow(turned(20), STEP)
    away = [yaw(motion) for motion in lost(presence, 3)]
    assert away == sorted(away, reverse=True)
    assert away[0] > 15
    assert away[-1] == pytest.approx(0, abs=0.01)
    assert not presence.seen
    back = [yaw(presence.follow(turned(20), STEP)) for _ in range(12)]
    assert back == sorted(back)
    assert back[0] < 2
    assert back[round(RETURN / STEP)] == pytest.approx(20, abs=1e-3)


def test_the_shorter_the_pause_the_quicker_the_return(model: HybridModel) -> None:
    presence = Presence(model, True)
    presence.follow(turned(20), STEP)
    lost(presence, 2 * STEP)
    back = [yaw(presence.follow(turned(20), STEP)) for _ in range(3)]
    assert back[2] == pytest.approx(20, abs=1e-3)


def test_idling_fades_in_late_and_out_again(model: HybridModel) -> None:
    presence = Presence(model, True)
    breaths = np.array([abs(motion.breath) for motion in lost(presence, IDLE_AFTER + IDLE_EASE + 5)])
    first = round(IDLE_AFTER / STEP)
    assert not breaths[: first - 1].any()
    assert breaths[first + 3] < 0.01
    assert breaths[first + 60 :].max() > 0.08
    presence.idles = False
    after = lost(presence, IDLE_EASE + 0.1, start=9.0)
    assert after[0].breath != 0
    assert after[-1].breath == 0
    assert yaw(after[-1]) == 0
