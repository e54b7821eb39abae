"""Peers: one WebRTC connection each, admitted, negotiated, watched and closed here.

A peer is a driver (its video animates an avatar of its own, which comes back unless it is WHIP) or a viewer (WHEP).
A browser or a stranger may send anything: whatever an offer makes aiortc raise becomes one `bad-offer`, a handshake
that does not finish is closed, and closing never raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.sdp import SessionDescription, candidate_from_sdp

from narrate_stream.broadcast import Broadcast, EncodedTrack
from narrate_stream.errors import NarrateError
from narrate_stream.media_rtc import hint_bitrate, tune_receiver, without_mdns
from narrate_stream.metrics import Meter, Metrics
from narrate_stream.protocols import Avatar
from narrate_stream.signaling import Candidate, SignalingError, check_sdp_size, parse_control
from narrate_stream.stage import Programme, SoundTrack, Stage
from narrate_stream.types import View
from narrate_stream.uploads import Uploads

logger = logging.getLogger(__name__)

HANDSHAKE_S = 20.0
NEGOTIATE_S = 10.0
CLOSE_S = 5.0
MAX_CANDIDATES = 100
MAX_SECTIONS = 8


def apply_control(avatar: Avatar, control: dict[str, Any], uploads: Uploads | None = None) -> dict[str, Any]:
    """Apply a parsed control on the worker and return the new state. Raises NarrateError for one the avatar refuses."""
    maps = uploads or Uploads()
    setters: dict[str, Callable[[Any], None]] = {
        "light": lambda light: avatar.set_light(maps.resolve(light)),
        "exposure": lambda stops: avatar.set_grade(exposure=stops),
        "warmth": lambda mired: avatar.set_grade(warmth=mired),
        "turn": lambda degrees: avatar.set_grade(turn=degrees),
        "background": avatar.set_background,
        "view": lambda view: avatar.set_view(View(**view)),
        "idle": avatar.set_idle,
        "calibrate": lambda _: avatar.calibrate(),
    }
    if "style" in control:
        style = getattr(avatar, "set_style", None)
        if style is None:
            raise SignalingError("bad-control", "this avatar has no styles")
        setters["style"] = style
    for key, value in control.items():
        setters[key](value)
    return avatar.state()


class Household(Protocol):
    """What a peer needs of the hub it lives in."""

    worker: ThreadPoolExecutor
    encoder: ThreadPoolExecutor
    metrics: Metrics
    programme: Programme
    ice_servers: list[RTCIceServer]
    latency_marker: bool
    closing: set[asyncio.Task[None]]

    def forget(self, peer: Peer) -> None:
        """Take a closing peer off the list."""


class Peer:
    """One connection. `closed` is called once, from the event loop, when it is over."""

    def __init__(self, hub: Household, role: str) -> None:
        self.id, self.etag = secrets.token_urlsafe(16), f'"{secrets.token_hex(8)}"'
        self.role = role
        self.model: str | None = None  # which one it asked for; None is the first
        self.uploads = Uploads()
        self.closed: Callable[[], None] = lambda: None
        self._hub = hub
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=list(hub.ice_servers)))
        self._pc.on("track", lambda track: self._tracks.append(track))
        self._pc.on("datachannel", self._on_channel)
        self._pc.on("connectionstatechange", self._on_state)
        self._tracks: list[MediaStreamTrack] = []
        self._outgoing: list[MediaStreamTrack] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._candidates = 0
        self._channel: RTCDataChannel | None = None
        self._controls: asyncio.Queue[str | bytes] = asyncio.Queue(maxsize=64)
        self._stage: Stage | None = None
        self._broadcast: Broadcast | None = None
        self._watching: SoundTrack | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """aiortc's connection state."""
        return self._pc.connectionState

    async def drive(self, sdp: str, avatar: Avatar, *, back: bool) -> str:
        """Answer a driver's offer; with `back` the avatar returns on the same connection."""
        hub = self._hub
        meter = Meter(hub.metrics)
        self._stage = stage = Stage(avatar, hub.worker, meter, marker=hub.latency_marker)
        await self._offer(sdp, receive=True)
        videos = [t for t in self._tracks if t.kind == "video"]
        audios = [t for t in self._tracks if t.kind == "audio"]
        if not videos:
            raise SignalingError("bad-offer", "the offer has no video to drive the avatar with")
        if back:
            self._broadcast = Broadcast(hub.encoder, lambda s, size, takers: _account(meter, s, size, takers))
            ticks = self._broadcast
            stage.outlets.append(lambda picture, arrived: ticks.offer(picture, picture.pts or 0, arrived))
        video, sound = self._send_video() if back else None, SoundTrack()
        if back and audios and self._sends("audio"):
            self._outgoing.append(sound)
            self._pc.addTrack(sound)
            stage.sound_outlets.append(sound.push)
        answer = await self._answer()
        if self._broadcast and video:
            self._attach(self._broadcast, *video)
        hub.programme.enter(stage)
        self._spawn(self._until_end(stage.run(videos[0])))
        if audios:
            self._spawn(stage.hear(audios[0]))
        self._spawn(self._control())
        self._spawn(self._report(meter))
        return answer

    async def watch(self, sdp: str) -> str:
        """Answer a viewer's offer."""
        await self._offer(sdp, receive=False)
        if not self._sends("video"):
            raise SignalingError("bad-offer", "the offer takes no video")
        video = self._send_video()
        self._watching = sound = SoundTrack()
        if self._sends("audio"):
            self._outgoing.append(sound)
            self._pc.addTrack(sound)
        answer = await self._answer()
        self._attach(self._hub.programme.broadcast, *video)
        self._hub.programme.watch(sound)
        return answer

    async def add(self, candidate: Candidate) -> None:
        """Add a trickled candidate. Raises SignalingError `bad-candidate`."""
        self._candidates += 1
        if not candidate.candidate or ".local " in candidate.candidate:
            return
        if self._candidates > MAX_CANDIDATES:
            raise SignalingError("bad-candidate", "too many candidates")
        try:
            ice = candidate_from_sdp(candidate.candidate.split(":", 1)[-1])
            ice.sdpMid, ice.sdpMLineIndex = candidate.mid, candidate.line
            await self._pc.addIceCandidate(ice)
        except Exception as error:  # a stranger's text: aiortc raises many types
            raise SignalingError("bad-candidate", "the candidate cannot be used") from error

    def ufrag(self) -> str | None:
        """The remote's ICE user fragment, which another value in a PATCH would mean to restart."""
        media = SessionDescription.parse(self._pc.remoteDescription.sdp).media
        return media[0].ice.usernameFragment if media and media[0].ice else None

    def close(self) -> asyncio.Task[None]:
        """Close once; await the task to know that everything is freed."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
            self._hub.closing.add(self._closing)
            self._closing.add_done_callback(self._hub.closing.discard)
        return self._closing

    async def _offer(self, sdp: str, *, receive: bool) -> None:
        check_sdp_size(sdp)
        if sdp.count("\nm=") > MAX_SECTIONS or sdp.count("a=candidate:") > MAX_CANDIDATES:
            raise SignalingError("bad-offer", "the offer has too many sections or candidates")
        await self._negotiate(self._pc.setRemoteDescription(RTCSessionDescription(without_mdns(sdp), "offer")))
        first = {kind: next((t for t in self._tracks if t.kind == kind), None) for kind in ("video", "audio")}
        for transceiver in self._pc.getTransceivers():
            tune_receiver(transceiver.receiver)
            track: MediaStreamTrack | None = transceiver.receiver.track
            if track is not None and not (receive and track is first[transceiver.kind]):
                transceiver.direction = "inactive"  # nobody reads it, so nothing may queue for it

    async def _answer(self) -> str:
        await self._negotiate(self._pc.setLocalDescription())
        return hint_bitrate(self._pc.localDescription.sdp)

    async def _negotiate(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await asyncio.wait_for(step, NEGOTIATE_S)
        except Exception as error:  # a stranger's SDP: mutated ones raise at least seven types
            logger.info("an offer was refused: %s: %s", type(error).__name__, error)
            raise SignalingError(
                "bad-offer", "the offer cannot be answered: it is not an SDP this server knows"
            ) from error

    def _sends(self, kind: str) -> bool:
        """Whether the offer lets us send that kind."""
        ours = [t for t in self._pc.getTransceivers() if t.kind == kind]
        return any(t._offerDirection in ("sendonly", "sendrecv") for t in ours)

    def _send_video(self) -> tuple[RTCRtpSender, EncodedTrack]:
        track = EncodedTrack()
        self._outgoing.append(track)
        return self._pc.addTrack(track), track

    def _attach(self, broadcast: Broadcast, sender: RTCRtpSender, track: EncodedTrack) -> None:
        transceiver = next(t for t in self._pc.getTransceivers() if t.sender is sender)
        broadcast.attach(sender, transceiver._codecs[0], track)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(_log_failure)

    async def _until_end(self, run: Coroutine[Any, Any, None]) -> None:
        try:
            await run
        finally:
            self.close()

    def _on_state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self.close()

    def expect(self) -> None:
        """From now on the handshake has 20 s to finish."""
        self._spawn(self._expire())

    async def _expire(self) -> None:
        await asyncio.sleep(HANDSHAKE_S)
        if self._pc.connectionState != "connected":
            logger.info("a peer did not connect within %.0f s", HANDSHAKE_S)
            self.close()

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == "control" and self._channel is None:
            self._channel = channel
            channel.on("message", self._on_control)
            self._spawn(self._greet())

    async def _greet(self) -> None:
        if self._stage:
            self._say({"state": self._stage.avatar.state()})

    def _on_control(self, text: str | bytes) -> None:
        if self._controls.full():
            self._controls.get_nowait()  # controls are absolute, so the oldest matters least
        self._controls.put_nowait(text)

    async def _control(self) -> None:
        loop = asyncio.get_running_loop()
        while self._stage:
            text = await self._controls.get()
            try:
                control = parse_control(text)
                state = await loop.run_in_executor(
                    self._hub.worker, apply_control, self._stage.avatar, control, self.uploads
                )
                self._say({"state": state})
            except NarrateError as error:
                self._say({"error": {"message": str(error)}})
            except Exception:  # the task boundary: one control is lost, the session goes on
                logger.exception("a control failed")
                self._say({"error": {"message": "the control could not be applied"}})

    async def _report(self, meter: Meter) -> None:
        while self._stage:
            await asyncio.sleep(1)
            self._say({"stats": meter.stats() | self._stage.seen})

    def _say(self, message: dict[str, Any]) -> None:
        channel = self._channel
        if channel and channel.readyState == "open" and channel.bufferedAmount < 1 << 16:
            channel.send(json.dumps(message))

    async def _close(self) -> None:
        hub, stage = self._hub, self._stage
        hub.forget(self)
        if self._watching:
            hub.programme.unwatch(self._watching)
        if stage:
            hub.programme.leave(stage)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for track in self._outgoing:
            track.stop()
        await close_connection(self._pc)
        if self._broadcast:
            await self._broadcast.close()
        if stage:
            await stage.close()
        self.closed()


async def close_connection(pc: RTCPeerConnection) -> None:
    """Close a connection whatever its state; what aiortc raises or leaves open is logged and freed."""
    try:
        await asyncio.wait_for(pc.close(), CLOSE_S)
    except Exception:  # the task boundary: half-negotiated connections raise many types on close
        logger.info("a connection did not close cleanly", exc_info=True)
    for transport in list(getattr(pc, "_RTCPeerConnection__iceTransports", ())):
        with contextlib.suppress(Exception):
            await asyncio.wait_for(transport.stop(), CLOSE_S)


def _account(meter: Meter, seconds: float, size: int, takers: int) -> None:
    meter.latency(seconds)
    meter.sent(size * takers)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("a peer's task failed", exc_info=error)
