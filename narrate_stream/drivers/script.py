"""Scripted and recorded motion: a JSON file that drives an avatar, and the driver that plays it.

    {"version": 1, "fps": 30, "frames": [
        {"time": 0.0},
        {"time": 0.8, "pose": {"yaw": 12, "pitch": -4}, "expression": {"jawOpen": 0.4, "mouthSmileLeft": 0.3}},
        {"time": 1.6, "gaze": {"x": 0.5, "y": 0.0}}]}

version: 1. fps: frames per second of the clip that is made, 1..240 (30 when absent). frames: key frames in the order of
`time` (seconds from 0; the clip lasts until the last one). Between them everything moves linearly; what a key frame
does not name is at rest in it: the head straight, the face neutral, the look at the viewer.

Convention: pose yaw, pitch, roll in degrees as everywhere (`yaw` > 0 to the image's right, `pitch` > 0 up, `roll` > 0
clockwise), x, y, z in cm (right, up, nearer); expression: ARKit's names, 0..1, see `drivers.channels`; gaze x, y:
-1..1, to the image's right and up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.channels import CHANNELS, expressive_face
from narrate_stream.drivers.mesh import FOCAL_FACTOR, neutral_motion
from narrate_stream.drivers.speech import speaking
from narrate_stream.errors import MotionError
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.types import Frame, Motion

F64 = NDArray[np.float64]
VERSION = 1
POSE = ("yaw", "pitch", "roll", "x", "y", "z")
GAZE = ("x", "y")
LIMITS = {"yaw": 180.0, "pitch": 180.0, "roll": 180.0, "x": 40.0, "y": 40.0, "z": 40.0}
LONGEST = 3600.0  # seconds
LARGEST = 200_000_000  # bytes
SIZE = (64, 64)  # of the blank frames that carry the time
DISTANCE = 60.0  # cm from the camera to the head at rest, as `neutral_motion` has it


@dataclass(frozen=True)
class Script:
    """Motion over time: times (N,) seconds, ascending; pose (N, 6) in the order of POSE; gaze (N, 2); expression (N, C)
    of the C channels in `names`."""

    fps: Fraction
    times: F64
    pose: F64
    gaze: F64
    expression: F64
    names: tuple[str, ...]

    @property
    def frames(self) -> int:
        """How many pictures the clip has."""
        return int(np.floor(self.times[-1] * float(self.fps) + 1e-6)) + 1

    def at(self, seconds: float) -> tuple[F64, dict[str, float], tuple[float, float]]:
        """Pose (6,), expression by name and gaze at that time; before the first and after the last frame those hold."""
        t = self.times
        i = int(np.clip(np.searchsorted(t, seconds, "right") - 1, 0, max(len(t) - 2, 0)))
        j = min(i + 1, len(t) - 1)
        w = float(np.clip((seconds - t[i]) / (t[j] - t[i]), 0, 1)) if j > i else 0.0
        pose, gaze, face = (a[i] * (1 - w) + a[j] * w for a in (self.pose, self.gaze, self.expression))
        return pose, dict(zip(self.names, map(float, face), strict=True)), (float(gaze[0]), float(gaze[1]))

    def as_json(self) -> dict[str, Any]:
        """The document that `load_script` reads; zeros are left out."""
        rows = zip(self.times, self.pose, self.expression, self.gaze, strict=True)
        parts = (("pose", POSE), ("expression", self.names), ("gaze", GAZE))
        frames: list[dict[str, Any]] = []
        for time, *values in rows:
            entry: dict[str, Any] = {"time": round(float(time), 5)}
            for (part, names), row in zip(parts, values, strict=True):
                moved = {n: round(float(v), 5) for n, v in zip(names, row, strict=True) if abs(v) > 5e-6}
                if moved:
                    entry[part] = moved
            frames.append(entry)
        return {"version": VERSION, "fps": float(self.fps), "frames": frames}


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
    top = check.table(document, "the script", ("version", "fps", "frames"))
    if top.get("version") != VERSION or isinstance(top["version"], bool):
        raise check.error(f"version must be {VERSION}, not {top.get('version')!r}")
    fps = check.number(top.get("fps", 30), "fps", 1, 240)
    frames = top.get("frames")
    if not isinstance(frames, list) or not frames:
        raise check.error("frames must be a list with at least one entry")
    names: dict[str, int] = {}
    for entry in frames:
        found = entry.get("expression") if isinstance(entry, dict) else None
        for channel in found if isinstance(found, dict) else ():
            names.setdefault(channel, len(names))
    times, pose = np.zeros(len(frames)), np.zeros((len(frames), len(POSE)))
    gaze, expression = np.zeros((len(frames), 2)), np.zeros((len(frames), len(names)))
    for i, entry in enumerate(frames):
        where = f"frames[{i}]"
        fields = check.table(entry, where, ("time", "pose", "expression", "gaze"))
        if "time" not in fields:
            raise check.error(f"{where} has no time")
        times[i] = check.number(fields["time"], f"{where}.time", 0, LONGEST)
        if i and times[i] <= times[i - 1]:
            raise check.error(f"{where}.time must be later than {times[i - 1]:g}, not {times[i]:g}")
        for key, value in check.table(fields.get("pose", {}), f"{where}.pose", POSE).items():
            pose[i, POSE.index(key)] = check.number(value, f"{where}.pose.{key}", -LIMITS[key], LIMITS[key])
        for key, value in check.table(fields.get("gaze", {}), f"{where}.gaze", GAZE).items():
            gaze[i, GAZE.index(key)] = check.number(value, f"{where}.gaze.{key}", -1, 1)
        for key, value in check.table(fields.get("expression", {}), f"{where}.expression", CHANNELS).items():
            expression[i, names[key]] = check.number(value, f"{where}.expression.{key}", 0, 1)
    return Script(Fraction(fps).limit_denominator(1001), times, pose, gaze, expression, tuple(names))


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
        self.neutral = neutral_motion()

    @classmethod
    def from_script(cls, script: Script) -> ScriptDriver:
        """Plays a script that is not in a file."""
        return cls(script)

    def __call__(self, frame: Frame) -> Motion:
        """The motion at `frame.time`."""
        (yaw, pitch, roll, x, y, z), weights, gaze = self.script.at(frame.time)
        rotation, translation = rotation_from_angles(yaw, pitch, roll), np.array([x, y, z - DISTANCE])
        face = expressive_face(weights, gaze)
        h, w = frame.image.shape[:2]
        camera = Camera(FOCAL_FACTOR * max(w, h), (w - 1) / 2, (h - 1) / 2)
        return Motion(
            rotation=rotation.astype(np.float32),
            translation=translation.astype(np.float32),
            landmarks=face.astype(np.float32),
            pixels=camera.project(face @ rotation.T + translation).astype(np.float32),
            size=(w, h),
        )

    def close(self) -> None:
        """Nothing to free."""


def talking_script(seconds: float, seed: int = 0, fps: int = 30) -> Script:
    """Somebody speaking to the viewer, different for every seed; it begins and ends at rest. See `drivers.speech`."""
    take = speaking(seconds, seed, fps)
    names = tuple(take.face)
    face = np.stack([take.face[name] for name in names], -1)
    return Script(Fraction(fps), take.times, take.pose, take.gaze, face, names)
