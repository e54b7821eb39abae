"""The frame path of one driver, and the programme that viewers watch.

incoming track -> newest-wins mailbox -> the one worker thread (yuv to rgb, avatar.step, rgb to yuv) -> outlets.
The event loop only moves references; `pts` and `time_base` travel with the picture.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError, convert_timebase
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from narrate_stream.broadcast import Broadcast
from narrate_stream.latest import ClosedError, Latest
from narrate_stream.media_rtc import AUDIO_WAIT_S, VIDEO_CLOCK
from narrate_stream.metrics import Meter, Metrics
from narrate_stream.protocols import Avatar
from narrate_stream.types import Frame

logger = logging.getLogger(__name__)

MARKER = (256, 16)  # width, height of the strip that `--latency-marker` copies
MAX_PIXELS = 4_000_000  # a driving frame above this is dropped
MAX_AUDIO_DELAY_S = 0.5
IDLE_FPS = 24  # enough to show a blink
TICK = Fraction(1, VIDEO_CLOCK)

Outlet = Callable[[av.VideoFrame, float], None]
"""Takes an avatar frame (yuv420p) and the monotonic time at which its driving frame had arrived."""
SoundOutlet = Callable[[av.AudioFrame], None]


class Converter:
    """Pictures between aiortc and an avatar; keeps its scalers, so one thread at a time."""

    def __init__(self) -> None:
        self._into, self._out = VideoReformatter(), VideoReformatter()

    def frame_from_video(self, video: av.VideoFrame) -> Frame:
        """An RGB Frame with the same pts."""
        rgb = self._into.reformat(video, format="rgb24")
        base = video.time_base
        return Frame(
            rgb.to_ndarray().astype(np.uint8, copy=False),
            video.pts or 0,
            Fraction(base.numerator, base.denominator) if base else TICK,
        )

    def video_from_frame(self, frame: Frame) -> av.VideoFrame:
        """A yuv420p picture with the same pts; an odd last row or column is left out (encoders want even sizes)."""
        height, width = (n & ~1 for n in frame.image.shape[:2])
        image = np.ascontiguousarray(frame.image[:height, :width])
        # The buffer is not copied, so `image` must live until the conversion is done; it saves 1.2 ms at 512x512.
        video = self._out.reformat(av.VideoFrame.from_numpy_buffer(image, format="rgb24"), format="yuv420p")
        video.pts, video.time_base = frame.pts, frame.time_base
        return video


def planes(video: av.VideoFrame) -> list[NDArray[np.uint8]]:
    """Writable views of the Y, U and V planes of a yuv420p picture, without the padding."""
    return [
        np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width]  # type: ignore[call-overload]
        for p in video.planes
    ]


def copy_marker(driver: av.VideoFrame, avatar: av.VideoFrame) -> None:
    """Copy the driver's top-left 256x16 pixels to the avatar's, byte for byte in all three planes."""
    if driver.format.name not in ("yuv420p", "yuvj420p"):
        driver = driver.reformat(format="yuv420p")
    for scale, source, target in zip((1, 2, 2), planes(driver), planes(avatar), strict=True):
        height, width = (
            min(n) for n in zip((MARKER[1] // scale, MARKER[0] // scale), source.shape, target.shape, strict=True)
        )
        target[:height, :width] = source[:height, :width]


class Stage:
    """One avatar and whatever drives it."""

    def __init__(self, avatar: Avatar, worker: Executor, meter: Meter, *, marker: bool = False) -> None:
        self.avatar, self.meter = avatar, meter
        self.outlets: list[Outlet] = []
        self.sound_outlets: list[SoundOutlet] = []
        self.seen: dict[str, Any] = {"stage_ms": {}, "tracking": None, "held_back": {}, "calibration": None}
        self._worker, self._marker, self._convert = worker, marker, Converter()

    async def run(self, track: MediaStreamTrack) -> None:
        """Animate until the track ends; the newest driving frame wins."""
        inbox: Latest[tuple[float, av.VideoFrame]] = Latest()
        drain = asyncio.ensure_future(self._drain(track, inbox))
        loop = asyncio.get_running_loop()
        try:
            while True:
                arrived, driving = await inbox.get()
                picture = await loop.run_in_executor(self._worker, self.work, driving)
                if picture is not None:
                    self.meter.count("out")
                    for outlet in self.outlets:
                        outlet(picture, arrived)
        except ClosedError:
            pass
        finally:
            drain.cancel()
            await asyncio.gather(drain, return_exceptions=True)

    def work(self, driving: av.VideoFrame) -> av.VideoFrame | None:
        """The worker's part: one driving frame to one avatar frame, None if the avatar failed on it."""
        try:
            result = self.avatar.step(self._convert.frame_from_video(driving))
            stages = {name: round(ms, 2) for name, ms in self.avatar.stage_ms.items()}
            state = self.avatar.state()
            told: dict[str, Any] = {"tracking": None, "held_back": {}, "calibration": None}
            self.seen = {"stage_ms": stages, **{key: state.get(key, usual) for key, usual in told.items()}}
            picture = self._convert.video_from_frame(result)
            if self._marker:
                copy_marker(driving, picture)
        except Exception:  # the task boundary: a bad frame must not end the session
            self.meter.count("failed")
            if self.meter.totals["failed"] % 100 == 1:
                logger.exception("the avatar failed on a frame (%d so far)", self.meter.totals["failed"])
            return None
        return picture

    async def _drain(self, track: MediaStreamTrack, inbox: Latest[tuple[float, av.VideoFrame]]) -> None:
        dropped = 0
        try:
            while True:
                frame = await track.recv()
                if not isinstance(frame, av.VideoFrame):
                    continue
                self.meter.count("in")
                if frame.width * frame.height > MAX_PIXELS:
                    self.meter.count("dropped")
                    continue
                inbox.put((time.monotonic(), frame))
                self.meter.count("dropped", inbox.dropped - dropped)
                dropped = inbox.dropped
        except MediaStreamError:
            inbox.close()

    async def hear(self, track: MediaStreamTrack) -> None:
        """Pass the driver's sound on, as late as the picture is, until the track ends."""
        waiting: deque[tuple[float, av.AudioFrame]] = deque(maxlen=100)
        play = asyncio.ensure_future(self._play(waiting))
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, av.AudioFrame):
                    waiting.append((time.monotonic(), frame))
        except MediaStreamError:
            pass
        finally:
            play.cancel()
            await asyncio.gather(play, return_exceptions=True)

    async def _play(self, waiting: deque[tuple[float, av.AudioFrame]]) -> None:
        while True:
            if not waiting:
                await asyncio.sleep(0.005)
                continue
            arrived, frame = waiting.popleft()
            delay = min(max(0.0, self.meter.delay_s - AUDIO_WAIT_S), MAX_AUDIO_DELAY_S)
            await asyncio.sleep(max(0.0, arrived + delay - time.monotonic()))
            for outlet in self.sound_outlets:
                outlet(frame)

    async def close(self) -> None:
        """Free the avatar, on the worker, behind its last frame."""
        self.outlets.clear()
        self.sound_outlets.clear()
        self._convert = Converter()  # the old one's scalers hold threads
        try:
            await asyncio.get_running_loop().run_in_executor(self._worker, self.avatar.close)
        except Exception:  # the task boundary: closing goes on
            logger.exception("the avatar could not be closed")


