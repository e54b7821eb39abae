"""Recording: channels that were played are found again, and nothing of the face gets into the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.cli import main
from narrate_stream.drivers.record import Moment, box_fit, record
from narrate_stream.drivers.script import LONGEST, Script, ScriptDriver, ScriptSource, load_script, talking_script
from narrate_stream.errors import MotionError
from narrate_stream.retarget import Retargeter, gaze_of, lid_openings, most_neutral, with_usual_eyes
from narrate_stream.types import Motion

FPS = Fraction(30)


@pytest.fixture(scope="module")
def script() -> Script:
    return talking_script(4, seed=3)


@pytest.fixture(scope="module")
def moments(script: Script) -> list[Moment]:
    driver = ScriptDriver(script)
    return [(frame.time, driver(frame)) for frame in ScriptSource(script)]


@pytest.fixture(scope="module")
def recording(moments: list[Moment]) -> Script:
    return record(moments, FPS)


def tracks(script: Script) -> dict[str, np.ndarray]:
    """(F,) what one sees of the face at every frame."""
    driver = ScriptDriver(script)
    seen = [m.landmarks for frame in ScriptSource(script) if (m := driver(frame)) is not None]
    faces = np.array(seen, np.float64)
    gaze = np.array([gaze_of(face).mean(0) for face in faces])
    return {
        "lids": np.array([lid_openings(face).mean() for face in faces]),
        "mouth": faces[:, 13, 1] - faces[:, 14, 1],
        "width": np.linalg.norm(faces[:, 61] - faces[:, 291], axis=-1),
        "smile": faces[:, [61, 291], 1].mean(1),
        "brows": faces[:, [105, 334], 1].mean(1),
        "gaze_x": gaze[:, 0],
        "gaze_y": gaze[:, 1],
    }


def test_what_was_played_is_found_again(script: Script, recording: Script) -> None:
    assert recording.frames == script.frames
    assert recording.pose == pytest.approx(script.pose, abs=2e-4)
    played, found = tracks(script), tracks(recording)
    for name, track in played.items():
        if name.startswith("gaze"):  # a detector sees no gaze behind shut lids
            keep = played["lids"] > 0.6 * np.median(played["lids"])
            track, found[name] = track[keep], found[name][keep]
        assert np.corrcoef(track, found[name])[0, 1] > 0.97, name
        assert np.ptp(found[name]) / np.ptp(track) == pytest.approx(1, abs=0.15), name


def test_channels_stay_what_they_are_called(script: Script, recording: Script) -> None:
    jaw = dict(zip(recording.names, recording.expression.T, strict=True))["jawOpen"]
    asked = dict(zip(script.names, script.expression.T, strict=True))["jawOpen"]
    assert np.corrcoef(jaw, asked)[0, 1] > 0.95
    assert recording.expression.min() >= 0
    assert recording.expression.max() <= 1


def test_an_avatar_follows_the_recording_as_it_follows_the_driver(
    model: HybridModel, moments: list[Moment], recording: Script
) -> None:
    direct, played = Retargeter(model), Retargeter(model)
    seen = [motion for _, motion in moments if motion is not None]
    calm = most_neutral(seen)
    # not rehearsed: of a script, unlike a clip, nobody knows beforehand whether it speaks
    direct.calibrate(replace(calm, landmarks=with_usual_eyes(calm, seen)))
    driver = ScriptDriver(recording)
    played.calibrate(driver.neutral)
    a = [direct(m, 1 / 30) for m in seen]
    b = [played(m, 1 / 30) for frame in ScriptSource(recording) if (m := driver(frame)) is not None]
    assert np.array([x.pose.rotation for x in b]) == pytest.approx(np.array([x.pose.rotation for x in a]), abs=1e-4)
    for landmark in (14, 61, 159):
        x, y = (np.array([m.offsets[landmark, 1] for m in side]) for side in (a, b))
        assert np.corrcoef(x, y)[0, 1] > 0.95
        assert np.ptp(y) / np.ptp(x) == pytest.approx(1, abs=0.15)


def larger(motion: Motion) -> Motion:
    """The same moment of somebody with a larger face, who looks as large from farther away."""
    k = np.float32(1.12)
    return replace(motion, landmarks=motion.landmarks * k, translation=motion.translation * k)


def test_a_larger_face_farther_away_records_the_same(moments: list[Moment], recording: Script) -> None:
    wide = record([(t, None if m is None else larger(m)) for t, m in moments], FPS)
    assert wide.pose == pytest.approx(recording.pose, abs=1e-3)
    a, b = tracks(recording), tracks(wide)
    for name in ("lids", "mouth", "width", "gaze_x"):
        assert np.corrcoef(a[name], b[name])[0, 1] > 0.99
        assert np.ptp(b[name]) / np.ptp(a[name]) == pytest.approx(1, abs=0.05)


def test_a_lost_face_is_recorded_as_lost_and_played_as_lost(moments: list[Moment], tmp_path: Path) -> None:
    some = [(t, None if 10 <= i < 20 else m) for i, (t, m) in enumerate(moments[:40])]
    path = tmp_path / "m.json"
    path.write_text(record(some, FPS).as_text())
    again = load_script(path)
    driver = ScriptDriver(again)
    seen = [driver(frame) is not None for frame in ScriptSource(again)]
    assert seen == [not 10 <= i < 20 for i in range(40)]
    before = driver(list(ScriptSource(again))[9])
    assert before is not None
    assert before.landmarks == pytest.approx(moments[9][1].landmarks, abs=0.25)  # type: ignore[union-attr]


def test_the_file_holds_channels_and_nothing_else(recording: Script) -> None:
    document = json.loads(recording.as_text())
    assert set(document) <= {"version", "fps", "neutral", "frames"}
    keys = {key for frame in document["frames"] for key in frame}
    assert keys <= {"time", "pose", "expression", "gaze", "confidence"}
    assert json.loads(json.dumps(recording.as_json())) == document


def test_times_begin_at_zero_and_only_go_on(moments: list[Moment]) -> None:
    late = [(7 + t, m) for t, m in moments[:5]]
    twice = [late[0], late[0], *late[1:], (7.05, late[0][1])]
    assert record(twice, FPS).times == pytest.approx([t for t, _ in moments[:5]])


def test_what_cannot_be_recorded(moments: list[Moment]) -> None:
    for none in ([], [(0.0, None), (1.0, None)]):
        with pytest.raises(MotionError, match="no face"):
            record(none, FPS)
    with pytest.raises(MotionError, match="longer than 60 minutes"):
        record([moments[0], (LONGEST + 1, None)], FPS)


def test_the_fit_stays_in_its_box() -> None:
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(4, 30))
    truth = np.array([[0.2, 0.9, 0.0, 1.0], [0.5, 0.0, 0.3, 0.0]])
    aims = truth @ basis
    found = box_fit(basis @ basis.T, aims @ basis.T, np.zeros((2, 4)))
    assert found == pytest.approx(truth, abs=1e-3)
    far = box_fit(basis @ basis.T, (3 * aims) @ basis.T, np.zeros((2, 4)))
    assert far.min() >= 0
    assert far.max() <= 1


# ------------------------------------------------------------------ the command


def test_narrate_track_writes_what_render_reads(script: Script, tmp_path: Path) -> None:
    """Any driver will do: here the one that plays scripts."""
    clip, out = tmp_path / "talk.json", tmp_path / "motion.json"
    clip.write_text(script.as_text())
    assert main(["track", str(clip), "-o", str(out)]) == 0
    assert load_script(out).frames == script.frames
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"version": 2, "frames": [{"time": 0, "confidence": 0}]}, "no face is found in any frame"),
        ({"version": 2, "frames": [{"time": 0, "confidence": 2}]}, "frames[0].confidence must be a number from 0 to 1"),
    ],
)
def test_what_cannot_be_tracked_is_one_sentence(
    content: dict[str, Any], words: str, tmp_path: Path, sentence: Callable[[], str]
) -> None:
    clip, out = tmp_path / "talk.json", tmp_path / "motion.json"
    clip.write_text(json.dumps(content))
    assert main(["track", str(clip), "-o", str(out)]) == 1
    said = sentence()
    assert words in said
    assert str(clip) in said
    assert not out.exists()


def test_a_recording_needs_a_sound_name(script: Script, tmp_path: Path, sentence: Callable[[], str]) -> None:
    clip = tmp_path / "talk.json"
    clip.write_text(script.as_text())
    assert main(["track", str(clip), "-o", str(tmp_path / "motion.txt")]) == 1
    assert "must end in .json" in sentence()
