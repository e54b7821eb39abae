"""From a webcam to a virtual camera that any meeting program can pick: here, or through a remote server.

A capture thread keeps the newest picture, the calling thread animates and writes; nothing queues. `pyvirtualcam` comes
with the extra `camera` and is imported when a virtual camera is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from narrate_stream.broadcast import allow_bitrates
from narrate_stream.errors import DeviceError, MissingExtra, NarrateError
from narrate_stream.latest import ClosedError, LatestAcrossThreads
from narrate_stream.media_rtc import allow_offline, tune_receiver
from narrate_stream.protocols import Avatar, Sink
from narrate_stream.types import Frame, Image

CLOCK = Fraction(1, 90_000)
CONNECT_S = 20.0
SILENCE_S = 10.0  # a remote that sends nothing for so long is gone

SinkFactory = Callable[[int, int, float], Sink]
"""Opens a sink for frames of (width, height) at so many frames a second."""


@dataclass
class Report:
    """What a run did."""

    frames: int = 0
    dropped: int = 0
    seconds: float = 0.0

    @property
    def fps(self) -> float:
        """Frames a second that were written."""
        return self.frames / self.seconds if self.seconds else 0.0


class VirtualCamera:
    """A Sink that other programs see as a camera."""

    def __init__(self, width: int, height: int, fps: float = 30.0, backend: str | None = None) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise MissingExtra("a virtual camera needs: pip install 'narrate-stream[camera]'") from error
        try:
            self._camera = pyvirtualcam.Camera(width=width, height=height, fps=fps, backend=backend)
        except RuntimeError as error:
            raise DeviceError(
                f"no virtual camera is ready on this machine (Linux: v4l2loopback; Windows and macOS: OBS): {error}"
            ) from error
        self.device: str = self._camera.device
        self._size = (width, height)

    def write(self, frame: Frame) -> None:
        """Show a frame; one of another size is scaled."""
        self._camera.send(np.ascontiguousarray(_fit(frame.image, self._size)))

    def close(self) -> None:
        """Give the device back."""
        self._camera.close()


def _fit(image: Image, size: tuple[int, int]) -> Image:
    if image.shape[1::-1] == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def webcam(index: int, fps: float = 30.0) -> Iterator[Frame]:
    """Frames of a webcam, with pts from the clock. Raises DeviceError when it cannot be opened."""
    capture = cv2.VideoCapture(index)
    try:
        if not capture.isOpened():
            raise DeviceError(f"webcam {index} cannot be opened: it is not there, or another program uses it")
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, 640)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, 480)
        capture.set(cv2.CAP_PROP_FPS, fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        begun = time.monotonic()
        while True:
            good, picture = capture.read()
            if not good:
                return
            rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
            yield Frame(rgb, int((time.monotonic() - begun) / CLOCK), CLOCK)
    finally:
        capture.release()


class Capture:
    """Reads a source in a thread of its own and keeps its newest frame; the source's error is raised to the reader."""

    def __init__(self, source: Iterable[Frame]) -> None:
        self._source = source
        self.latest: LatestAcrossThreads[Frame] = LatestAcrossThreads()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="narrate-capture", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for frame in self._source:
                self.latest.put(frame)
                if self._stop.is_set():
                    break
        except Exception as error:  # noqa: BLE001 - the thread's boundary: `get` raises it again
            self._error = error
        finally:
            if isinstance(self._source, Iterator) and hasattr(self._source, "close"):
                self._source.close()
            self.latest.close()

    def get(self, timeout: float) -> Frame | None:
        """The newest frame, None after `timeout` seconds. Raises ClosedError at the end, or the source's own error."""
        try:
            return self.latest.get(timeout)
        except ClosedError:
            if self._error:
                raise self._error from None
            raise

    def frames(self) -> Iterator[Frame]:
        """The newest frame, again and again, until the source ends."""
        with contextlib.suppress(ClosedError):
            while True:
                frame = self.get(0.5)
                if frame is not None:
                    yield frame

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(2)


def run_camera(
    avatar: Avatar,
    source: int | Iterable[Frame] = 0,
    sink: SinkFactory = VirtualCamera,
    *,
    fps: float = 30.0,
    stop: Callable[[Report], bool] = lambda _: False,
) -> Report:
    """Animate `avatar` and write to a sink until the source ends or `stop` says so.

    A webcam (its index) is read in a thread and its newest frame wins; any other source sets the pace itself and every
    frame of it is used. Raises DeviceError for a webcam or virtual camera that is not there, MissingExtra without
    `pyvirtualcam`.
    """
    target = sink(*avatar.size, fps)
    report, begun = Report(), time.monotonic()
    capture: Capture | None = None
    frames: Iterable[Frame]
    if isinstance(source, int):
        capture = Capture(webcam(source, fps))
        frames = capture.frames()
    else:
        frames = source
    try:
        for frame in frames:
            target.write(avatar.step(frame))
            report.frames += 1
            report.dropped = capture.latest.dropped if capture else 0
            report.seconds = time.monotonic() - begun
            if stop(report):
                break
    except KeyboardInterrupt:
        pass
    finally:
        if capture:
            capture.close()
        target.close()
    return report


