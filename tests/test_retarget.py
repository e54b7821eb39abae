"""Retargeting: a neutral moves nothing, eyes close, lids and lips never cross, and one's own motion is the identity."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.channels import CHANNELS, expressive_face
from narrate_stream.drivers.mesh import neutral_motion
from narrate_stream.lips import LEAST, LOWER_LIP, OPENING, UPPER_LIP
from narrate_stream.ops.geometry import angles_from_rotation, rotation_from_angles
from narrate_stream.ops.limits import BELIEVABLE, MOST
from narrate_stream.retarget import (
    GAZE_LIMIT,
    LID_FOLDS,
    LID_GAIN,
    LID_OVERLAP,
    LOWER_LIDS,
    UPPER_LIDS,
    WIDE_EYES,
    Retargeter,
    closed_fully,
    eye_widths,
    lid_openings,
    narrowed,
    neutral_score,
    openness,
)
from narrate_stream.types import AvatarMotion, Motion

STEP = 1 / 30
Angles = tuple[float, float, float]


def face(
    weights: dict[str, float] | None = None,
    gaze: tuple[float, float] = (0, 0),
    angles: Angles = (0, 0, 0),
    shift: tuple[float, float, float] = (0, 0, 0),
) -> Motion:
    rest = neutral_motion()
    points = expressive_face(weights or {}, gaze).astype(np.float32)
    turn = rotation_from_angles(*angles).astype(np.float32)
    return replace(rest, landmarks=points, rotation=turn, translation=rest.translation + np.array(shift, np.float32))


def settled(retarget: Retargeter, motion: Motion, frames: int = 60) -> AvatarMotion:
    """What the avatar does when the driver holds still."""
    for _ in range(frames):
        out = retarget(motion, STEP)
    return out


@pytest.fixture
def retarget(model: HybridModel) -> Retargeter:
    made = Retargeter(model)
    made.calibrate(neutral_motion())
    return made


def test_the_neutral_moves_nothing(retarget: Retargeter) -> None:
    out = settled(retarget, neutral_motion(), 3)
    assert np.abs(out.offsets).max() < 0.02
    assert np.abs(out.gaze).max() < 1e-6
    assert out.pose.rotation == pytest.approx(np.eye(3), abs=1e-6)
    assert out.pose.translation == pytest.approx(np.zeros(3), abs=1e-5)


def test_the_first_good_frame_is_a_neutral_of_its_own(model: HybridModel) -> None:
    out = settled(Retargeter(model), face(angles=(6, -3, 1), shift=(2, 1, 5)), 3)
    assert np.abs(out.offsets).max() < 0.02
    assert out.pose.rotation == pytest.approx(np.eye(3), abs=1e-5)


@pytest.mark.parametrize(("angles", "which"), [((15, 0, 0), 0), ((0, 12, 0), 1), ((0, 0, 10), 2)])
def test_the_head_turns_as_the_driver_does(
    retarget: Retargeter, angles: tuple[float, float, float], which: int
) -> None:
    found = angles_from_rotation(settled(retarget, face(angles=angles)).pose.rotation)
    assert found == pytest.approx(angles, abs=0.3)
    back = angles_from_rotation(settled(retarget, face(angles=tuple(-a for a in angles))).pose.rotation)
    assert back[which] == pytest.approx(-angles[which], abs=0.3)


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_a_wild_turn_is_eased_and_told(model: HybridModel, mode: Literal["relative", "absolute"]) -> None:
    own, retarget = own_motion(model), Retargeter(model, mode)
    retarget.calibrate(own)
    wild = own_motion(model, (55, -30, 0))
    shown = angles_from_rotation(settled(retarget, wild).pose.rotation)
    assert BELIEVABLE[0] < shown[0] < MOST[0] + 0.1
    assert BELIEVABLE[1] < -shown[1] < MOST[1]
    assert shown + retarget.held_back == pytest.approx([55, -30, 0], abs=0.1)
    settled(retarget, own)
    assert not retarget.held_back.any()


def test_a_blink_closes_the_portraits_eyes(retarget: Retargeter, model: HybridModel) -> None:
    own = lid_openings(model.neutral)
    out = settled(retarget, face({"eyeBlinkLeft": 1, "eyeBlinkRight": 1}))
    shut = model.neutral.copy()
    shut[:468] += out.offsets
    gap = [float((shut[list(u), 1] - shut[list(low), 1]).mean()) for u, low in zip(UPPER_LIDS, LOWER_LIDS, strict=True)]
    assert gap == pytest.approx([-LID_OVERLAP, -LID_OVERLAP], abs=0.12)
    assert (out.offsets[list(UPPER_LIDS[0]), 2] > out.offsets[list(LOWER_LIDS[0]), 2] + 0.1).all()  # it lies before it
    assert (own > 0.35).all()
    for lid, fold in zip(UPPER_LIDS, LID_FOLDS, strict=True):  # the skin with the lashes is hardly stretched
        way, after = -out.offsets[list(lid), 1].mean(), -out.offsets[list(fold), 1].mean()
        assert 0.7 * way < after < 0.9 * way
    one = model.neutral.copy()
    one[:468] += settled(retarget, face({"eyeBlinkLeft": 1})).offsets
    assert lid_openings(one)[0] == pytest.approx(own[0], rel=0.05)
    assert float((one[list(UPPER_LIDS[1]), 1] - one[list(LOWER_LIDS[1]), 1]).mean()) < 0.1 * own[1]


def test_a_shut_upper_lid_lies_before_one_that_stands_out(model: HybridModel) -> None:
    """As in a head that the portrait shows from above, or turned: the lower lid is the nearer one by 0.4 cm."""
    neutral = model.neutral.copy()
    for lids in LOWER_LIDS:
        neutral[list(lids), 2] += 0.4
    retarget = Retargeter(replace(model, neutral=neutral))
    retarget.calibrate(neutral_motion())
    neutral[:468] += settled(retarget, face({"eyeBlinkLeft": 1, "eyeBlinkRight": 1})).offsets
    for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
        assert (neutral[list(upper), 2] > neutral[list(lower), 2] + 0.1).all()


@pytest.mark.parametrize("name", CHANNELS)
def test_lids_and_lips_never_cross(retarget: Retargeter, model: HybridModel, name: str) -> None:
    out = settled(retarget, face({name: 1.0, "eyeBlinkLeft": 0.9, "mouthPressLeft": 1.0, "mouthRollUpper": 1.0}), 8)
    own = model.neutral
    moved = own[:468, 1] + out.offsets[:, 1]
    for upper, lower, over in (
        *zip(UPPER_LIDS, LOWER_LIDS, (LID_OVERLAP,) * 2, strict=True),
        (UPPER_LIP, LOWER_LIP, 0),
    ):
        u, low = list(upper), list(lower)
        least = np.minimum(own[u, 1] - own[low, 1], 0)
        assert (moved[u] - moved[low] >= least - over - 0.05).all()


def test_opening_the_jaw_opens_the_portraits_mouth(retarget: Retargeter, model: HybridModel) -> None:
    out = settled(retarget, face({"jawOpen": 0.6}))
    assert out.jaw[1] < -0.8
    assert out.offsets[14, 1] < -0.8
    assert np.abs(out.offsets[[4, 10, 33, 263]]).max() < 0.1


def test_a_mouth_opens_no_farther_than_the_face_has_room_for(model: HybridModel) -> None:
    retarget = Retargeter(model)
    retarget.calibrate(neutral_motion())
    rest, room = (float(model.neutral[a, 1] - model.neutral[b, 1]) for a, b in ((13, 14), (2, 152)))
    gaps, chins = [], []
    for amount in np.linspace(0.1, 2.0, 8):
        offsets = settled(retarget, face({"jawOpen": amount}), 30).offsets
        gaps.append(rest + float(offsets[13, 1] - offsets[14, 1]))
        chins.append(float((model.neutral[14, 1] + offsets[14, 1]) - (model.neutral[152, 1] + offsets[152, 1])))
    assert (np.diff(gaps) > 0).all()  # eased, not clamped
    assert gaps[-1] < max(OPENING, rest / room + LEAST) * room
    assert min(chins) > 0.3 * float(model.neutral[14, 1] - model.neutral[152, 1])


def test_eyes_close_by_the_drivers_lids_and_not_by_its_squint() -> None:
    rest = np.array(neutral_motion().landmarks, np.float64)
    reference = closed_fully(lid_openings(rest) / eye_widths(rest))
    assert openness(rest, reference) == pytest.approx([1, 1])
    for share, least, most in ((0.8, 0.7, 0.82), (0.6, 0.5, 0.62), (0.12, 0.0, 0.02)):
        half = rest.copy()
        for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True):
            u, low = list(upper), list(lower)
            half[u] = rest[low] + share * (rest[u] - rest[low])
        assert (openness(half, reference) >= least).all()
        assert (openness(half, reference) <= most).all()


def test_filmed_lids_close_farther_than_a_detector_says(retarget: Retargeter, model: HybridModel) -> None:
    assert narrowed(np.array([1.2, 0.5])) == pytest.approx([1.2, 1 - 0.5 * LID_GAIN])
    assert narrowed(np.array([1.0, 0.1])) == pytest.approx([1, 0])
    scripted = face({"eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5})
    filmed = replace(scripted, pixels=scripted.landmarks[:, :2])
    gaps = []
    for motion in (scripted, filmed):
        moved = model.neutral[:468] + settled(retarget, motion).offsets
        gaps.append((moved[list(UPPER_LIDS[0]), 1] - moved[list(LOWER_LIDS[0]), 1]).mean())
    own = (model.neutral[list(UPPER_LIDS[0]), 1] - model.neutral[list(LOWER_LIDS[0]), 1]).mean()
    assert 0.35 * own < gaps[0] < 0.6 * own
    assert gaps[1] < gaps[0] - 0.1 * own


def test_gaze_goes_the_same_way_and_is_limited(retarget: Retargeter) -> None:
    right = settled(retarget, face(gaze=(1, 0))).gaze
    assert (right[:, 0] > 0.2).all()
    up = settled(retarget, face(gaze=(0, 1))).gaze
    assert (up[:, 1] > 0.1).all()
    assert np.abs(right).max() <= GAZE_LIMIT


def test_shut_eyes_keep_their_gaze(retarget: Retargeter) -> None:
    before = settled(retarget, face(gaze=(0.8, 0))).gaze
    after = settled(retarget, face({"eyeBlinkLeft": 1, "eyeBlinkRight": 1}, gaze=(-1, 0))).gaze
    assert after == pytest.approx(before, abs=0.03)


def own_motion(model: HybridModel, turn: Angles = (0, 0, 0), shift: Angles = (0, 0, 0)) -> Motion:
    """The portrait as a driving frame would show it, turned about its head's origin and moved."""
    rotation = rotation_from_angles(*turn) @ model.rotation
    translation = model.translation + np.array(shift)
    x0, y0, scale = model.crop
    pixels = (model.camera.project(model.neutral @ rotation.T + translation) + 0.5) / scale + [x0, y0] - 0.5
    arrays = (rotation, translation, model.neutral, pixels)
    return Motion(*(a.astype(np.float32) for a in arrays), model.frame_size)


