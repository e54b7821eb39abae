"""Encode once, send to many: one encoder per codec, its packets handed to every subscribed sender.

aiortc would encode for every peer again. Here a sender gets a `Packer` in place of its encoder, key frame requests and
bandwidth estimates go to the shared encoder, and a slow subscriber loses frames up to the next key frame only.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCRtpCodecParameters, RTCRtpSender
from aiortc.codecs import get_encoder, h264, vpx
from aiortc.codecs.base import Encoder
from aiortc.mediastreams import MediaStreamError
from av.video.frame import PictureType

from narrate_stream.latest import ClosedError, Latest

logger = logging.getLogger(__name__)

MIN_BITRATE = 300_000
QUEUE = 45  # encoded frames that may wait for one sender
KEY_EVERY_S = 0.3  # key frame requests closer than this are one

Sent = Callable[[float, int, int], None]
"""Called for each encoded frame: seconds since it arrived, its bytes, how many subscribers got it."""


def start_bitrate(width: int, height: int) -> int:
    """Bits a second to begin with: 2 Mbit/s for 512x512, growing slower than the area, at most 6."""
    return int(min(6e6, max(6e5, 2e6 * (width * height / 512**2) ** 0.75)))


def allow_bitrates() -> None:
    """Widen aiortc's module limits (1.5 Mbit/s for VP8) to what this module asks of its encoders."""
    vpx.MIN_BITRATE = h264.MIN_BITRATE = MIN_BITRATE
    vpx.MAX_BITRATE = h264.MAX_BITRATE = 8_000_000


