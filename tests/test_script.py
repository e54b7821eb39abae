"""Scripted motion: the document, its checks, the source's clock and what the channels do to the face."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from narrate_stream.drivers.channels import CHANNELS, basis, expressive_face, jaw_weights, mirrored
from narrate_stream.drivers.script import Script, ScriptDriver, ScriptSource, load_script, parse_script, talking_script
from narrate_stream.errors import MotionError
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.retarget import gaze_of, lid_openings
from narrate_stream.types import Frame, Motion

BOTH = ("Left", "Right")


def document(*frames: dict[str, Any], fps: float = 30) -> dict[str, Any]:
    return {"version": 1, "fps": fps, "frames": list(frames)}


def motion_of(script: Script, seconds: float) -> Motion:
    motion = ScriptDriver(script)(Frame(np.zeros((64, 64, 3), np.uint8), round(seconds * 1000), Fraction(1, 1000)))
    assert motion is not None
    return motion


# ------------------------------------------------------------------ the document


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        ({"version": 3}, "version must be 1 or 2, not 3"),
        ({"version": True}, "version must be 1 or 2"),
        ({"version": [2]}, "version must be 1 or 2, not [2]"),
        ({"neutral": 3}, "neutral must be an object, not 3"),
        ({"neutral": {"yaw": 999}}, "neutral.yaw must be a number from -180 to 180, not 999"),
        ({"frames": [{"time": 0, "confidence": "x"}]}, "frames[0].confidence must be a number from 0 to 1"),
        ({"fps": 0}, "fps must be a number from 1 to 480, not 0"),
        ({"fps": "30"}, "fps must be a number"),
        ({"frames": []}, "frames must be a list with at least one entry"),
        ({"frames": {"time": 0}}, "frames must be a list"),
        ({"speed": 2}, "the script has an unknown entry 'speed'; known are version, fps, neutral, frames"),
        ({"frames": [7]}, "frames[0] must be an object, not 7"),
        ({"frames": [{"pose": {}}]}, "frames[0] has no time"),
        ({"frames": [{"time": -1}]}, "frames[0].time must be a number from 0 to 3600, not -1"),
        ({"frames": [{"time": 0}, {"time": 0}]}, "frames[1].time must be later than 0, not 0"),
        ({"frames": [{"time": 0, "pose": {"yow": 3}}]}, "frames[0].pose has an unknown entry 'yow'"),
        ({"frames": [{"time": 0, "pose": {"yaw": True}}]}, "frames[0].pose.yaw must be a number"),
        ({"frames": [{"time": 0, "pose": {"z": 60}}]}, "frames[0].pose.z must be a number from -900 to 50, not 60"),
        ({"frames": [{"time": 0, "gaze": {"x": 2.5}}]}, "frames[0].gaze.x must be a number from -2 to 2, not 2.5"),
        ({"frames": [{"time": 0, "expression": {"jawOpn": 1}}]}, "frames[0].expression has an unknown entry 'jawOpn'"),
        ({"frames": [{"time": 0, "expression": {"jawOpen": 2}}]}, "frames[0].expression.jawOpen must be a number"),
        ({"frames": [{"time": 0, "expression": [1]}]}, "frames[0].expression must be an object, not [1]"),
        ({"frames": [{"time": float("nan")}]}, "frames[0].time must be a number"),
        ({"frames": [{"time": 10**400}]}, "frames[0].time must be a number"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, Any], entry: str) -> None:
    path = tmp_path / "clip.json"
    path.write_text(json.dumps({**document({"time": 0}), **change}))
    with pytest.raises(MotionError, match=re.escape(entry)) as caught:
        load_script(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"version": ' + b"1" * 5000 + b"}", b"[]", b"null"]
)
def test_what_is_no_script_is_said_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "clip.json"
    path.write_bytes(data)
    with pytest.raises(MotionError, match=re.escape(str(path))):
        load_script(path)


def test_what_is_no_file_is_said_so(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.json"):
        with pytest.raises(MotionError, match="cannot be read"):
            load_script(path)


def test_everything_but_time_may_be_left_out() -> None:
    script = parse_script({"version": 1, "frames": [{"time": 0}]})
    assert script.fps == 30
    assert script.frames == 1
    assert np.allclose(motion_of(script, 0).landmarks, ScriptDriver(script).neutral.landmarks, atol=1e-6)


def test_a_script_of_version_1_still_plays() -> None:
    script = parse_script({"version": 1, "frames": [{"time": 0, "pose": {"yaw": 5}}, {"time": 1}]})
    assert motion_of(script, 0.5).confidence == 1
    assert angles_from_rotation(motion_of(script, 0).rotation) == pytest.approx([5, 0, 0], abs=1e-4)
    assert ScriptDriver(script).neutral.rotation == pytest.approx(np.eye(3))


def test_relative_motion_counts_from_the_neutral() -> None:
    script = parse_script({**document({"time": 0}), "neutral": {"yaw": 12, "z": -30}})
    neutral = ScriptDriver(script).neutral
    assert angles_from_rotation(neutral.rotation) == pytest.approx([12, 0, 0], abs=1e-4)
    assert neutral.translation == pytest.approx([0, 0, -90])


def test_nobody_is_seen_from_a_key_frame_without_confidence_to_the_next() -> None:
    yaw, nobody = {"pose": {"yaw": 8}}, {"confidence": 0}
    script = parse_script(document({"time": 0, **yaw}, {"time": 1, **nobody}, {"time": 2, "confidence": 0.5}))
    driver = ScriptDriver(script)

    def at(seconds: float) -> Motion | None:
        return driver(Frame(np.zeros((64, 64, 3), np.uint8), round(seconds * 1000), Fraction(1, 1000)))

    last = at(0.9)
    assert last is not None
    assert angles_from_rotation(last.rotation)[0] == pytest.approx(8, abs=1e-4)  # it does not drift to the lost one
    assert at(1.0) is None
    assert at(1.9) is None
    assert motion_of(script, 2.0).confidence == 0.5


@pytest.mark.parametrize("fps", [24, 25, 29.97, 30, 59.94, 60, 120])
def test_rounded_times_lose_no_frame(fps: float) -> None:
    rate = Fraction(fps).limit_denominator(1001)
    for count in (2, 30, 47, 300):
        frames = [{"time": round(float(i / rate), 5)} for i in range(count)]
        assert parse_script(document(*frames, fps=fps)).frames == count


def test_a_script_survives_its_own_file(tmp_path: Path) -> None:
    script = talking_script(2, seed=5)
    path = tmp_path / "talk.json"
    path.write_text(script.as_text())
    again = load_script(path)
    assert (again.fps, again.frames) == (script.fps, script.frames)
    for t in (0.0, 0.71, 1.9):
        assert np.allclose(motion_of(again, t).landmarks, motion_of(script, t).landmarks, atol=1e-3)
        assert np.allclose(motion_of(again, t).rotation, motion_of(script, t).rotation, atol=1e-4)


# ------------------------------------------------------------------ time


def test_between_key_frames_everything_moves_linearly() -> None:
    script = parse_script(
        document(
            {"time": 0, "pose": {"yaw": -10, "x": 1}},
            {"time": 2, "pose": {"yaw": 30, "x": 3}, "expression": {"jawOpen": 0.8}, "gaze": {"y": 1}},
        )
    )
    pose, face, gaze = script.at(0.5)
    assert pose[0] == pytest.approx(0)
    assert pose[3] == pytest.approx(1.5)
    assert face == {"jawOpen": pytest.approx(0.2)}
    assert gaze == (0, pytest.approx(0.25))
    assert script.at(-3)[0][0] == -10
    assert script.at(99)[0][0] == 30


def test_a_channel_that_a_key_frame_does_not_name_is_at_rest_there() -> None:
    script = parse_script(document({"time": 0, "expression": {"jawOpen": 1}}, {"time": 1}))
    assert script.at(1)[1]["jawOpen"] == 0


def test_the_source_keeps_the_clock_and_starts_again() -> None:
    source = ScriptSource(parse_script(document({"time": 0}, {"time": 1.0}, fps=29.97)))
    assert source.frames == 30
    first, second = [f.time for f in source], [f.time for f in source]
    assert first == second
    assert len(first) == source.frames
    assert np.diff(first) == pytest.approx(np.full(29, 1 / 29.97))
    frame = next(iter(source))
    assert frame.image.shape == (source.size[1], source.size[0], 3)
    assert float(source.fps) == pytest.approx(29.97, abs=1e-3)


# ------------------------------------------------------------------ motion


def test_pose_has_the_contracts_signs() -> None:
    script = parse_script(document({"time": 0, "pose": {"yaw": 20, "pitch": 10, "roll": 5, "x": 2, "y": 3, "z": 4}}))
    motion = motion_of(script, 0)
    assert angles_from_rotation(motion.rotation) == pytest.approx([20, 10, 5], abs=1e-4)
    assert motion.translation == pytest.approx([2, 3, -56])
    nose, middle = motion.pixels[4], motion.pixels[[234, 454]].mean(0)
    assert nose[0] > middle[0] + 1  # toward the image's right
    assert motion.size == (64, 64)


def test_gaze_moves_the_irises_right_and_up() -> None:
    rest, look = (expressive_face({}, g) for g in ((0.0, 0.0), (1.0, 1.0)))
    assert (gaze_of(look) - gaze_of(rest) > 0.08).all()
    inward = expressive_face({"eyeLookInRight": 1, "eyeLookInLeft": 1})
    change = (gaze_of(inward) - gaze_of(rest))[:, 0]
    assert change[0] > 0.08  # the subject's right eye, on the image's left, looks to the nose
    assert change[1] < -0.08


def test_upper_lids_keep_to_eyes_that_look_down() -> None:
    rest = expressive_face({})
    for y, least, most in ((-0.5, 0.15, 0.3), (-1.0, 0.3, 0.6), (-2.0, 0.4, 0.7), (1.0, -0.35, -0.15)):
        face = expressive_face({}, (0.0, y))
        drop = rest[[159, 386], 1] - face[[159, 386], 1]
        share = drop / lid_openings(rest)
        assert ((share >= least) & (share <= most)).all(), (y, share)
        if -1 <= y < 0:
            iris = rest[[468, 473], 1] - face[[468, 473], 1]
            assert drop == pytest.approx(0.75 * iris, rel=0.35)
        assert (lid_openings(face) > 0.46 * lid_openings(rest)).all()  # never taken for shut


def test_blink_shuts_one_eye_or_both() -> None:
    rest = lid_openings(expressive_face({}))
    assert (rest > 0.4).all()
    assert lid_openings(expressive_face({"eyeBlinkLeft": 1, "eyeBlinkRight": 1})) == pytest.approx([0, 0], abs=0.02)
    right, left = lid_openings(expressive_face({"eyeBlinkLeft": 1}))
    assert right == pytest.approx(rest[0], abs=0.01)
    assert left < 0.02
    half = lid_openings(expressive_face({"eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5}))
    assert half == pytest.approx(rest / 2, rel=0.15)


def test_the_fold_follows_the_lid_half_way() -> None:
    rest, shut = expressive_face({}), expressive_face({"eyeBlinkRight": 1})
    assert (rest - shut)[27, 1] == pytest.approx((rest - shut)[159, 1] / 2, rel=0.1)


def test_jaw_opens_down_and_back_and_leaves_the_upper_face() -> None:
    rest, wide = expressive_face({}), expressive_face({"jawOpen": 1})
    move = wide - rest
    assert move[152, 1] < -2
    assert move[152, 2] < 0
    assert move[14, 1] < -2
    assert np.abs(move[[13, 0, 4, 10, 33, 263, 159, 105]]).max() < 0.02
    weight = jaw_weights()
    assert weight.min() >= 0
    assert weight.max() <= 1
    together = expressive_face({"jawOpen": 0.6, "mouthClose": 1})
    assert np.linalg.norm(together[13] - together[14]) < 0.1


def test_smile_and_pucker_move_the_corners_apart_and_together() -> None:
    rest = expressive_face({})
    smile = expressive_face({"mouthSmileLeft": 1, "mouthSmileRight": 1}) - rest
    assert smile[291, 0] > 0.3  # out
    assert smile[291, 1] > 0.3  # up
    assert smile[291, 2] < -0.2  # back
    assert 0.1 < smile[425, 1] < 0.6  # the cheek goes along
    one = expressive_face({"mouthSmileRight": 1}) - rest
    assert np.abs(one[291]).max() < 0.02
    width = [np.ptp(expressive_face({"mouthPucker": w})[[61, 291], 0]) for w in (0, 0.5, 1)]
    assert width[0] > width[1] + 0.5 > width[2] + 1
    assert (expressive_face({"mouthPucker": 1}) - rest)[0, 2] > 0.4


@pytest.mark.parametrize("name", CHANNELS)
def test_every_channel_is_smooth_bounded_and_never_crosses(name: str) -> None:
    rest, full = expressive_face({}), expressive_face({name: 1})
    move = (full - rest)[:468]
    limit = 4.2 if name == "jawOpen" else 1.3
    assert np.abs(move).max() < limit
    assert name == "tongueOut" or name == "mouthClose" or np.abs(full - rest).max() > 0.1
    a, b = canonical().triangles[:, [0, 1]].T
    stretch = np.linalg.norm(move[a] - move[b], axis=1) / (np.linalg.norm(rest[a] - rest[b], axis=1) + 0.3)
    assert stretch.max() < (2.2 if name == "jawOpen" else 1.0)  # neighbours stay neighbours
    assert full[159, 1] >= full[145, 1] - 1e-6
    assert full[13, 1] >= full[14, 1] - 0.02


def test_all_channels_at_once_stay_finite_and_apart() -> None:
    face = expressive_face(dict.fromkeys(CHANNELS, 1.0), (1.0, -1.0))
    assert np.isfinite(face).all()
    assert (lid_openings(face) < 0.6).all()


def test_left_is_the_mirror_of_right() -> None:
    names, fields = basis()
    for i, name in enumerate(names):
        if name.endswith("Right") and name not in ("jawRight", "mouthRight"):
            left = fields[names.index(name[:-5] + "Left")]
            assert np.allclose(mirrored(fields[i]), left)
            assert fields[i][:, 1:].any()


def test_an_unknown_channel_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="jawOpn"):
        expressive_face({"jawOpn": 1.0})


# ------------------------------------------------------------------ the demo


def test_talking_is_lively_and_believable() -> None:
    script = talking_script(12, seed=1)
    assert script.frames == 360
    track = {name: script.expression[:, i] for i, name in enumerate(script.names)}
    shut = track["eyeBlinkLeft"] > 0.95
    starts = np.flatnonzero(shut[1:] & ~shut[:-1]) / 30
    assert 3 <= len(starts) <= 6
    assert (np.diff(starts) > 1.9).all()
    assert (np.diff(starts) < 4.1).all()
    closed = (track["eyeBlinkLeft"] > 0.5).sum() / 30 / len(starts)
    assert 0.06 < closed < 0.22
    assert 0.25 < track["jawOpen"].max() <= 0.7
    assert (track["jawOpen"] < 0.05).mean() > 0.05  # it pauses
    assert np.abs(np.diff(track["jawOpen"])).max() < 0.25  # and never snaps
    assert 4 < np.ptp(script.pose[:, 0]) < 35
    assert np.abs(np.diff(script.pose[:, :3], axis=0)).max() < 3.0
    assert np.ptp(script.gaze[:, 0]) > 0.2
    assert track["browInnerUp"].max() > 0.2


def test_talking_begins_and_ends_at_rest_and_knows_its_seed() -> None:
    a, b, c = talking_script(5, 1), talking_script(5, 1), talking_script(5, 2)
    assert np.array_equal(a.pose, b.pose)
    assert not np.array_equal(a.pose, c.pose)
    for row in (0, -1):
        assert np.abs(a.pose[row]).max() < 1e-9
        assert a.expression[row].max() == 0
    for seconds in (0.1, 0.5, 1.0):
        assert talking_script(seconds, 3).frames == max(2, round(seconds * 30))