def test_absolute_motion_of_the_portrait_itself_is_the_identity(model: HybridModel) -> None:
    retarget, own = Retargeter(model, "absolute"), own_motion(model)
    turned = own_motion(model, (25, 0, 0), (2, 0, 0))
    retarget.rehearse([None, turned, own, turned], 30)
    assert retarget.reference is not None
    assert np.array_equal(retarget.reference.motion.pixels, own.pixels)
    out = settled(retarget, own)
    assert out.pose.rotation == pytest.approx(np.eye(3), abs=1e-4)
    assert out.pose.translation == pytest.approx(np.zeros(3), abs=1e-2)
    assert np.abs(out.offsets).max() < 0.02


def test_absolute_motion_lays_the_avatar_over_the_driver(model: HybridModel) -> None:
    """Wherever the driver's own fit believes its head to be: what counts is where it is seen."""
    retarget, own = Retargeter(model, "absolute"), own_motion(model)
    retarget.calibrate(own)
    turned = own_motion(model, (20, -5, 3), (1, -2, 4))
    elsewhere = replace(turned, rotation=own.rotation, translation=turned.translation * 1.2)
    out = settled(retarget, elsewhere)
    assert out.pose.rotation @ model.rotation == pytest.approx(turned.rotation, abs=0.01)
    head = model.neutral @ model.rotation.T + model.translation - model.pivot
    points = head @ out.pose.rotation.T + model.pivot + out.pose.translation
    x0, y0, scale = model.crop
    pixels = (model.camera.project(points) + 0.5) / scale + [x0, y0] - 0.5
    assert pixels[:468] == pytest.approx(turned.pixels[:468], abs=0.5)
    assert np.abs(out.offsets).max() < 0.05


