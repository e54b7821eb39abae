"""Where aiortc is made fit for live video: prompt and bounded reception, bitrate hints, candidates.

Everything is done to one object at a time (`tune_receiver`); only `allow_offline` touches a library's module.
Measured on one machine: completing frames on the marker bit took an echo from 88 to 18 ms (median).
"""

from __future__ import annotations

import logging
import queue
import re
import threading
from typing import Any

import aioice.ice
from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add

logger = logging.getLogger(__name__)

VIDEO_CLOCK = 90_000
STALL = int(0.4 * VIDEO_CLOCK)  # a lost packet that is not repeated in this time is given up, in RTP ticks
AUDIO_WAIT_S = 0.02  # what the tuned audio receiver holds back: one packet
MAX_WAITING = 30  # encoded frames before the decoder
START_KBPS, MAX_KBPS = 1500, 3000


class PromptJitterBuffer(JitterBuffer):
    """aiortc's video jitter buffer, except that a frame is complete at its RTP marker bit.

    The original waits for the next frame's first packet, one frame interval. And where the original blocks on a lost
    packet until 512 newer ones came, this one gives up after 0.4 s, starts again behind the newest marker and has
    the caller ask for a key frame.
    """

    def __init__(self, capacity: int = 512) -> None:
        super().__init__(capacity=capacity, is_video=True)
        self._done: int | None = None  # RTP timestamp of the newest frame that was handed out

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Store a packet; returns (key frame needed, the oldest complete frame or None)."""
        needs_key, frame = super().add(packet)
        if frame is not None:
            self._done = frame.timestamp
        elif packet.marker and self._stalled(packet):
            self.remove(self.capacity)
            self._origin = uint16_add(packet.sequence_number, 1)
            self._done = packet.timestamp
            needs_key = True
        return needs_key, frame

    def _stalled(self, packet: RtpPacket) -> bool:
        if self._done is None:
            self._done = packet.timestamp
        return STALL < ((packet.timestamp - self._done) & 0xFFFFFFFF) < 1 << 31

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        frame = super()._remove_frame(sequence_number)
        if frame is not None or self._origin is None:
            return frame
        packets: list[RtpPacket] = []
        for count in range(self.capacity):
            packet = self._packets[(self._origin + count) % self.capacity]
            if packet is None or (packets and packet.timestamp != packets[0].timestamp):
                return None
            packets.append(packet)
            if packet.marker:
                self.remove(count + 1)
                data = b"".join(p._data for p in packets)  # type: ignore[attr-defined]
                return JitterFrame(data=data, timestamp=packet.timestamp)
        return None


class BoundedDecoderQueue(queue.Queue[Any]):
    """Encoded frames for the decoder thread; when it cannot keep up they go and a key frame is asked for."""

    def __init__(self, lost: threading.Event) -> None:
        super().__init__()
        self._lost = lost
        self.dropped = 0

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Never blocks (the event loop calls it); the end mark `None` always gets through."""
        if item is not None and self.qsize() >= MAX_WAITING:
            with self.mutex:
                self.dropped += len(self.queue)
                self.queue.clear()
            self._lost.set()
        super().put(item, block, timeout)


def tune_receiver(receiver: RTCRtpReceiver) -> None:
    """Make one receiver prompt and bounded; call it before the connection is up (on `track`)."""
    private = "_RTCRtpReceiver__"
    if getattr(receiver, private + "kind") == "video":
        lost: threading.Event = getattr(receiver, private + "decoder_error")
        setattr(receiver, private + "jitter_buffer", PromptJitterBuffer())
        setattr(receiver, private + "decoder_queue", BoundedDecoderQueue(lost))
    else:
        setattr(receiver, private + "jitter_buffer", JitterBuffer(capacity=16, prefetch=1))


def hint_bitrate(sdp: str, start_kbps: int = START_KBPS, max_kbps: int = MAX_KBPS) -> str:
    """The answer with Chrome's start bitrate in the fmtp of every video codec: else its upload begins at 268 kbit/s."""
    hint = f"x-google-start-bitrate={start_kbps};x-google-max-bitrate={max_kbps}"
    for payload in re.findall(r"^a=rtpmap:(\d+) (?:VP8|H264)/90000\r?$", sdp, re.M):
        with_fmtp, found = re.subn(rf"^(a=fmtp:{payload} [^\r\n]*)", rf"\1;{hint}", sdp, count=1, flags=re.M)
        plain = re.sub(
            rf"^(a=rtpmap:{payload} [^\r\n]*)(\r?\n)", rf"\1\2a=fmtp:{payload} {hint}\2", sdp, count=1, flags=re.M
        )
        sdp = with_fmtp if found else plain
    return sdp


def without_mdns(sdp: str) -> str:
    """The offer without `.local` candidates: resolving one can hold up the answer, and the browser reaches us anyway.

    The end of candidates goes with them, so that the checks which the browser sends are waited for.
    """
    kept = [line for line in sdp.splitlines() if not re.match(r"a=candidate:.*\S\.local\s", line)]
    if len(kept) == len(sdp.splitlines()):
        return sdp
    return "\r\n".join(line for line in kept if line != "a=end-of-candidates") + "\r\n"


def allow_offline() -> None:
    """Let ICE fall back to the loopback address where a machine has no other (a laptop without a network)."""
    original = aioice.ice.get_host_addresses
    if getattr(original, "with_loopback", False):
        return

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return original(use_ipv4, use_ipv6) or ["127.0.0.1"]

    addresses.with_loopback = True  # type: ignore[attr-defined]
    aioice.ice.get_host_addresses = addresses