class _WebcamTrack(MediaStreamTrack):
    """Sends a capture's newest frames."""

    kind = "video"

    def __init__(self, capture: Capture) -> None:
        super().__init__()
        self._capture = capture

    async def recv(self) -> av.VideoFrame:
        while self.readyState == "live":
            try:
                frame = await asyncio.to_thread(self._capture.get, 0.5)
            except (ClosedError, NarrateError):
                self.stop()
                break
            if frame is not None:
                height, width = (n & ~1 for n in frame.image.shape[:2])
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image[:height, :width]), format="rgb24")
                video = picture.reformat(format="yuv420p")
                video.pts, video.time_base = frame.pts, frame.time_base
                return video
        raise MediaStreamError


def run_remote(
    url: str,
    source: int | Iterable[Frame] = 0,
    sink: SinkFactory = VirtualCamera,
    *,
    fps: float = 30.0,
    token: str | None = None,
    controls: dict[str, Any] | None = None,
    stop: Callable[[Report], bool] = lambda _: False,
) -> Report:
    """Send a webcam to a narrate server (`ws://HOST:PORT[/ws]`) and write the avatar that returns to a virtual camera.

    The newest frame of the source wins. `controls` is what the avatar begins with, such as `{"light": "rembrandt"}`.
    Raises NarrateError when the server cannot be reached, refuses or falls silent.
    """
    capture = Capture(webcam(source, fps) if isinstance(source, int) else source)
    try:
        return asyncio.run(_remote(url, capture, sink, fps, token, controls or {}, stop))
    except KeyboardInterrupt:
        return Report()
    finally:
        capture.close()


async def _remote(
    url: str,
    capture: Capture,
    sink: SinkFactory,
    fps: float,
    token: str | None,
    controls: dict[str, Any],
    stop: Callable[[Report], bool],
) -> Report:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    allow_bitrates()
    allow_offline()
    address = url.rstrip("/") if url.rstrip("/").endswith("/ws") else url.rstrip("/") + "/ws"
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        async with connect(address, max_size=1 << 20, open_timeout=CONNECT_S) as socket:
            track = await asyncio.wait_for(_handshake(pc, socket, capture, token, controls), CONNECT_S)
            return await _write(track, capture, sink, fps, stop)
    except (asyncio.TimeoutError, OSError, WebSocketException, ValueError) as error:
        reason = str(error) or "no answer in time"
        raise NarrateError(f"the server {url} cannot be used: {reason}") from error
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(pc.close(), 5)


async def _handshake(
    pc: RTCPeerConnection, socket: Any, capture: Capture, token: str | None, controls: dict[str, Any]
) -> MediaStreamTrack:
    transceiver = pc.addTransceiver(_WebcamTrack(capture), direction="sendrecv")
    pc.createDataChannel("control", ordered=False, maxRetransmits=0)
    await pc.setLocalDescription(await pc.createOffer())
    offer = {"type": "offer", "sdp": pc.localDescription.sdp, "options": controls}
    await socket.send(json.dumps(offer | ({"token": token} if token else {})))
    answer = json.loads(await socket.recv())
    if answer.get("type") != "answer":
        raise NarrateError(f"the server refused: {answer.get('message', 'no reason given')}")
    tune_receiver(transceiver.receiver)
    await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
    return transceiver.receiver.track


async def _write(
    track: MediaStreamTrack, capture: Capture, sink: SinkFactory, fps: float, stop: Callable[[Report], bool]
) -> Report:
    report, begun, target = Report(), time.monotonic(), None
    try:
        while not stop(report):
            video = await asyncio.wait_for(track.recv(), SILENCE_S)
            if not isinstance(video, av.VideoFrame):
                continue
            target = target or sink(video.width, video.height, fps)
            picture = video.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            await asyncio.to_thread(target.write, Frame(picture, video.pts or 0, CLOCK))
            report.frames += 1
            report.dropped, report.seconds = capture.latest.dropped, time.monotonic() - begun
    except MediaStreamError:
        pass
    finally:
        if target:
            target.close()
    return report
