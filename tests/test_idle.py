"""Idle motion: the same second always looks the same, blinks come and last as people's do, and all of it is small."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.idle import (
    BLINKS,
    CLOSING,
    GLANCE,
    LOOK,
    OPENING,
    SHUT,
    Idle,
    added,
    between,
    blink_time,
    breath,
    closure,
    posture,
    smooth,
)
from narrate_stream.ops.geometry import angles_from_rotation, rotation_from_angles
from narrate_stream.pipeline import still_motion
from narrate_stream.retarget import LID_OVERLAP, LOWER_LID_INDEX, UPPER_LID_INDEX
from narrate_stream.types import AvatarMotion, Pose

NEVER = -1e9
MINUTES = np.arange(0, 300, 1 / 120)


def test_blinks_come_every_two_to_six_seconds() -> None:
    for seed in range(5):
        gaps = np.diff([blink_time(k, seed) for k in range(-50, 400)])
        assert gaps.min() >= 2
        assert gaps.max() <= 6
        assert gaps.mean() == pytest.approx(BLINKS, abs=0.1)
        assert gaps.std() > 0.4


def test_a_blink_shuts_fully_and_lasts_a_fifth_of_a_second() -> None:
    lids = np.array([closure(t, NEVER, 3) for t in MINUTES])
    assert lids.min() == 0
    assert lids.max() == 1
    edges = np.flatnonzero(np.diff((lids > 0).astype(int)))
    lengths = (edges[1::2] - edges[::2]) / 120
    assert ((lengths > 0.12) & (lengths <= 0.2 + 1 / 120)).all()
    assert OPENING > CLOSING  # lids fall faster than they rise
    assert SHUT >= 0.03  # a clip of 30 frames a second shows nearly every one shut


def test_every_blink_is_seen_shut_at_30_frames_a_second() -> None:
    seen = [
        max(closure(k / 30, NEVER, 0) for k in range(int(30 * t), int(30 * t) + 9)) for t in map(at_zero, range(60))
    ]
    assert min(seen) > 0.9


def at_zero(number: int) -> float:
    return blink_time(number, 0)


def test_no_blink_is_cut_in() -> None:
    begun = blink_time(7, 1)
    assert closure(begun + 0.08, begun + 0.05, 1) == 0
    assert closure(begun + 0.08, begun - 0.05, 1) == 1


def test_about_fifteen_breaths_a_minute() -> None:
    air = np.array([breath(t, 2) for t in MINUTES])
    ups = int((np.diff(np.sign(air)) > 0).sum())
    assert ups == pytest.approx(75, abs=3)
    assert air.min() < -0.99
    assert air.max() > 0.99


def test_it_is_a_function_of_time_and_seed(model: HybridModel) -> None:
    one, other = Idle(model, seed=4), Idle(model, seed=4)
    for t in (17.3, 2.0, 17.3):  # in any order
        a, b = one(t, NEVER), other(t, NEVER)
        assert np.array_equal(a.offsets, b.offsets)
        assert np.array_equal(a.pose.rotation, b.pose.rotation)
        assert a.breath == b.breath
    assert not np.allclose(one(5.0, NEVER).pose.rotation, Idle(model, seed=5)(5.0, NEVER).pose.rotation, atol=1e-4)


def test_it_is_calm_and_never_jumps() -> None:
    bodies = [posture(t, NEVER) for t in MINUTES]
    angles, shift = np.array([b.angles for b in bodies]), np.array([b.shift for b in bodies])
    gaze = np.array([b.gaze for b in bodies])
    assert np.abs(angles).max() < 1.2
    assert angles.std(0).min() > 0.1
    assert np.abs(shift).max() < 0.2
    assert 0.05 < np.ptp(shift[:, 1]) < 0.15  # a millimetre
    assert np.abs(np.diff(angles, axis=0)).max() * 120 < 2  # degrees per second
    assert 0.08 < np.abs(gaze[:, 0]).max() <= GLANCE[0]
    assert np.median(np.abs(gaze[:, 0])) < LOOK[0]  # mostly it looks at the viewer
    assert np.abs(np.diff(gaze, axis=0)).max() < 0.09  # looks jump, but within several samples


def test_lids_keep_to_the_look() -> None:
    bodies = [posture(t, np.inf) for t in MINUTES]  # no blink has begun
    down, lids = np.array([-b.gaze[1] for b in bodies]), np.array([b.closure for b in bodies])
    assert down.max() > 0.04
    assert lids[down.argmax()] > 0.03
    assert (lids[down < 0] <= 0).all()


def test_the_portraits_own_lids_meet(model: HybridModel) -> None:
    idle = Idle(model)
    shut = idle(blink_time(3, 0) + CLOSING + SHUT / 2, NEVER)
    face = model.neutral[:468] + shut.offsets
    gap = face[UPPER_LID_INDEX, 1] - face[LOWER_LID_INDEX, 1]
    assert (gap < 0.02).all()
    assert (gap > -LID_OVERLAP - 0.02).all()
    wide = idle(blink_time(3, 0) - 0.1, NEVER)
    open_lids = np.setdiff1d(np.flatnonzero(wide.offsets.any(1)), np.flatnonzero(shut.offsets.any(1)))
    assert not len(open_lids)
    assert np.abs(wide.offsets).max() < 0.12 * np.abs(shut.offsets).max()  # no more than a look moves them


def test_mixing_motions() -> None:
    rest = still_motion()
    more = between(rest, rest, 0.5)
    assert np.array_equal(more.pose.rotation, np.eye(3, dtype=np.float32))
    turned = AvatarMotion(
        Pose(rotated(10), np.array([2, 0, 0], np.float32)), rest.offsets + 1, rest.gaze, rest.jaw, breath=0.4
    )
    half = between(rest, turned, 0.5)
    assert angles_from_rotation(half.pose.rotation)[0] == pytest.approx(5, abs=1e-3)
    assert half.pose.translation[0] == pytest.approx(1)
    assert half.offsets == pytest.approx(0.5)
    assert half.breath == pytest.approx(0.2)
    twice = added(turned, turned, 1.0)
    assert angles_from_rotation(twice.pose.rotation)[0] == pytest.approx(20, abs=1e-3)
    assert twice.offsets == pytest.approx(2)
    assert added(rest, turned, 0.0) is rest
    assert (smooth(-1), smooth(0.5), smooth(2)) == (0, 0.5, 1)


def rotated(yaw: float) -> np.ndarray:
    return rotation_from_angles(yaw, 0, 0).astype(np.float32)
