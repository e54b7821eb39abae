"""THE JOURNEY of a frame: driver -> retarget -> renderer -> relighter -> fusion. Read `step` top to bottom."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np

from narrate_stream.backdrops import Backdrop
from narrate_stream.bundle import HybridModel
from narrate_stream.calibration import Calibration
from narrate_stream.dimmer import Dimmer
from narrate_stream.drivers.first_order import FirstOrderRetargeter
from narrate_stream.errors import DeviceError, LightError
from narrate_stream.fusion import fuse, head_framing, portrait_framing
from narrate_stream.lights import parse_light
from narrate_stream.ops.geometry import angles_from_rotation, rotation_from_angles
from narrate_stream.ops.grading import Grade
from narrate_stream.ops.lighting import Lighting, preset
from narrate_stream.presence import Presence, still_motion
from narrate_stream.protocols import Driver
from narrate_stream.rehearsal import rehearsed
from narrate_stream.relighters import ExactRelighter, LightMapRelighter
from narrate_stream.renderer import Renderer
from narrate_stream.retarget import Retargeter
from narrate_stream.room import Room
from narrate_stream.types import AvatarMotion, Frame, Image, Motion, Pose, View

__all__ = ["Pipeline", "require_device", "seen_from", "still_motion"]


class Pipeline:
    """Drives one model. `step` is called from one thread; the setters from any. Implements `protocols.Avatar`.

    size: side of the square (framing `head`) or longer side of the photograph (`portrait`, None: its own).
    transfer: how the driver's face is carried over, landmark by landmark or by first-order motion (paper, 5.1).
    Raises LightError for a light it cannot use, DeviceError for a device that is not there.
    """

    def __init__(
        self,
        model: HybridModel,
        *,
        size: int | None = 512,
        framing: Literal["head", "portrait"] = "head",
        motion: Literal["relative", "absolute"] = "relative",
        driver: Driver | None = None,
        transfer: Literal["mesh", "first-order"] = "mesh",
        light: str | Lighting = "original",
        grade: Grade | None = None,
        view: View | None = None,
        background: str = "relit",
        idle: bool = False,
        device: str = "cpu",
    ) -> None:
        require_device(device)
        self.model, self.driver = model, driver
        self.framing = head_framing(model, size or 512) if framing == "head" else portrait_framing(model, size)
        self.size = self.framing.size
        self.renderer = Renderer(model, self.framing, device)
        self.relighter: LightMapRelighter | ExactRelighter
        self.relighter = LightMapRelighter(model) if device == "cpu" else ExactRelighter(model, device)
        retargeter = FirstOrderRetargeter if transfer == "first-order" else Retargeter
        neutral = getattr(driver, "neutral", None)  # of what was not filmed
        self.retarget = retargeter(model, motion, framing=self.framing if neutral is None else None)
        self.stage_ms: dict[str, float] = {}
        self.view = view or View()
        self._room = Room()
        self._light_name, lighting = self._read_light(light)
        self._dimmer = Dimmer(lighting, grade)
        self._backdrop = Backdrop(model, self.framing, background)
        self._presence = Presence(model, idle)
        self._time: float | None = None
        self._calibrate = False
        self.calibration: Calibration | None = Calibration()  # None: the neutral is known before it plays
        if neutral is not None:
            self.calibration = None
            self.retarget.calibrate(neutral)

    # ---- the journey

    def step(self, frame: Frame) -> Frame:
        """One driving frame in, the avatar's frame of the same moment out."""
        start = time.perf_counter()
        motion = self.driver(frame) if self.driver else None
        self.stage_ms = {"track": 1000 * (time.perf_counter() - start)}
        return self.play(frame, motion)

    def play(self, frame: Frame, motion: Motion | None) -> Frame:
        """The rest of the journey, for motion that is known already."""
        marks = [time.perf_counter()]
        seconds = self._elapsed(frame)
        avatar = self.hold(seconds) if motion is None else self.follow(motion, seconds)
        lighting = self._lighting(frame, motion, seconds)
        marks.append(time.perf_counter())
        gbuffer = self.renderer(seen_from(avatar, self.view), albedo=not lighting.original)
        marks.append(time.perf_counter())
        face, fringe = self.relighter(gbuffer, lighting)
        marks.append(time.perf_counter())
        picture = fuse(face, fringe, gbuffer, self._backdrop(self._dimmer.goal, seconds))
        marks.append(time.perf_counter())
        spent = 1000 * np.diff(marks)
        self.stage_ms.update(zip(("motion", "render", "relight", "fuse"), map(float, spent), strict=True))
        return frame.with_image(picture)

    def follow(self, motion: Motion, seconds: float) -> AvatarMotion:
        """The avatar's motion while the driver's face is seen."""
        self._find_neutral(motion, seconds)
        return self._presence.follow(self.retarget(motion, seconds), seconds)

    def _find_neutral(self, motion: Motion, seconds: float) -> None:
        if self._calibrate:
            self.calibration = self.calibration or Calibration()
            self.calibration.set(motion)
            self.retarget.calibrate(motion)
            self._calibrate = False
        if self.calibration is None:
            return
        before = self.calibration.neutral
        neutral = self.calibration(motion, seconds)
        if neutral is not before:
            self.retarget.calibrate(neutral)

    def hold(self, seconds: float) -> AvatarMotion:
        """The avatar's motion while no face is seen: eases to the portrait, and then idles or stays there."""
        return self._presence.hold(self._time or 0.0, seconds)

    @property
    def motion(self) -> AvatarMotion:
        """The avatar's last motion, before the viewer's turn."""
        return self._presence.motion

    def rehearse(self, frames: Iterable[Frame], motions: list[Motion | None], fps: float) -> list[Motion | None]:
        """Offline: goes through a clip (at least one face, frames per second) before it plays, and returns the motions
        that are to be played; see `rehearsal`. Scripted motion is what it is."""
        self.calibration = None
        if getattr(self.driver, "neutral", None) is not None:
            return motions
        return rehearsed(self.retarget, self.framing, self._plainly, frames, motions, fps)

    def _plainly(self, motion: Motion) -> Image:
        """(H, W, 3) the avatar of this moment in the portrait's own light, seen from the front."""
        return self._shown(self.retarget(motion, 1.0), Lighting("original", original=True))

    def warm_up(self) -> None:
        """Goes once through what a frame may need (kernels, tables, threads), so that no frame waits for something that
        is loaded or made at its first use: a face that moves and creases, by a lamp and in the portrait's own light."""
        moved = replace(still_motion(), offsets=np.full((468, 3), 0.1, np.float32))
        for lighting in (preset("rembrandt"), Lighting("original", original=True)):
            self._shown(moved, lighting, creased=True)

    def _shown(self, avatar: AvatarMotion, lighting: Lighting, *, creased: bool = False) -> Image:
        """(H, W, 3) a picture on the side, before the photograph's own background; creased: with every crease."""
        gbuffer = self.renderer(avatar, albedo=not lighting.original)
        gbuffer = replace(gbuffer, creases=np.ones_like(gbuffer.creases)) if creased else gbuffer
        return fuse(*self.relighter(gbuffer, lighting), gbuffer, self._backdrop.picture("original", lighting))

    def _elapsed(self, frame: Frame) -> float:
        now, last = frame.time, self._time
        self._time = now
        return 1 / 30 if last is None or not 0 < now - last < 2 else now - last

    # ---- light

    def _lighting(self, frame: Frame, motion: Motion | None, seconds: float) -> Lighting:
        if self._light_name == "webcam" and motion is not None:
            room = self._room(frame.image, motion, seconds)
            if room is not None and room is not self._dimmer.aim:
                self._dimmer.set_light(room)
        return self._dimmer(seconds)

    # ---- live controls

    def set_light(self, light: str | Lighting) -> None:
        """Any LIGHT, or one made elsewhere; shows in the next frame and eases in. Raises LightError at once."""
        self._light_name, lighting = self._read_light(light)
        self._dimmer.set_light(lighting)

    def _read_light(self, light: str | Lighting) -> tuple[str, Lighting]:
        if isinstance(light, Lighting):
            return light.name, light
        if light != "webcam":
            return light, parse_light(light, self.model)
        if self.driver is None:
            raise LightError("webcam light needs a driver that sees a room")
        return light, self._room.light or Lighting("original", original=True)

    def set_grade(self, exposure: float | None = None, warmth: float | None = None, turn: float | None = None) -> None:
        """Exposure (stops), warmth (mired) and turn (degrees) of the light; None keeps what it is."""
        chosen = {"exposure": exposure, "warmth": warmth, "turn": turn}
        self._dimmer.set_grade(replace(self._dimmer.grade, **{k: v for k, v in chosen.items() if v is not None}))

    def set_view(self, view: View) -> None:
        """The viewer's turn of the head, degrees."""
        self.view = view

    def set_background(self, background: str) -> None:
        """Any BACKGROUND but `transparent`; eases in. Raises NarrateError for others."""
        self._backdrop.set(background)

    def set_idle(self, on: bool) -> None:
        """Whether the portrait breathes and blinks while no face is seen; fades in and out."""
        self._presence.idles = on

    def calibrate(self) -> None:
        """The next frame with a face is the driver's neutral."""
        self._calibrate = True

    def state(self) -> dict[str, Any]:
        """Light and grade, view, background, whether a face is followed, what of its pose is held back, how well its
        neutral is known: JSON-ready."""
        yaw, pitch, roll = (round(float(a), 1) for a in angles_from_rotation(self.motion.pose.rotation))
        return {
            "light": self._light_name,
            **asdict(self._dimmer.grade),
            "view": {"yaw": self.view.yaw, "pitch": self.view.pitch},
            "background": self._backdrop.kind,
            "tracking": self._presence.seen,
            "idle": self._presence.idles,
            "pose": {"yaw": yaw, "pitch": pitch, "roll": roll},
            "held_back": self._held_back(),
            "calibration": self._calibration(),
            "model": self.model.name,
        }

    def _calibration(self) -> dict[str, Any] | None:
        """How far the driver's neutral can be trusted, 0..1, and whether it was set by hand; None when it is known."""
        found = self.calibration
        return None if found is None else {"score": round(found.score, 2), "by_hand": found.by_hand}

    def _held_back(self) -> dict[str, float]:
        """Degrees of the driver's turn and cm of its way that the model does not follow; empty within its limits."""
        if not self._presence.seen:
            return {}
        asked = (*self.retarget.held_back, *self.retarget.held_shift)
        named = zip(("yaw", "pitch", "roll", "x", "y", "z"), asked, strict=True)
        return {name: round(float(angle), 1) for name, angle in named if abs(angle) >= 0.05}

    def close(self) -> None:
        """Frees the driver."""
        if self.driver is not None:
            self.driver.close()
            self.driver = None


def seen_from(motion: AvatarMotion, view: View) -> AvatarMotion:
    """The same motion with the viewer's turn added about the head's middle: the camera goes round, and with it all
    lights but the portrait's own."""
    if view.yaw == 0 and view.pitch == 0:
        return motion
    turn = rotation_from_angles(view.yaw, view.pitch, 0)
    pose = Pose((turn @ motion.pose.rotation).astype(np.float32), (turn @ motion.pose.translation).astype(np.float32))
    return replace(motion, pose=pose, view=turn.astype(np.float32))


def require_device(device: str) -> None:
    """Raises DeviceError unless Warp can run on this device; there is no silent way back to the CPU."""
    if device == "cpu":
        return
    import warp as wp

    wp.init()
    if device not in {d.alias for d in wp.get_devices()} | {"cuda"} or not wp.is_cuda_available():
        raise DeviceError(f"the device {device!r} is not available on this machine; `narrate doctor` lists what is")