def test_a_face_whose_origin_was_found_elsewhere_turns_on_the_spot(model: HybridModel) -> None:
    """The same head, its origin 1.5 cm higher: what turns must end at the same place."""
    lift = np.array([0, 1.5, 0.5], np.float32)
    own, turn = own_motion(model), rotation_from_angles(10, 8, -18).astype(np.float32)
    ends = []
    for away in (np.zeros(3, np.float32), lift):
        moved = replace(own, landmarks=own.landmarks - away, translation=own.translation + own.rotation @ away)
        retarget = Retargeter(model, "absolute")
        retarget.calibrate(moved)
        spun = replace(moved, rotation=turn @ own.rotation, translation=own.translation + turn @ own.rotation @ away)
        ends.append(settled(retarget, spun).pose)
    assert ends[1].rotation == pytest.approx(ends[0].rotation, abs=1e-5)
    assert ends[1].translation == pytest.approx(ends[0].translation, abs=0.05)


@pytest.mark.parametrize("size", [0.8, 1.25])
def test_a_face_measured_smaller_and_nearer_is_no_step_forward(model: HybridModel, size: float) -> None:
    own, retarget = own_motion(model), Retargeter(model, "absolute")
    same = replace(own, landmarks=own.landmarks * np.float32(size), translation=own.translation * np.float32(size))
    retarget.calibrate(same)
    out = settled(retarget, same)
    assert out.pose.translation == pytest.approx(np.zeros(3), abs=0.05)


