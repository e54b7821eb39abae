"""All peers of one live server: who is let in, the threads they share, and the programme for viewers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiortc import RTCIceServer

from narrate_stream.broadcast import allow_bitrates
from narrate_stream.media_rtc import allow_offline
from narrate_stream.metrics import Metrics
from narrate_stream.protocols import Avatar
from narrate_stream.rtc import Peer, apply_control
from narrate_stream.signaling import STARTING, SignalingError, ice_server
from narrate_stream.stage import Programme

T = TypeVar("T")
MakeAvatar = Callable[[dict[str, Any]], Avatar]


class Hub:
    """Admits peers and owns what they share: one frame worker, one encoder thread, one builder, one programme."""

    def __init__(
        self,
        make_avatar: MakeAvatar,
        *,
        metrics: Metrics,
        ice_servers: Sequence[str] = (),
        latency_marker: bool = False,
        max_peers: int = 8,
    ) -> None:
        self.metrics, self.latency_marker, self.max_peers = metrics, latency_marker, max_peers
        self.ice_servers = [RTCIceServer(**ice_server(url)) for url in ice_servers]
        self.peers: dict[str, Peer] = {}
        self.closing: set[asyncio.Task[None]] = set()
        self._builds: set[asyncio.Future[Avatar]] = set()
        self.worker = ThreadPoolExecutor(1, "narrate-frames")
        self.encoder = ThreadPoolExecutor(1, "narrate-encode")
        self._builder = ThreadPoolExecutor(1, "narrate-build")
        self._make_avatar = make_avatar
        self.programme = Programme(lambda: self.make({}), self.worker, self.encoder, metrics)
        allow_bitrates()
        allow_offline()

    async def drive(self, sdp: str, options: dict[str, Any], *, back: bool) -> tuple[Peer, str]:
        """Admit a driver. Raises SignalingError (`busy`, `bad-offer`, ...) and whatever make_avatar raises."""
        return await self._admit("driver" if back else "whip", sdp, options)

    async def watch(self, sdp: str) -> tuple[Peer, str]:
        """Admit a viewer."""
        return await self._admit("viewer", sdp, {})

    async def _admit(self, role: str, sdp: str, options: dict[str, Any]) -> tuple[Peer, str]:
        if len(self.peers) >= self.max_peers:
            raise SignalingError("busy", f"all {self.max_peers} places are taken; try again later", 503)
        peer = Peer(self, role)
        self.peers[peer.id] = peer
        self.metrics.peers.labels(role).inc()
        try:
            if role == "viewer":
                answer = await peer.watch(sdp)
            else:
                peer.model = options.get("model")
                answer = await peer.drive(sdp, await self.make(options), back=role == "driver")
        except BaseException:
            await asyncio.shield(peer.close())
            raise
        self.metrics.sessions.labels(role).inc()
        peer.expect()
        return peer, answer

    async def make(self, options: dict[str, Any]) -> Avatar:
        """Build an avatar away from the event loop and the frame path; one that nobody waits for any more is closed."""
        future = asyncio.get_running_loop().run_in_executor(self._builder, self._build, options)
        self._builds.add(future)
        future.add_done_callback(self._builds.discard)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda f: None if f.cancelled() or f.exception() else f.result().close())
            raise

    async def aside(self, work: Callable[[], T]) -> T:
        """Do something slow away from the event loop and the frame path, where avatars are built too."""
        return await asyncio.get_running_loop().run_in_executor(self._builder, work)

    def _build(self, options: dict[str, Any]) -> Avatar:
        start: dict[str, Any] = {key: options[key] for key in STARTING if key in options}
        avatar = self._make_avatar(options)
        try:
            if start:
                apply_control(avatar, start)
        except BaseException:
            avatar.close()
            raise
        return avatar

    def forget(self, peer: Peer) -> None:
        """Take a closing peer off the list."""
        if self.peers.pop(peer.id, None):
            self.metrics.peers.labels(peer.role).dec()

    async def close(self) -> None:
        """Close every peer, then the threads."""
        for peer in list(self.peers.values()):
            peer.close()
        await asyncio.gather(*self.closing, return_exceptions=True)
        await self.programme.close()
        await asyncio.gather(*self._builds, return_exceptions=True)
        for pool in (self._builder, self.worker, self.encoder):
            pool.shutdown(wait=False, cancel_futures=True)
