"""Landmarks to tracks: known answers on the canonical face, drawn by a known camera."""

from __future__ import annotations

import numpy as np
import pytest
from toy_face import SIZE, seen

from narrate_stream.ops.geometry import angles_from_rotation
from offline.evaluate.tracks import (
    distance,
    eye_aspect,
    eye_distance,
    filled,
    gaze,
    mouth_aspect,
    neutral_scores,
    rotation,
)


@pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (-10, 12, 0), (5, -8, 15)])
def test_the_pose_is_found(angles: tuple[float, float, float]) -> None:
    found = angles_from_rotation(rotation(seen(angles=angles, shift=(4, -3, 10)), SIZE))
    assert found == pytest.approx(angles, abs=0.05)
    assert np.isnan(rotation(np.full((478, 3), np.nan), SIZE)).all()


def test_lids_and_mouth() -> None:
    marks = np.stack([seen(), seen({"eyeBlinkLeft": 1, "eyeBlinkRight": 1}), seen({"jawOpen": 0.8})])
    eyes, mouth = eye_aspect(marks), mouth_aspect(marks)
    assert eyes[1] < 0.1 * eyes[0]
    assert eyes[2] == pytest.approx(eyes[0], rel=0.02)
    assert mouth[2] > mouth[0] + 0.3
    assert mouth[1] == pytest.approx(mouth[0], abs=0.01)


def test_gaze_is_the_irises_place_in_the_eye() -> None:
    marks = np.stack([seen(look=look) for look in ((0, 0), (1, 0), (-1, 0), (0, 1))])
    looks = gaze(marks)
    assert looks[1, 0] - looks[0, 0] > 0.1
    assert looks[2, 0] - looks[0, 0] < -0.1
    assert looks[3, 1] < looks[0, 1] - 0.05  # rows count downward
    rolled = gaze(seen(look=(1, 0), angles=(0, 0, 20))[None])
    assert rolled[0, 0] == pytest.approx(looks[1, 0], abs=0.02)


def test_the_eye_distance_does_not_shrink_in_a_turn() -> None:
    straight, turned = (seen(angles=(yaw, 0, 0)) for yaw in (0, 40))
    flat = distance(turned, 33, 263) / distance(straight, 33, 263)
    assert flat < 0.75
    assert eye_distance(turned) / eye_distance(straight) > 0.85  # what is left is farther away


def test_the_calm_frame_scores_best_and_a_missing_one_worst() -> None:
    blink, wide = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, {"jawOpen": 0.6}
    frames = [seen(blink), seen(wide), seen(), seen(angles=(15, 0, 0)), seen(look=(1, 0)), np.full((478, 3), np.nan)]
    score = neutral_scores(np.stack(frames), SIZE)
    assert int(np.argmin(score)) == 2
    assert np.isinf(score[5])


def test_gaps_are_filled() -> None:
    track = np.array([np.nan, 1.0, np.nan, 3.0, np.nan])
    assert filled(track) == pytest.approx([1, 1, 2, 3, 3])
    assert filled(np.stack([track, 2 * track], -1))[2] == pytest.approx([2, 4])