def test_rehearsing_finds_the_calmest_moment(model: HybridModel) -> None:
    calm = face()
    clip = [face({"jawOpen": 0.7}), face(angles=(20, 0, 0)), None, calm, face({"eyeBlinkLeft": 1, "eyeBlinkRight": 1})]
    retarget = Retargeter(model)
    retarget.rehearse(clip, 30)
    assert retarget.reference is not None
    assert retarget.reference.motion.rotation is calm.rotation
    assert neutral_score(calm) < min(neutral_score(m) for m in clip if m is not None and m is not calm)
    empty = Retargeter(model)
    empty.rehearse([None, None], 30)
    assert empty.reference is None


def test_coming_nearer_counts_in_the_portraits_own_distance(model: HybridModel) -> None:
    """A model under twice the focal length stands twice as far away: to grow as much it comes twice as near."""
    far = replace(
        model,
        camera=replace(model.camera, focal=2 * model.camera.focal),
        translation=model.translation * np.array([1, 1, 2], np.float32),
    )
    steps = []
    for of in (model, far):
        retarget = Retargeter(of)
        retarget.calibrate(neutral_motion())
        steps.append(settled(retarget, face(shift=(0.5, 0, 1.0))).pose.translation)
    assert steps[1][2] / steps[0][2] == pytest.approx(2, abs=0.25)  # the soft limit takes a little
    assert steps[1][0] == pytest.approx(steps[0][0], abs=1e-3)


def test_the_neutral_of_a_clip_has_a_shut_mouth_and_the_usual_eyes(model: HybridModel) -> None:
    """Somebody who shuts the mouth only in surprise, and speaks with eyes as they usually are."""
    surprised = face({"eyeWideLeft": 1, "eyeWideRight": 1, "browInnerUp": 1})
    speaking = [face({"jawOpen": 0.3 + 0.1 * i}) for i in range(4)]
    retarget = Retargeter(model)
    retarget.rehearse([surprised, *speaking], 30)
    assert retarget.reference is not None
    found, usual = retarget.reference.motion.landmarks, speaking[0].landmarks
    eyes, mouth = [159, 386, 105, 334], [0, 17, 61, 291, 152]
    assert found[eyes] == pytest.approx(usual[eyes], abs=0.05)
    assert found[mouth] == pytest.approx(surprised.landmarks[mouth], abs=0.02)


def test_eyes_open_wider_only_so_far(retarget: Retargeter, model: HybridModel) -> None:
    wide = model.neutral.copy()
    wide[:468] += settled(retarget, face({"eyeWideLeft": 1, "eyeWideRight": 1, "browInnerUp": 1})).offsets
    ratio = lid_openings(wide) / lid_openings(model.neutral)
    assert (ratio > 1.05).all()
    assert (ratio < 1 + WIDE_EYES).all()
