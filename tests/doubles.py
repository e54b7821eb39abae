"""Stand-ins that many tests share: an avatar without a model, tracks with a known picture, a server in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import uvicorn
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from narrate_stream.errors import LightError, NarrateError
from narrate_stream.media_rtc import tune_receiver
from narrate_stream.ops.lighting import Lighting
from narrate_stream.types import Frame, View

COLOURS = {"original": (128, 128, 128), "rembrandt": (230, 140, 60), "split": (60, 140, 230), "neon": (220, 40, 200)}


class FakeAvatar:
    """Mirrors the driving frame, tints it with the light and paints a bar that follows the view."""

    alive = 0  # avatars that were made and not closed

    def __init__(self, size: tuple[int, int] = (256, 256), work_ms: float = 0.0) -> None:
        self.size, self.work_ms = size, work_ms
        self.stage_ms = {"track": 0.0, "render": 0.0}
        self.light: str | Lighting = "original"
        self.background, self.view = "original", View()
        self.grade = {"exposure": 0.0, "warmth": 0.0, "turn": 0.0}
        self.idle = True
        self.calibrated, self.steps, self.closed = 0, 0, False
        self.threads: set[int] = set()
        self.fail = False
        FakeAvatar.alive += 1

    def step(self, frame: Frame) -> Frame:
        begun = time.perf_counter()
        self.steps += 1
        self.threads.add(threading.get_ident())
        if self.fail:
            raise ValueError("no face, no avatar")
        picture = cv2.resize(frame.image[:, ::-1], self.size)
        ramp = np.arange(256)[None, :, None] / 128 * np.array(self._colour())
        picture = cv2.LUT(picture, np.clip(ramp, 0, 255).astype(np.uint8))
        column = int(self.size[0] * (0.5 + self.view.yaw / 120))
        picture[-24:, max(0, column - 8) : column + 8] = 255
        if self.work_ms:
            time.sleep(max(0.0, self.work_ms / 1000 - (time.perf_counter() - begun)))
        self.stage_ms["render"] = 1000 * (time.perf_counter() - begun)
        return frame.with_image(picture)

    def _colour(self) -> tuple[float, ...]:
        gain = 2 ** self.grade["exposure"]
        warm = 1 + self.grade["warmth"] / 200
        red, green, blue = self._light_colour()
        return gain * red * warm, gain * green, gain * blue / warm

    def _light_colour(self) -> tuple[float, ...]:
        if isinstance(self.light, Lighting):  # an environment map: green
            return 60, 220, 90
        if self.light.startswith("sun:"):
            azimuth, elevation, *gain = (float(x) for x in self.light[4:].split(","))
            return tuple((gain or [1.0])[0] * c for c in (128 + azimuth / 2, 128 + elevation / 2, 128 - azimuth / 2))
        return COLOURS[self.light]

    def set_light(self, light: str | Lighting) -> None:
        if isinstance(light, str) and light not in COLOURS and not light.startswith("sun:"):
            raise LightError(f"there is no light called {light!r}")
        self.light = light

    def set_grade(self, **changes: float | None) -> None:
        self.grade |= {key: value for key, value in changes.items() if value is not None}

    def set_view(self, view: View) -> None:
        self.view = view

    def set_background(self, background: str) -> None:
        if background not in ("original", "relit", "blur", "environment", "green") and not background.startswith("#"):
            raise NarrateError(f"there is no background called {background!r}")
        self.background = background

    def set_idle(self, on: bool) -> None:
        self.idle = on

    def calibrate(self) -> None:
        self.calibrated += 1

    def state(self) -> dict[str, Any]:
        view = {"yaw": self.view.yaw, "pitch": self.view.pitch}
        light = self.light.name if isinstance(self.light, Lighting) else self.light
        shown = {"light": light, **self.grade, "view": view, "background": self.background}
        told = {"held_back": {"yaw": 14.2}, "calibration": {"score": 0.83, "by_hand": self.calibrated > 0}}
        return {**shown, "tracking": True, "idle": self.idle, **told}

    def close(self) -> None:
        if not self.closed:
            FakeAvatar.alive -= 1
        self.closed = True


def let_go(before: int, patience: float = 10.0) -> bool:
    """Whether all avatars made since `FakeAvatar.alive` was `before` are closed, soon.

    A session leaves the list of peers before a worker closes its avatar: a count read at that moment is a race.
    """
    deadline = time.monotonic() + patience
    while FakeAvatar.alive > before and time.monotonic() < deadline:
        time.sleep(0.01)
    return FakeAvatar.alive <= before


class PictureTrack(MediaStreamTrack):
    """Sends `picture(n)`, an RGB array, at a steady rate."""

    kind = "video"

    def __init__(self, picture: Callable[[int], np.ndarray], fps: float = 30) -> None:
        super().__init__()
        self.picture, self.fps, self.n, self.start = picture, fps, 0, 0.0

    async def recv(self) -> av.VideoFrame:
        self.start = self.start or time.monotonic()
        await asyncio.sleep(max(0.0, self.start + self.n / self.fps - time.monotonic()))
        frame = av.VideoFrame.from_ndarray(self.picture(self.n), format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = int(self.n * 90000 / self.fps), Fraction(1, 90000)
        self.n += 1
        return frame


def gradient(n: int, size: int = 256) -> np.ndarray:
    """A picture that is bright, coloured and moves."""
    ramp = np.linspace(60, 180, size).astype(np.uint8)
    picture = np.stack(
        [np.tile(ramp, (size, 1)), np.tile(ramp[:, None], (1, size)), np.full((size, size), 110, np.uint8)], 2
    )
    x = 20 + 4 * n % (size - 60)
    picture[size // 2 - 20 : size // 2 + 20, x : x + 40] = 220
    return picture


@contextlib.contextmanager
def served(app: Any, port: int = 0) -> Iterator[str]:
    """`app` on a real socket in a thread; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the server did not stop"


class Client:
    """A real aiortc peer that keeps what it receives."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.frames: list[av.VideoFrame] = []
        self.sounds: list[av.AudioFrame] = []
        self.messages: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Future[None]] = []
        self.pc.on("track", self._on_track)

    def _on_track(self, track: MediaStreamTrack) -> None:
        for transceiver in self.pc.getTransceivers():
            if transceiver.receiver.track is track:
                tune_receiver(transceiver.receiver)
        self.tasks.append(asyncio.ensure_future(self._watch(track)))

    async def _watch(self, track: MediaStreamTrack) -> None:
        keep: list[Any] = self.frames if track.kind == "video" else self.sounds
        with contextlib.suppress(Exception):
            while True:
                keep.append(await track.recv())
                del keep[:-400]

    def control(self, **options: Any) -> Any:
        """Open the control channel; what comes back lands in `messages`."""
        channel = self.pc.createDataChannel("control", **options)
        channel.on("message", lambda text: self.messages.append(json.loads(text)))
        return channel

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def answered(self, sdp: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))


@contextlib.asynccontextmanager
async def client() -> AsyncIterator[Client]:
    it = Client()
    try:
        yield it
    finally:
        for task in it.tasks:
            task.cancel()
        await asyncio.gather(*it.tasks, return_exceptions=True)
        await it.pc.close()


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait for something to become true; fails the test when it does not."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        await asyncio.sleep(0.01)
    return value
