"""THE JOURNEY of a frame: driver -> retarget -> renderer -> relighter -> fusion. Read `step` top to bottom."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from narrate_stream.bundle import HybridModel
from narrate_stream.errors import DeviceError, LightError
from narrate_stream.fusion import background_of, fuse, head_framing, portrait_framing
from narrate_stream.lights import light_on_face, parse_light
from narrate_stream.ops.geometry import angles_from_rotation, rotation_from_angles
from narrate_stream.ops.lighting import Lighting
from narrate_stream.presence import Presence, still_motion
from narrate_stream.protocols import Driver
from narrate_stream.relighters import ExactRelighter, LightMapRelighter, blended
from narrate_stream.renderer import Renderer
from narrate_stream.retarget import Retargeter
from narrate_stream.types import AvatarMotion, Frame, Motion, Pose, View

__all__ = ["Pipeline", "require_device", "seen_from", "still_motion"]

EASE = 0.18  # seconds in which a new light fades in
ROOM = 1.0  # seconds over which the driver's room light is averaged


class Pipeline:
    """Drives one model. `step` is called from one thread; the setters from any. Implements `protocols.Avatar`.

    size: side of the square (framing `head`) or longer side of the photograph (`portrait`, None: its own).
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
        light: str = "original",
        view: View | None = None,
        background: str = "original",
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
        self.retarget = Retargeter(model, motion)
        self.stage_ms: dict[str, float] = {}
        self.view = view or View()
        self._room: Lighting | None = None
        self._light_name, self._target = "", Lighting("original", original=True)
        self._from, self._changed = self._target, -1e9
        self._light, self._blend = self._target, 1.0
        self.set_light(light)
        self._changed = -1e9
        self.set_background(background)
        self._presence = Presence(model, idle)
        self._time: float | None = None
        self._calibrate = False
        neutral = getattr(driver, "neutral", None)
        if neutral is not None:
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
        picture = fuse(face, fringe, gbuffer, self._background)
        marks.append(time.perf_counter())
        spent = 1000 * np.diff(marks)
        self.stage_ms.update(zip(("motion", "render", "relight", "fuse"), map(float, spent), strict=True))
        return frame.with_image(picture)

    def follow(self, motion: Motion, seconds: float) -> AvatarMotion:
        """The avatar's motion while the driver's face is seen."""
        if self._calibrate:
            self._calibrate = False
            self.retarget.calibrate(motion)
        return self._presence.follow(self.retarget(motion, seconds), seconds)

    def hold(self, seconds: float) -> AvatarMotion:
        """The avatar's motion while no face is seen: eases to the portrait, and then idles or stays there."""
        return self._presence.hold(self._time or 0.0, seconds)

    @property
    def motion(self) -> AvatarMotion:
        """The avatar's last motion, before the viewer's turn."""
        return self._presence.motion

    def rehearse(self, motions: list[Motion | None]) -> None:
        """Offline: lets the retargeter see the whole clip before it plays."""
        if getattr(self.driver, "neutral", None) is None:
            self.retarget.rehearse(motions)

    def _elapsed(self, frame: Frame) -> float:
        now, last = frame.time, self._time
        self._time = now
        return 1 / 30 if last is None or not 0 < now - last < 2 else now - last

    # ---- light

    def _lighting(self, frame: Frame, motion: Motion | None, seconds: float) -> Lighting:
        if self._light_name == "webcam" and motion is not None:
            self._target = self._driver_room(frame, motion, seconds)
            return self._target
        self._blend = min(1.0, self._blend + seconds / EASE)
        t = self._blend * self._blend * (3 - 2 * self._blend)
        self._light = self._target if self._blend >= 1 else blended(self._from, self._target, t)
        return self._light

    def _driver_room(self, frame: Frame, motion: Motion, seconds: float) -> Lighting:
        points = motion.landmarks[:468] @ motion.rotation.T
        now = light_on_face(frame.image, motion.pixels, points, "webcam")
        last = self._room
        keep = float(np.exp(-seconds / ROOM)) if last is not None else 0.0
        self._room = now if last is None else replace(now, sh=(last.sh * keep + now.sh * (1 - keep)).astype(np.float32))
        return self._room

    # ---- live controls

    def set_light(self, light: str) -> None:
        """Any LIGHT; takes effect with the next frame and fades in. Raises LightError at once."""
        target = (
            self._room or Lighting("original", original=True) if light == "webcam" else parse_light(light, self.model)
        )
        if light == "webcam" and self.driver is None:
            raise LightError("webcam light needs a driver that sees a room")
        self._from, self._blend = self._light, 0.0 if self._light_name else 1.0
        self._light_name, self._target = light, target

    def set_view(self, view: View) -> None:
        """The viewer's turn of the head, degrees."""
        self.view = view

    def set_background(self, background: str) -> None:
        """`original`, `blur` or `#rrggbb`. Raises NarrateError for others."""
        self._background = background_of(self.model, self.framing, background)
        self._background_name = background

    def set_idle(self, on: bool) -> None:
        """Whether the portrait breathes and blinks while no face is seen; fades in and out."""
        self._presence.idles = on

    def calibrate(self) -> None:
        """The next frame with a face is the driver's neutral."""
        self._calibrate = True

    def state(self) -> dict[str, Any]:
        """Light, view, background, whether a face is followed, and what of its pose is held back: JSON-ready."""
        yaw, pitch, roll = (round(float(a), 1) for a in angles_from_rotation(self.motion.pose.rotation))
        return {
            "light": self._light_name,
            "view": {"yaw": self.view.yaw, "pitch": self.view.pitch},
            "background": self._background_name,
            "tracking": self._presence.seen,
            "idle": self._presence.idles,
            "pose": {"yaw": yaw, "pitch": pitch, "roll": roll},
            "held_back": self._held_back(),
            "model": self.model.name,
        }

    def _held_back(self) -> dict[str, float]:
        """Degrees of the driver's turn that the model does not follow, by angle; empty within its limits."""
        asked = self.retarget.held_back if self._presence.seen else np.zeros(3)
        named = zip(("yaw", "pitch", "roll"), asked, strict=True)
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
