"""Scripted and recorded motion: a JSON file that drives an avatar, and the driver that plays it.

    {"version": 2, "fps": 30, "neutral": {"yaw": 2.0, "z": -5.0}, "frames": [
        {"time": 0.0},
        {"time": 0.8, "pose": {"yaw": 12, "pitch": -4}, "expression": {"jawOpen": 0.4, "mouthSmileLeft": 0.3}},
        {"time": 1.2, "confidence": 0},
        {"time": 1.6, "gaze": {"x": 0.5, "y": 0.0}}]}

version: 2 (1 is read too: it had neither `neutral` nor `confidence`). fps: frames per second of the clip that is made,
1..480 (30 when absent). frames: key frames in the order of `time` (seconds from 0; the clip lasts until the last one).
Between them everything moves linearly; what a key frame does not name is at rest in it: the head straight, the face
neutral, the look at the viewer. confidence: 0..1, how surely a recorded face was seen (1 when absent); from a key frame
with 0 until the next nobody is seen, and the avatar does what it does when a driver leaves. neutral: the pose that
relative motion counts from, straight when absent: a recorded head's usual pose and place.

`narrate track CLIP -o MOTION.json` writes such files (see `drivers.record`). They hold these channels only: no
pictures, no landmarks, no proportions of a face.

Convention: pose yaw, pitch, roll in degrees as everywhere (`yaw` > 0 to the image's right, `pitch` > 0 up, `roll` > 0
clockwise), x, y, z in cm (right, up, nearer), 0 being 60 cm before the camera; expression: ARKit's names, 0..1, see
`drivers.channels`; gaze x, y to the image's right and up: 1 is as far as eyes like to turn, 2 the most.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.channels import CHANNELS, expressive_face
from narrate_stream.drivers.mesh import FOCAL_FACTOR
from narrate_stream.drivers.speech import speaking
from narrate_stream.errors import MotionError
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.types import Frame, Motion

F64 = NDArray[np.float64]
VERSION = 2
READABLE = (1, 2)
POSE = ("yaw", "pitch", "roll", "x", "y", "z")
GAZE = ("x", "y")
LIMITS = {"yaw": (-180.0, 180.0), "pitch": (-180.0, 180.0), "roll": (-180.0, 180.0),
          "x": (-500.0, 500.0), "y": (-500.0, 500.0), "z": (-900.0, 50.0)}  # fmt: skip
GAZE_LIMIT = 2.0
LATE = 0.01  # of a frame: how early a rounded time may be and still count
LONGEST = 3600.0  # seconds
FASTEST = 480.0  # frames per second
LARGEST = 200_000_000  # bytes
SIZE = (64, 64)  # of the blank frames that carry the time
DISTANCE = 60.0  # cm from the camera to the head at rest, as `neutral_motion` has it


@dataclass(frozen=True)
class Script:
    """Motion over time: times (N,) seconds, ascending; pose (N, 6) in the order of POSE; gaze (N, 2); expression (N, C)
    of the C channels in `names`; confidence (N,) 0..1, 0 where nobody is seen; neutral (6,) the pose at rest."""

    fps: Fraction
    times: F64
    pose: F64
    gaze: F64
    expression: F64
    names: tuple[str, ...]
    confidence: F64
    neutral: F64

    @property
    def frames(self) -> int:
        """How many pictures the clip has."""
        return int(np.floor(self.times[-1] * float(self.fps) + LATE)) + 1

    def _between(self, seconds: float) -> tuple[int, int, float]:
        """The key frames before and after that time and the later one's weight; one where nobody is seen weighs
        nothing."""
        t = self.times
        i = int(np.clip(np.searchsorted(t, seconds + LATE / float(self.fps), "right") - 1, 0, len(t) - 1))
        j = min(i + 1, len(t) - 1)
        seen = j > i and self.confidence[j] > 0
        return i, j, float(np.clip((seconds - t[i]) / (t[j] - t[i]), 0, 1)) if seen else 0.0

    def confidence_at(self, seconds: float) -> float:
        """How surely a face is seen at that time: 0 is not at all."""
        i, j, w = self._between(seconds)
        return float(self.confidence[i] and self.confidence[i] * (1 - w) + self.confidence[j] * w)

    def at(self, seconds: float) -> tuple[F64, dict[str, float], tuple[float, float]]:
        """Pose (6,), expression by name and gaze at that time; before the first and after the last frame those hold."""
        i, j, w = self._between(seconds)
        pose, gaze, face = (a[i] * (1 - w) + a[j] * w for a in (self.pose, self.gaze, self.expression))
        return pose, dict(zip(self.names, map(float, face), strict=True)), (float(gaze[0]), float(gaze[1]))

    def as_json(self) -> dict[str, Any]:
        """The document that `load_script` reads; zeros are left out."""
        rows = zip(self.times, self.confidence, self.pose, self.expression, self.gaze, strict=True)
        parts = (("pose", POSE), ("expression", self.names), ("gaze", GAZE))
        frames: list[dict[str, Any]] = []
        for time, confidence, *values in rows:
            entry: dict[str, Any] = {"time": round(float(time), 5)}
            if confidence < 1:
                entry["confidence"] = round(float(confidence), 4)
            for (part, names), row in zip(parts, values, strict=True):
                if moved := _moved(names, row):
                    entry[part] = moved
            frames.append(entry)
        rest = {"neutral": moved} if (moved := _moved(POSE, self.neutral)) else {}
        return {"version": VERSION, "fps": float(self.fps), **rest, "frames": frames}

    def as_text(self) -> str:
        """The same as text, a line for every key frame."""
        document = self.as_json()
        lines = ",\n".join(json.dumps(frame) for frame in document.pop("frames"))
        return f'{json.dumps(document)[:-1]}, "frames": [\n{lines}\n]}}\n'


def _moved(names: tuple[str, ...], row: F64) -> dict[str, float]:
    """What is not at rest, by name."""
    return {n: round(float(v), 4) for n, v in zip(names, row, strict=True) if abs(v) >= 5e-5}


def load_script(path: Path | str) -> Script:
    """Reads and checks a script. Raises MotionError, one sentence with the file and the entry."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise MotionError(f"{path} is larger than {LARGEST // 1_000_000} MB")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise MotionError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise MotionError(f"{path} is no motion script: not valid JSON ({error})") from error
    return parse_script(document, str(path))


def parse_script(document: Any, name: str = "script") -> Script:
    """The script in a JSON document. Raises MotionError; `name` begins its sentence."""
    check = _Check(name)
    top = check.table(document, "the script", ("version", "fps", "neutral", "frames"))
    if top.get("version") not in READABLE or isinstance(top["version"], bool):
        raise check.error(f"version must be 1 or 2, not {_short(top.get('version'))}")
    frames = top.get("frames")
    if not isinstance(frames, list) or not frames:
        raise check.error("frames must be a list with at least one entry")
    fps = check.number(top.get("fps", 30), "fps", 1, FASTEST)
    names = _channels(frames)
    shown = [check.frame(entry, f"frames[{i}]", names) for i, entry in enumerate(frames)]
    times, confidence, pose, expression, gaze = (np.array(column, np.float64) for column in zip(*shown, strict=True))
    for i, (before, time) in enumerate(pairwise(times), 1):
        if time <= before:
            raise check.error(f"frames[{i}].time must be later than {before:g}, not {time:g}")
    neutral = np.array(check.row(top.get("neutral", {}), "neutral", POSE, LIMITS))
    return Script(Fraction(fps).limit_denominator(1001), times, pose, gaze, expression, names, confidence, neutral)


def _channels(frames: list[Any]) -> tuple[str, ...]:
    """The channels that any frame names, in the order of their first use."""
    faces = (entry.get("expression") for entry in frames if isinstance(entry, dict))
    return tuple(dict.fromkeys(name for face in faces if isinstance(face, dict) for name in face))


class _Check:
    """Finds what is wrong with an entry and says where."""

    def __init__(self, name: str) -> None:
        self.name = name

    def error(self, what: str) -> MotionError:
        return MotionError(f"{self.name}: {what}")

    def table(self, value: Any, where: str, known: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(f"{where} must be an object, not {_short(value)}")
        for key in value:
            if key not in known:
                near = ", ".join(known) if len(known) < 12 else "ARKit's names, like jawOpen or eyeBlinkLeft"
                raise self.error(f"{where} has an unknown entry {_short(key)}; known are {near}")
        return value

    def frame(self, entry: Any, where: str, names: tuple[str, ...]) -> tuple[Any, ...]:
        """time, confidence, pose, expression (by `names`) and gaze of one key frame."""
        fields = self.table(entry, where, ("time", "confidence", "pose", "expression", "gaze"))
        if "time" not in fields:
            raise self.error(f"{where} has no time")
        self.table(fields.get("expression", {}), f"{where}.expression", CHANNELS)
        return (
            self.number(fields["time"], f"{where}.time", 0, LONGEST),
            self.number(fields.get("confidence", 1.0), f"{where}.confidence", 0, 1),
            self.row(fields.get("pose", {}), f"{where}.pose", POSE, LIMITS),
            self.row(fields.get("expression", {}), f"{where}.expression", names, dict.fromkeys(names, (0.0, 1.0))),
            self.row(fields.get("gaze", {}), f"{where}.gaze", GAZE, dict.fromkeys(GAZE, (-GAZE_LIMIT, GAZE_LIMIT))),
        )

    def row(
        self, value: Any, where: str, names: tuple[str, ...], limits: Mapping[str, tuple[float, float]]
    ) -> list[float]:
        """Numbers by name as a list in the order of `names`, 0 for those that are not given."""
        given = self.table(value, where, names)
        return [self.number(given.get(name, 0.0), f"{where}.{name}", *limits[name]) for name in names]

    def number(self, value: Any, where: str, low: float, high: float) -> float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not good or not low <= value <= high:
            raise self.error(f"{where} must be a number from {low:g} to {high:g}, not {_short(value)}")
        return float(value)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        text = "a huge number"
    return text if len(text) <= 40 else f"{text[:37]}..."


class ScriptSource:
    """Blank frames at the script's rate that carry its time; again from the start with every `iter`.

    size: (width, height) of the blank picture; fps; frames: how many.
    """

    def __init__(self, script: Path | str | Script) -> None:
        self.script = script if isinstance(script, Script) else load_script(script)
        self.fps, self.frames, self.size = self.script.fps, self.script.frames, SIZE

    def __iter__(self) -> Iterator[Frame]:
        blank = np.full((SIZE[1], SIZE[0], 3), 127, np.uint8)
        blank.flags.writeable = False
        return (Frame(blank, i, 1 / self.fps) for i in range(self.frames))


class ScriptDriver:
    """`Driver` that looks at a frame's time and plays the script's motion of that moment.

    neutral: the face at rest, which the pipeline takes for the driver's reference.
    """

    def __init__(self, script: Path | str | Script) -> None:
        self.script = script if isinstance(script, Script) else load_script(script)
        self.neutral = posed_motion(self.script.neutral, SIZE)

    @classmethod
    def from_script(cls, script: Script) -> ScriptDriver:
        """Plays a script that is not in a file."""
        return cls(script)

    def __call__(self, frame: Frame) -> Motion | None:
        """The motion at `frame.time`, None where the script says that nobody was seen."""
        confidence = self.script.confidence_at(frame.time)
        if confidence <= 0:
            return None
        pose, weights, gaze = self.script.at(frame.time)
        h, w = frame.image.shape[:2]
        return posed_motion(pose, (w, h), weights, gaze, confidence)

    def close(self) -> None:
        """Nothing to free."""


def posed_motion(
    pose: F64,
    size: tuple[int, int],
    weights: Mapping[str, float] | None = None,
    gaze: tuple[float, float] = (0.0, 0.0),
    confidence: float = 1.0,
) -> Motion:
    """What a driver sees of the canonical face: pose (6,) in the order of POSE, size (W, H) of the frame in pixels,
    channels and gaze as in a script."""
    yaw, pitch, roll, *place = map(float, pose)
    rotation, translation = rotation_from_angles(yaw, pitch, roll), np.array(place) - [0, 0, DISTANCE]
    face = expressive_face(weights or {}, gaze)
    w, h = size
    camera = Camera(FOCAL_FACTOR * max(w, h), (w - 1) / 2, (h - 1) / 2)
    return Motion(
        rotation=rotation.astype(np.float32),
        translation=translation.astype(np.float32),
        landmarks=face.astype(np.float32),
        pixels=camera.project(face @ rotation.T + translation).astype(np.float32),
        size=size,
        confidence=confidence,
    )


def talking_script(seconds: float, seed: int = 0, fps: int = 30) -> Script:
    """Somebody speaking to the viewer, different for every seed; it begins and ends at rest. See `drivers.speech`."""
    take = speaking(seconds, seed, fps)
    names = tuple(take.face)
    face = np.stack([take.face[name] for name in names], -1)
    return Script(Fraction(fps), take.times, take.pose, take.gaze, face, names, np.ones(take.count), np.zeros(6))
