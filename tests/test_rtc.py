"""Peers and their media without HTTP: reception, encoding, the frame path, hostile offers."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiortc import AudioStreamTrack, RTCRtpSender
from aiortc.codecs.h264 import H264Encoder
from aiortc.rtp import RtpPacket
from doubles import Client, FakeAvatar, PictureTrack, client, gradient, until

from narrate_stream import rtc
from narrate_stream.broadcast import Encoded, EncodedTrack, LiveVp8Encoder, is_key, start_bitrate
from narrate_stream.hub import Hub
from narrate_stream.media_rtc import MAX_WAITING, BoundedDecoderQueue, PromptJitterBuffer, hint_bitrate, without_mdns
from narrate_stream.metrics import Meter, Metrics
from narrate_stream.signaling import SignalingError
from narrate_stream.stage import Stage, planes


def packet(number: int, timestamp: int, marker: int = 0, data: bytes = b"x") -> RtpPacket:
    made = RtpPacket(sequence_number=number & 0xFFFF, timestamp=timestamp & 0xFFFFFFFF, marker=marker)
    made._data = data
    return made


class TestPromptJitterBuffer:
    def test_a_frame_is_complete_at_its_marker(self) -> None:
        buffer = PromptJitterBuffer()
        assert buffer.add(packet(65534, 0, data=b"a")) == (False, None)
        assert buffer.add(packet(65535, 0, data=b"b")) == (False, None)
        needs_key, frame = buffer.add(packet(0, 0, 1, b"c"))
        assert not needs_key
        assert frame is not None
        assert (frame.data, frame.timestamp) == (b"abc", 0)
        assert buffer.add(packet(1, 3000, 1, b"d"))[1].data == b"d"

    def test_disorder_is_put_right(self) -> None:
        buffer = PromptJitterBuffer()
        assert buffer.add(packet(10, 0, data=b"a"))[1] is None
        assert buffer.add(packet(12, 0, 1, b"c"))[1] is None
        assert buffer.add(packet(11, 0, data=b"b"))[1].data == b"abc"

    def test_without_markers_it_is_the_original(self) -> None:
        buffer = PromptJitterBuffer()
        buffer.add(packet(1, 0, data=b"a"))
        assert buffer.add(packet(2, 3000, data=b"b"))[1].data == b"a"

    def test_a_packet_that_never_comes_is_given_up(self) -> None:
        buffer = PromptJitterBuffer()
        assert buffer.add(packet(0, 0, 1))[1] is not None
        given_up = 0
        frames = []
        for n in range(2, 60):  # number 1 is lost
            needs_key, frame = buffer.add(packet(n, n * 3000, 1))
            given_up += needs_key
            frames.append(frame)
        assert given_up == 1
        assert sum(f is None for f in frames) <= 14  # 0.4 s and no more
        assert frames[-1] is not None

    def test_a_late_packet_still_counts(self) -> None:
        buffer = PromptJitterBuffer()
        buffer.add(packet(0, 0, 1))
        for n in (2, 3, 4):
            assert buffer.add(packet(n, n * 3000, 1)) == (False, None)
        assert buffer.add(packet(1, 3000, 1))[1].timestamp == 3000
        assert buffer.add(packet(5, 15000, 1))[1].timestamp == 6000  # the rest follows, one a packet


def test_the_decoder_queue_is_bounded_and_asks_for_a_key_frame() -> None:
    lost = threading.Event()
    waiting = BoundedDecoderQueue(lost)
    for n in range(MAX_WAITING + 5):
        waiting.put(n)
    assert waiting.qsize() == 5
    assert waiting.dropped == MAX_WAITING
    assert lost.is_set()
    waiting.put(None)
    assert [waiting.get_nowait() for _ in range(6)][-1] is None
    with pytest.raises(queue.Empty):
        waiting.get_nowait()


def test_hints_and_candidates_in_sdp() -> None:
    sdp = "v=0\r\na=rtpmap:97 rtx/90000\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:102 H264/90000\r\n"
    sdp += "a=fmtp:102 packetization-mode=1\r\n"
    hinted = hint_bitrate(sdp, 1000, 2000)
    assert "a=fmtp:96 x-google-start-bitrate=1000;x-google-max-bitrate=2000\r\n" in hinted
    assert "a=fmtp:102 packetization-mode=1;x-google-start-bitrate=1000" in hinted
    assert hinted.count("x-google-start") == 2
    assert without_mdns(sdp) == sdp
    local = (
        sdp
        + "a=candidate:1 1 udp 1 0a-b.local 9 typ host\r\n"
        + "a=candidate:2 1 udp 1 10.0.0.1 9 typ host\r\na=end-of-candidates\r\n"
    )
    assert without_mdns(local) == sdp + "a=candidate:2 1 udp 1 10.0.0.1 9 typ host\r\n"


def video(n: int, size: int = 256) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(gradient(n, size), format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = n * 3000, Fraction(1, 90000)
    return frame


@pytest.mark.parametrize(("encoder", "mime"), [(LiveVp8Encoder, "video/VP8"), (H264Encoder, "video/H264")])
def test_key_frames_are_told_apart(encoder: Any, mime: str) -> None:
    it = encoder()
    keys = [is_key(mime, it.encode(video(n), n in (0, 4))[0][0]) for n in range(6)]
    assert keys == [True, False, False, False, True, False]


def test_start_bitrates() -> None:
    assert start_bitrate(512, 512) == 2_000_000
    assert start_bitrate(64, 64) == 600_000
    assert 4_000_000 < start_bitrate(1024, 1024) <= 6_000_000


def test_a_slow_sender_loses_frames_only_up_to_the_next_key_frame() -> None:
    async def run() -> None:
        track = EncodedTrack()
        assert not track.push(Encoded([b"1"], 1, key=False))  # nothing can begin with a delta frame
        assert track.push(Encoded([b"2"], 2, key=True))
        while track.push(Encoded([b"3"], 3, key=False)):
            pass
        assert not track.push(Encoded([b"4"], 4, key=False))
        assert track.push(Encoded([b"5"], 5, key=True))
        assert (await asyncio.wait_for(track.recv(), 1)).timestamp == 5

    asyncio.run(run())


class TestStage:
    @pytest.mark.parametrize("size", [(256, 256), (512, 384), (301, 257), (640, 480)])
    def test_the_marker_strip_is_exact(self, size: tuple[int, int]) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (384 * 3 // 2, 512), np.uint8)
        driving = av.VideoFrame.from_ndarray(noise, format="yuv420p")
        driving.pts, driving.time_base = 777, Fraction(1, 90000)
        avatar = FakeAvatar(size)
        stage = Stage(avatar, ThreadPoolExecutor(1), Meter(Metrics()), marker=True)
        picture = stage.work(driving)
        assert picture is not None
        assert (picture.pts, picture.time_base) == (777, Fraction(1, 90000))
        assert (picture.width, picture.height) == (size[0] & ~1, size[1] & ~1)
        for scale, there, here in zip((1, 2, 2), planes(driving), planes(picture), strict=True):
            assert (there[: 16 // scale, : 256 // scale] == here[: 16 // scale, : 256 // scale]).all()
        plain = Stage(FakeAvatar(size), ThreadPoolExecutor(1), Meter(Metrics())).work(driving)
        assert (planes(plain)[0][16:] == planes(picture)[0][16:]).all()  # nothing else was touched
        assert (planes(plain)[0][:16, :256] != planes(picture)[0][:16, :256]).any()

    def test_colours_survive_the_way(self) -> None:
        stage = Stage(FakeAvatar((256, 256)), ThreadPoolExecutor(1), Meter(Metrics()))
        there = stage._convert.frame_from_video(video(3)).image
        assert np.abs(there.astype(int) - gradient(3)).mean() < 4

    def test_the_newest_frame_wins_and_a_bad_one_is_survived(self) -> None:
        async def run() -> None:
            avatar = FakeAvatar(work_ms=60)
            worker = ThreadPoolExecutor(1)
            stage = Stage(avatar, worker, Meter(Metrics()))
            seen: list[int] = []
            stage.outlets.append(lambda picture, arrived: seen.append(picture.pts))
            track = PictureTrack(gradient, fps=100)
            task = asyncio.ensure_future(stage.run(track))
            await asyncio.sleep(0.8)
            assert stage.meter.totals["dropped"] > 20
            assert len(seen) + stage.meter.totals["dropped"] + 2 >= stage.meter.totals["in"]
            assert seen == sorted(seen)
            assert track.n - seen[-1] / 900 < 20  # no queue in between: the last one seen is recent
            avatar.fail = True
            await until(lambda: stage.meter.totals["failed"] > 2)
            avatar.fail = False
            count = len(seen)
            await until(lambda: len(seen) > count + 2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await stage.close()
            assert avatar.closed
            assert len(avatar.threads) == 1
            worker.shutdown()

        asyncio.run(run())

    def test_sound_comes_as_late_as_the_picture(self) -> None:
        async def run() -> None:
            stage = Stage(FakeAvatar(), ThreadPoolExecutor(1), Meter(Metrics()))
            stage.meter.delay_s = 0.12
            heard: list[tuple[float, int]] = []
            stage.sound_outlets.append(lambda sound: heard.append((time.monotonic(), sound.pts)))
            begun = time.monotonic()
            task = asyncio.ensure_future(stage.hear(AudioStreamTrack()))
            await until(lambda: len(heard) >= 10, 3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for at, pts in heard:
                assert 0.08 < at - begun - pts / 8000 < 0.2  # 0.1 s: the picture's delay less the receiver's own
            assert [pts for _, pts in heard] == sorted(pts for _, pts in heard)

        asyncio.run(run())


@contextlib.asynccontextmanager
async def hub(**options: Any) -> AsyncIterator[Hub]:
    before = FakeAvatar.alive
    it = Hub(lambda _: FakeAvatar(), metrics=Metrics(), **options)
    try:
        yield it
    finally:
        await it.close()
        await until(lambda: FakeAvatar.alive <= before)
        assert not it.peers


def test_frames_return_with_controls_and_stats_and_sound() -> None:
    async def run() -> None:
        async with hub() as it, client() as peer:
            peer.pc.addTrack(PictureTrack(gradient))
            peer.pc.addTrack(AudioStreamTrack())
            channel = peer.control(ordered=False, maxRetransmits=0)
            session, answer = await it.drive(await peer.offer(), {"light": "rembrandt"}, back=True)
            assert "x-google-start-bitrate" in answer
            await peer.answered(answer)
            await until(lambda: len(peer.frames) > 10)
            assert session.state == "connected"
            red, _, blue = peer.frames[-1].to_ndarray(format="rgb24").mean((0, 1))
            assert red > 1.5 * blue
            await until(lambda: channel.readyState == "open")
            channel.send('{"light": "split", "view": {"yaw": 12}}')
            state = await until(
                lambda: [m["state"] for m in peer.messages if m.get("state", {}).get("light") == "split"]
            )
            assert state[0]["view"] == {"yaw": 12.0, "pitch": 0.0}
            for bad in ('{"light": "moon"}', '{"light": 3}', "?", '{"reboot": true}', '{"style": "oil"}', "x" * 9000):
                channel.send(bad)
            await until(lambda: sum("error" in m for m in peer.messages) == 6)
            stats = (await until(lambda: [m["stats"] for m in peer.messages if "stats" in m]))[-1]
            assert stats["fps_in"] > 5
            assert stats["stage_ms"]["render"] > 0
            assert stats["held_back"] == {"yaw": 14.2}
            assert stats["calibration"]["score"] == 0.83
            assert stats["tracking"] is True
            await until(lambda: len(peer.sounds) > 5)

    asyncio.run(run())


def test_h264_when_it_is_offered_first() -> None:
    async def run() -> None:
        async with hub() as it, client() as peer:
            transceiver = peer.pc.addTransceiver(PictureTrack(gradient))
            codecs = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences([c for c in codecs if c.mimeType == "video/H264"])
            _, answer = await it.drive(await peer.offer(), {}, back=True)
            await peer.answered(answer)
            await until(lambda: len(peer.frames) > 5)
            assert "H264" in answer
            assert "VP8" not in answer

    asyncio.run(run())


def test_viewers_share_one_encoder_and_outlive_a_driver() -> None:
    async def run() -> None:
        async with hub() as it, client() as one, client() as two:
            for viewer in (one, two):
                viewer.pc.addTransceiver("video", direction="recvonly")
                _, answer = await it.watch(await viewer.offer())
                await viewer.answered(answer)
            await until(lambda: len(one.frames) > 3 and len(two.frames) > 3)  # nobody drives: an avatar at rest
            resting = FakeAvatar.alive
            async with client() as driver:
                driver.pc.addTrack(PictureTrack(gradient))
                session, answer = await it.drive(await driver.offer(), {"light": "split"}, back=False)
                assert session.role == "whip"
                await driver.answered(answer)

                def blue(viewer: Client) -> bool:
                    red, _, blue = viewer.frames[-1].to_ndarray(format="rgb24").mean((0, 1))
                    return bool(blue > 1.5 * red)

                await until(lambda: blue(one) and blue(two))
                assert len(it.programme.broadcast._lanes) == 1
                assert not driver.frames
                await session.close()
            count = len(one.frames)
            await until(lambda: not blue(one) and len(one.frames) > count + 3)  # at rest again
            assert FakeAvatar.alive == resting
            stamps = [frame.pts for frame in one.frames]
            assert stamps == sorted(stamps)  # no jump back at either change

    asyncio.run(run())


def test_a_handshake_that_does_not_finish_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtc, "HANDSHAKE_S", 0.3)

    async def run() -> None:
        async with hub() as it, client() as peer:
            peer.pc.addTrack(PictureTrack(gradient))
            ended: list[bool] = []
            session, _ = await it.drive(await peer.offer(), {}, back=True)
            session.closed = lambda: ended.append(True)
            assert len(it.peers) == 1
            await until(lambda: ended, 5)
            assert not it.peers

    asyncio.run(run())


def test_places_are_counted() -> None:
    async def run() -> None:
        async with hub(max_peers=1) as it, client() as peer, client() as other:
            peer.pc.addTrack(PictureTrack(gradient))
            other.pc.addTrack(PictureTrack(gradient))
            session, _ = await it.drive(await peer.offer(), {}, back=True)
            with pytest.raises(SignalingError) as caught:
                await it.drive(await other.offer(), {}, back=True)
            assert (caught.value.code, caught.value.status) == ("busy", 503)
            await session.close()
            await it.drive(await other.offer(), {}, back=True)

    asyncio.run(run())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0


def test_mutated_offers_are_refused_with_one_error() -> None:
    async def run() -> None:
        rng = random.Random(11)
        async with hub(max_peers=4) as it, client() as peer:
            peer.pc.addTrack(PictureTrack(gradient))
            peer.pc.addTrack(AudioStreamTrack())
            peer.control()
            good = await peer.offer()
            refused, answered, codes = 0, 0, set()
            await asyncio.sleep(0.1)
            files = open_files()
            for sdp in ["", "v=0", "x", "v=0\r\nm=", *(mutate(good, rng) for _ in range(120))]:
                try:
                    session, _ = await it.drive(sdp, {}, back=True)
                except SignalingError as error:
                    codes.add(error.code)
                    refused += 1
                else:
                    answered += 1
                    await session.close()
                assert len(it.peers) == 0
            assert codes <= {"bad-offer", "too-large"}
            assert refused > 30
            assert answered > 3
            await asyncio.sleep(0.2)
            assert open_files() <= files + 4

    asyncio.run(asyncio.wait_for(run(), 60))


def mutate(sdp: str, rng: random.Random) -> str:
    lines = sdp.splitlines()
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        kind = rng.randrange(5)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif kind == 2:
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
        elif kind == 3:
            lines[at] = "".join(rng.choice("0123456789 :;=/azAZ") if rng.random() < 0.3 else c for c in lines[at])
        else:
            lines[at] = lines[at].replace("sendrecv", "inactive").replace("actpass", "holdconn").replace("udp", "sctp")
    return "\r\n".join(lines) + "\r\n"


def test_idle_is_a_control_like_the_others() -> None:
    avatar = FakeAvatar()
    assert rtc.apply_control(avatar, {"idle": False})["idle"] is False
    assert rtc.apply_control(avatar, {"idle": True, "light": "neon"})["idle"] is True
    avatar.close()