class SoundTrack(MediaStreamTrack):
    """Sound on its way to one peer; at most a second waits."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queue: deque[av.AudioFrame] = deque(maxlen=50)
        self._ready = asyncio.Event()

    def push(self, frame: av.AudioFrame) -> None:
        """Queue a frame; the oldest goes when too many wait."""
        self._queue.append(frame)
        self._ready.set()

    async def recv(self) -> av.AudioFrame:
        """The next frame. Raises MediaStreamError after `stop`."""
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    def stop(self) -> None:
        """End the track."""
        self._ready.set()
        super().stop()


class BlankTrack(MediaStreamTrack):
    """A driver that nobody is: grey frames at a quiet pace, on which an avatar idles."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._n = 0

    async def recv(self) -> av.VideoFrame:
        """The next grey frame."""
        await asyncio.sleep(1 / IDLE_FPS)
        grey = np.full((256 * 3 // 2, 256), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="yuv420p")
        frame.pts, frame.time_base = self._n * VIDEO_CLOCK // IDLE_FPS, TICK
        self._n += 1
        return frame


class Programme:
    """What viewers watch: the most recent driver's avatar, or one at rest while nobody drives."""

    def __init__(
        self, make_idle: Callable[[], Awaitable[Avatar]], worker: Executor, pool: Executor, metrics: Metrics
    ) -> None:
        self._make_idle, self._worker, self._metrics = make_idle, worker, metrics
        self.broadcast = Broadcast(pool, lambda _, size, takers: metrics.sent_bytes.inc(size * takers))
        self.viewers: set[SoundTrack] = set()
        self._stages: list[Stage] = []
        self._shown: Stage | None = None
        self._last, self._shift = (0, 0.0), 0
        self._sound_pts = 0
        self._idle: asyncio.Task[None] | None = None
        self._resting: set[asyncio.Task[None]] = set()  # with those that are still closing

    def enter(self, stage: Stage) -> None:
        """A driver came on."""
        self._stages.append(stage)
        stage.outlets.append(lambda picture, arrived: self._show(stage, picture, arrived))
        stage.sound_outlets.append(lambda sound: self._sound(stage, sound))
        self._mind()

    def leave(self, stage: Stage) -> None:
        """A driver went."""
        if stage in self._stages:
            self._stages.remove(stage)
        self._mind()

    def watch(self, sound: SoundTrack) -> None:
        """A viewer came; `sound` gets the driver's audio, whether or not the viewer asked for it."""
        self.viewers.add(sound)
        self._mind()

    def unwatch(self, sound: SoundTrack) -> None:
        """A viewer went."""
        self.viewers.discard(sound)
        self._mind()

    def _mind(self) -> None:
        """Keep an avatar at rest exactly while somebody watches and nobody drives."""
        needed = bool(self.viewers) and not self._stages
        if needed and self._idle is None:
            self._idle = asyncio.ensure_future(self._rest())
            self._resting.add(self._idle)
            self._idle.add_done_callback(self._resting.discard)
        elif not needed and self._idle is not None:
            self._idle.cancel()
            self._idle = None

    async def _rest(self) -> None:
        try:
            stage = Stage(await self._make_idle(), self._worker, Meter(self._metrics))
        except Exception:  # the task boundary: viewers wait for a driver then
            logger.exception("no avatar at rest")
            return
        stage.outlets.append(lambda picture, arrived: self._show(stage, picture, arrived))
        try:
            await stage.run(BlankTrack())
        finally:
            await stage.close()

    def _show(self, stage: Stage, picture: av.VideoFrame, arrived: float) -> None:
        if not self.viewers or (self._stages and stage is not self._stages[-1]):
            return
        ticks = convert_timebase(picture.pts or 0, picture.time_base or TICK, TICK)
        if stage is not self._shown:  # timestamps go on from where the other stage left them
            self._shown = stage
            last, then = self._last
            self._shift = last + max(1, int((time.monotonic() - then) * VIDEO_CLOCK)) - ticks if then else 0
            self.broadcast.restart()
        self._last = (ticks + self._shift, time.monotonic())
        self.broadcast.offer(picture, (ticks + self._shift) & 0xFFFFFFFF, arrived)

    def _sound(self, stage: Stage, sound: av.AudioFrame) -> None:
        if not self.viewers or stage is not self._stages[-1]:
            return
        copy = av.AudioFrame.from_ndarray(sound.to_ndarray(), format=sound.format.name, layout=sound.layout.name)
        copy.sample_rate, copy.pts, copy.time_base = sound.rate, self._sound_pts, Fraction(1, sound.rate)
        self._sound_pts += sound.samples
        for track in self.viewers:
            track.push(copy)

    async def close(self) -> None:
        """Stop resting and encoding."""
        if self._idle:
            self._idle.cancel()
        await asyncio.gather(*self._resting, return_exceptions=True)
        await self.broadcast.close()