class LiveVp8Encoder(vpx.Vp8Encoder):
    """aiortc's VP8 encoder without its denoiser, which a rendered picture does not need.

    Measured on a talking head at 2 Mbit/s and 512x512: 46 to 51 dB, 5.8 to 4.2 ms.
    """

    def encode(self, frame: Any, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """As the base class; only the codec's options are our own."""
        old = self.codec
        same = old is not None and (old.width, old.height) == (frame.width, frame.height)
        if old is None or not same or abs(self.target_bitrate - (old.bit_rate or 0)) > 0.1 * (old.bit_rate or 1):
            self.codec = self._open(frame.width, frame.height)
        return super().encode(frame, force_keyframe)

    def _open(self, width: int, height: int) -> av.VideoCodecContext:
        codec = av.CodecContext.create("libvpx", "w")
        assert isinstance(codec, av.VideoCodecContext)
        rate = self.target_bitrate
        codec.width, codec.height, codec.pix_fmt, codec.bit_rate = width, height, "yuv420p", rate
        codec.gop_size, codec.qmin, codec.qmax = 3000, 2, 56
        codec.thread_count = vpx.number_of_threads(width * height, multiprocessing.cpu_count())
        constant = {"bufsize": str(rate), "minrate": str(rate), "maxrate": str(rate)}
        speed = {"cpu-used": "-8", "deadline": "realtime", "lag-in-frames": "0", "partitions": "0"}
        codec.options = constant | speed | {"static-thresh": "1", "overshoot-pct": "15", "undershoot-pct": "100"}
        return codec


def open_encoder(codec: RTCRtpCodecParameters) -> Encoder:
    """The encoder for a negotiated codec."""
    return LiveVp8Encoder() if codec.mimeType.lower() == "video/vp8" else get_encoder(codec)


@dataclass(frozen=True)
class Encoded:
    """One encoded frame: RTP payloads, timestamp in 90 kHz ticks, whether decoding can start with it."""

    payloads: list[bytes]
    timestamp: int
    key: bool


def is_key(mime: str, payload: bytes) -> bool:
    """Whether the frame that begins with this RTP payload is a key frame (VP8: RFC 7741; H.264: RFC 6184)."""
    if mime.lower() == "video/vp8":
        data = vpx.vp8_depayload(payload)
        return bool(data) and not data[0] & 1
    kind = payload[0] & 31
    inside = {24: 3, 28: 1}.get(kind)  # STAP-A, FU-A
    return (payload[inside] & 31 if inside else kind) in (5, 7)


class EncodedTrack(MediaStreamTrack):
    """What one sender reads: encoded frames, beginning with a key frame."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._queue: deque[Encoded] = deque()
        self._ready = asyncio.Event()
        self._needs_key = True
        self.lane: Lane | None = None
        self.estimate: int | None = None

    def push(self, encoded: Encoded) -> bool:
        """Queue a frame; whether it was taken."""
        if self._needs_key and not encoded.key:
            return False
        if len(self._queue) >= QUEUE:
            self._queue.clear()
            self._needs_key = True
            self.request_key()
            return False
        self._needs_key = False
        self._queue.append(encoded)
        self._ready.set()
        return True

    async def recv(self) -> Any:
        """The next frame for `Packer.pack`. Raises MediaStreamError after `stop`."""
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    def request_key(self) -> None:
        """The receiver lost the picture."""
        if self.lane:
            self.lane.request_key()

    def stop(self) -> None:
        """Leave the shared encoder."""
        if self.lane:
            self.lane.leave(self)
        self._queue.clear()
        self._ready.set()
        super().stop()


class Packer(Encoder):
    """Stands where aiortc expects the sender's own encoder."""

    def __init__(self, track: EncodedTrack) -> None:
        self._track = track

    def encode(self, frame: Any, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Never needed: the track yields encoded frames only."""
        raise NotImplementedError

    def pack(self, packet: Any) -> tuple[list[bytes], int]:
        """An `Encoded` is ready to send as it is."""
        return packet.payloads, packet.timestamp

    @property
    def target_bitrate(self) -> int:
        """Bits a second that the receiver believes the path can carry."""
        return self._track.estimate or 0

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._track.estimate = bitrate
        if self._track.lane:
            self._track.lane.adapt()


class Lane:
    """One codec's encoder, its newest-wins inbox and its subscribers."""

    def __init__(self, codec: RTCRtpCodecParameters, pool: Executor, sent: Sent) -> None:
        self._codec, self._pool, self._sent = codec, pool, sent
        self._inbox: Latest[tuple[av.VideoFrame, int, float]] = Latest()
        self._tracks: list[EncodedTrack] = []
        self._encoder: Encoder | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=90)
        self._bitrate = self._ceiling = 0
        self._adapted = self._key_at = 0.0
        self._key = True
        self._task = asyncio.ensure_future(self._run())

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced before they were encoded."""
        return self._inbox.dropped

    def join(self, track: EncodedTrack) -> None:
        """Subscribe; the next frame is a key frame."""
        track.lane = self
        self._tracks.append(track)
        self._key = True

    def leave(self, track: EncodedTrack) -> None:
        """Unsubscribe; without subscribers nothing is encoded."""
        track.lane = None
        if track in self._tracks:
            self._tracks.remove(track)
        if not self._tracks:
            self._encoder = None

    def request_key(self) -> None:
        """Make the next frame a key frame, unless one was just made."""
        if time.monotonic() - self._key_at > KEY_EVERY_S:
            self._key = True

    def restart(self) -> None:
        """Begin a new stream: timestamps may jump."""
        self._encoder, self._key = None, True

    def offer(self, frame: av.VideoFrame, timestamp: int, arrived: float) -> None:
        """Encode this one next, in place of one that still waits."""
        if self._tracks:
            self._inbox.put((frame, timestamp, arrived))

    def adapt(self) -> None:
        """Follow the subscribers' estimates, but only where they say something about the path.

        A receiver's estimate cannot rise far above what it is sent, so one above 1.2 times that is no congestion; and
        every change costs a key frame, so small ones are ignored.
        """
        now = time.monotonic()
        wanted = min((t.estimate for t in self._tracks if t.estimate), default=self._ceiling)
        wanted = max(MIN_BITRATE, min(wanted, self._ceiling))
        used = 8 * sum(n for t, n in self._recent if t > now - 1)
        falls = wanted < 0.85 * self._bitrate and wanted < 1.2 * used and now - self._adapted > 1
        rises = wanted > 1.25 * self._bitrate and now - self._adapted > 3
        if self._bitrate and (falls or rises):
            self._bitrate, self._adapted = wanted, now

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                frame, timestamp, arrived = await self._inbox.get()
                payloads, key = await loop.run_in_executor(self._pool, self._encode, frame)
            except ClosedError:
                return
            except Exception:  # the task boundary: one frame is lost, the stream goes on
                logger.exception("a frame could not be encoded")
                self.restart()
                continue
            if payloads:
                self._publish(Encoded(payloads, timestamp, key), arrived)

    def _encode(self, frame: av.VideoFrame) -> tuple[list[bytes], bool]:
        encoder = self._encoder
        if encoder is None or not self._bitrate:
            self._ceiling = start_bitrate(frame.width, frame.height)
            self._bitrate = self._bitrate or self._ceiling
            encoder = self._encoder = open_encoder(self._codec)
        encoder.target_bitrate = self._bitrate  # type: ignore[attr-defined]
        force, self._key = self._key, False
        frame.pict_type = PictureType.NONE
        payloads, _ = encoder.encode(frame, force)
        key = bool(payloads) and is_key(self._codec.mimeType, payloads[0])
        if key:
            self._key_at = time.monotonic()
        return payloads, key

    def _publish(self, encoded: Encoded, arrived: float) -> None:
        size = sum(map(len, encoded.payloads))
        self._recent.append((time.monotonic(), size))
        takers = sum([track.push(encoded) for track in list(self._tracks)])
        self._sent(time.monotonic() - arrived, size, takers)

    async def close(self) -> None:
        """Stop encoding."""
        self._inbox.close()
        await self._task


class Broadcast:
    """A picture stream that any number of senders follow."""

    def __init__(self, pool: Executor, sent: Sent) -> None:
        self._pool, self._sent = pool, sent
        self._lanes: dict[str, Lane] = {}

    def attach(self, sender: RTCRtpSender, codec: RTCRtpCodecParameters, track: EncodedTrack) -> None:
        """Let `sender` send this stream through `track`; before its connection is up."""
        sender._RTCRtpSender__encoder = Packer(track)  # type: ignore[attr-defined]
        sender._send_keyframe = track.request_key  # type: ignore[method-assign]
        name = codec.mimeType.lower() + str(codec.parameters.get("profile-level-id", ""))
        if name not in self._lanes:
            self._lanes[name] = Lane(codec, self._pool, self._sent)
        self._lanes[name].join(track)

    def offer(self, frame: av.VideoFrame, timestamp: int, arrived: float) -> None:
        """Send `frame` (yuv420p) at `timestamp` (90 kHz); `arrived` is the monotonic time its driver's frame came."""
        for lane in self._lanes.values():
            lane.offer(frame, timestamp, arrived)

    def restart(self) -> None:
        """The next frame begins a new stream."""
        for lane in self._lanes.values():
            lane.restart()

    async def close(self) -> None:
        """Stop all encoders."""
        for lane in self._lanes.values():
            await lane.close()
