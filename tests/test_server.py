"""The server on a real socket: page, signalling, WHIP, WHEP, health, metrics, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from aiortc import RTCRtpSender
from doubles import FakeAvatar, PictureTrack, client, gradient, let_go, served, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from narrate_stream import rtc, server
from narrate_stream.errors import NarrateError
from narrate_stream.gallery import shown_name
from narrate_stream.ops.lighting import Lighting
from narrate_stream.server import create_app, run_server
from narrate_stream.stage import planes
from narrate_stream.uploads import MAX_BYTES

SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"


def make(options: dict[str, Any]) -> FakeAvatar:
    if options.get("model") == "broken":
        raise NarrateError("broken.narrate is damaged")
    return FakeAvatar()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(create_app(make, models=["anna", "broken"], latency_marker=True, ice_servers=["stun:s.example"])) as it:
        yield it


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    ice = ["turn:u:p@t.example"]
    with served(create_app(make, token="sesame", max_peers=1, ice_servers=ice)) as it:
        yield it


def http(
    method: str, url: str, body: str | bytes | None = None, kind: str | None = SDP, **headers: str
) -> tuple[int, dict[str, str], str]:
    head = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(url, data, head | ({"Content-Type": kind} if kind and data else {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, dict(answer.headers.items()), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers.items()), error.read().decode()


async def ask(method: str, url: str, body: str | bytes | None = None, **more: Any) -> tuple[int, dict[str, str], str]:
    return await asyncio.to_thread(lambda: http(method, url, body, **more))


def ws(url: str) -> str:
    return url.replace("http", "ws") + "/ws"


async def session(sock: Any, peer: Any, **more: Any) -> dict[str, Any]:
    await sock.send(json.dumps({"type": "offer", "sdp": await peer.offer()} | more))
    return json.loads(await asyncio.wait_for(sock.recv(), 10))


# ---- plain HTTP ----------------------------------------
def test_page_health_metrics_config(url: str) -> None:
    status, headers, text = http("GET", url + "/")
    assert status == 200
    assert "<title>" in text
    assert "default-src 'self'" in headers["content-security-policy"]
    assert http("GET", url + "/app.js")[1]["content-type"].startswith("text/javascript")
    health = json.loads(http("GET", url + "/healthz")[2])
    assert health["status"] == "ok"
    assert "narrate_peers" in http("GET", url + "/metrics")[2]
    config = json.loads(http("GET", url + "/api/config")[2])
    assert config["models"] == ["anna", "broken"]
    assert {"original", "rembrandt", "webcam"} <= set(config["lights"])
    assert config["rigs"]["rembrandt"]["az"] < 0
    assert config["ice_servers"] == [{"urls": "stun:s.example"}]
    assert config["token_required"] is False
    assert http("GET", url + "/../pyproject.toml")[0] == 404
    assert http("GET", url + "/%2e%2e/pyproject.toml")[0] == 404


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for file in server.client_folder().iterdir():
        text = (
            file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "").replace("http://localhost", "")
        )
        assert "//cdn" not in text
        assert "http://" not in text
        assert "https://${location.host}" in text or "https://" not in text


# ---- /ws ----------------------------------------
def test_a_driver_by_websocket_with_the_marker(url: str) -> None:
    strip = np.repeat((np.arange(16) % 3 == 0).astype(np.uint8) * 255, 16)

    def picture(n: int) -> np.ndarray:
        image = gradient(n).copy()
        image[:16] = strip[None, :, None]
        return image

    async def run() -> None:
        async with connect(ws(url)) as sock, client() as peer:
            peer.pc.addTrack(PictureTrack(picture))
            peer.control()
            answer = await session(sock, peer, options={"model": "anna", "light": "neon"})
            assert answer["type"] == "answer"
            assert answer["session"]
            await peer.answered(answer["sdp"])
            await until(lambda: len(peer.frames) > 20)
            luma = planes(peer.frames[-1])[0][4:12, :256].mean(0)
            assert np.abs(luma - (16 + strip / 255 * 219)).mean() < 20  # through two encoders, unmirrored and untinted
            await sock.send(json.dumps({"type": "candidate", "candidate": ""}))
            await until(lambda: any("stats" in m for m in peer.messages))
            assert json.loads((await ask("GET", url + "/healthz"))[2])["peers"] == 1
            assert 'narrate_peers{role="driver"} 1.0' in (await ask("GET", url + "/metrics"))[2]
        await gone(url)

    alive = FakeAvatar.alive
    asyncio.run(run())
    assert let_go(alive)


async def gone(url: str) -> None:
    for _ in range(100):
        if json.loads((await ask("GET", url + "/healthz"))[2])["peers"] == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a peer was left over")


def test_a_new_offer_on_the_same_socket_replaces_the_session(url: str) -> None:
    async def run() -> None:
        async with connect(ws(url)) as sock, client() as one, client() as two:
            for peer in (one, two):
                peer.pc.addTrack(PictureTrack(gradient))
                answer = await session(sock, peer)
                await peer.answered(answer["sdp"])
                await until(lambda peer=peer: len(peer.frames) > 2)
            assert json.loads((await ask("GET", url + "/healthz"))[2])["peers"] == 1
        await gone(url)

    asyncio.run(run())


def test_what_a_socket_refuses(url: str) -> None:
    async def run() -> None:
        async with client() as peer, connect(ws(url)) as sock:
            peer.pc.addTransceiver("video", direction="recvonly")
            for text, code in (
                ("hello", "bad-message"),
                ('{"type": "candidate", "candidate": "x"}', "bad-message"),
                (json.dumps({"type": "offer", "sdp": "v=0"}), "bad-offer"),
                (json.dumps({"type": "offer", "sdp": await peer.offer()}), "bad-offer"),  # nothing drives
            ):
                await sock.send(text)
                answer = json.loads(await asyncio.wait_for(sock.recv(), 10))
                assert (answer["type"], answer["code"]) == ("error", code)
            await sock.send(b"\x00\xff")  # the fifth: the server has had enough
            assert json.loads(await asyncio.wait_for(sock.recv(), 10))["type"] == "error"
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(sock.recv(), 5)
        async with client() as peer, connect(ws(url)) as sock:
            peer.pc.addTrack(PictureTrack(gradient))
            assert (await session(sock, peer, options={"model": "nobody"}))["code"] == "bad-option"
            answer = await session(sock, peer, options={"model": "broken"})
            assert answer["message"] == "broken.narrate is damaged"
            assert (await session(sock, peer, options={"light": "/etc/passwd"}))["code"] == "bad-control"
            assert (await session(sock, peer, options={"light": "moon"}))["code"] == "bad-option"
        async with connect(ws(url)) as sock:
            await sock.send("x" * 500_000)
            assert json.loads(await asyncio.wait_for(sock.recv(), 5))["code"] == "too-large"
        assert json.loads((await ask("GET", url + "/healthz"))[2])["peers"] == 0

    asyncio.run(run())


def test_pages_of_other_origins(url: str, locked: str) -> None:
    async def code(address: str, origin: str, **more: Any) -> str:
        async with connect(ws(address), origin=origin) as sock, client() as peer:  # type: ignore[arg-type]
            peer.pc.addTrack(PictureTrack(gradient))
            return (await session(sock, peer, **more)).get("code", "fine")

    async def run() -> None:
        assert await code(url, "https://evil.example") == "forbidden"
        assert await code(url, url) == "fine"
        assert await code(locked, "https://friend.example", token="sesame") == "fine"
        await gone(locked)

    asyncio.run(run())
    assert http("POST", url + "/whep", "v=0", Origin="https://evil.example")[0] == 403
    assert "access-control-allow-origin" not in http("OPTIONS", url + "/whep")[1]
    assert http("OPTIONS", locked + "/whep")[1]["access-control-allow-origin"] == "*"


def test_tokens_and_places(locked: str) -> None:
    async def run() -> None:
        async with client() as peer, connect(ws(locked)) as sock:
            peer.pc.addTrack(PictureTrack(gradient))
            assert (await session(sock, peer, token="guess"))["code"] == "unauthorized"
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(sock.recv(), 5)
        async with client() as peer, connect(ws(locked)) as sock:
            peer.pc.addTrack(PictureTrack(gradient))
            assert (await session(sock, peer, token="sesame"))["type"] == "answer"
            async with client() as other, connect(ws(locked)) as second:
                other.pc.addTrack(PictureTrack(gradient))
                assert (await session(second, other, token="sesame"))["code"] == "busy"
                other.pc.addTransceiver("video", direction="recvonly")
            status, headers, _ = await ask("POST", locked + "/whep", "v=0", Authorization="Bearer sesame")
            assert status == 503
            assert headers["retry-after"]
        await gone(locked)

    asyncio.run(run())


def test_a_silent_socket_is_closed(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(server, "FIRST_MESSAGE_S", 0.2)

    async def run() -> None:
        async with connect(ws(url)) as sock:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(sock.recv(), 5)

    asyncio.run(run())


def test_a_half_open_peer_ends_with_its_socket_told(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(rtc, "HANDSHAKE_S", 0.3)

    async def run() -> None:
        async with connect(ws(url)) as sock, client() as peer:
            peer.pc.addTrack(PictureTrack(gradient))
            assert (await session(sock, peer))["type"] == "answer"
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(sock.recv(), 5)
        await gone(url)

    asyncio.run(run())


# ---- WHIP and WHEP ----------------------------------------
def test_whip_and_whep_life_cycle(locked_two: str) -> None:
    url, key = locked_two, "Bearer sesame"

    async def run() -> None:
        async with client() as driver, client() as viewer:
            driver.pc.addTransceiver(PictureTrack(gradient), direction="sendonly")
            status, headers, sdp = await ask("POST", url + "/whip?light=split", await driver.offer(), Authorization=key)
            assert status == 201, sdp
            assert headers["content-type"].startswith(SDP)
            assert headers["etag"]
            assert headers["accept-patch"] == FRAGMENT
            assert 'rel="ice-server"' in headers["link"]
            assert 'username="u"' in headers["link"]
            whip = url + headers["location"]
            await driver.answered(sdp)

            viewer.pc.addTransceiver("video", direction="recvonly")
            viewer.pc.addTransceiver("audio", direction="recvonly")
            status, headers, sdp = await ask("POST", url + "/whep", await viewer.offer(), Authorization=key)
            assert status == 201, sdp
            whep, etag = url + headers["location"], headers["etag"]
            await viewer.answered(sdp)
            await until(lambda: len(viewer.frames) > 5)
            red, _, blue = viewer.frames[-1].to_ndarray(format="rgb24").mean((0, 1))
            assert blue > 1.5 * red

            fragment = "a=mid:0\r\na=candidate:1 1 udp 2130706431 10.1.2.3 54400 typ host\r\na=end-of-candidates\r\n"
            wrong = "a=ice-ufrag:other\r\na=ice-pwd:new\r\n" + fragment
            bad = "a=mid:0\r\na=candidate:1 1 udp\r\n"
            patch = {"Authorization": key, "kind": FRAGMENT}
            assert (await ask("PATCH", whep, fragment, If_Match=etag, **patch))[0] in (204, 400)  # 400: ended already
            assert (await ask("PATCH", whep, fragment, If_Match='"other"', **patch))[0] == 412
            assert (await ask("PATCH", whep, wrong, **patch))[0] == 422
            assert (await ask("PATCH", whep, bad, **patch))[0] == 400
            assert (await ask("PATCH", whep, fragment, Authorization=key, kind="text/plain"))[0] == 415

            assert (await ask("DELETE", whep))[0] == 401
            assert (await ask("DELETE", whep.replace("whep", "whip"), Authorization=key))[0] == 404
            assert (await ask("DELETE", whep, Authorization=key))[0] == 200
            assert (await ask("DELETE", whep, Authorization=key))[0] == 404
            assert (await ask("DELETE", whip, Authorization=key))[0] == 200
        await gone(url)

    alive = FakeAvatar.alive
    asyncio.run(run())
    assert let_go(alive)


@pytest.fixture(scope="module")
def locked_two() -> Iterator[str]:
    with served(create_app(make, token="sesame", ice_servers=["turn:u:p@t.example"])) as it:
        yield it


def test_what_whip_refuses(locked_two: str) -> None:
    url, key = locked_two + "/whip", "Bearer sesame"
    status, headers, _ = http("POST", url, "v=0")
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert http("POST", url, "v=0", Authorization="Bearer wrong")[0] == 401
    assert http("POST", url, "v=0", kind="text/plain", Authorization=key)[0] == 415
    status, _, text = http("POST", url, "v=0", Authorization=key)
    assert status == 400
    assert json.loads(text)["code"] == "bad-offer"
    assert http("POST", url, b"\xff" * 70_000, Authorization=key)[0] == 413
    assert http("POST", url, "x" * 65_537, Authorization=key)[0] == 413
    assert http("DELETE", url + "/nobody", Authorization=key)[0] == 404
    assert http("PATCH", url + "/nobody", "a=mid:0", kind=FRAGMENT, Authorization=key)[0] == 404
    assert http("GET", url, Authorization=key)[0] == 405
    status, headers, _ = http("OPTIONS", url)
    assert status == 204
    assert headers["accept-post"] == SDP
    assert "PATCH" in http("OPTIONS", url + "/x")[1]["allow"]
    assert 'narrate_rejected_total{code="unauthorized"}' in http("GET", locked_two + "/metrics")[2]


def test_whep_without_a_driver_shows_the_avatar_at_rest(url: str) -> None:
    async def run() -> None:
        async with client() as viewer:
            viewer.pc.addTransceiver("video", direction="recvonly").setCodecPreferences(
                [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType == "video/VP8"]
            )
            status, headers, sdp = await ask("POST", url + "/whep", await viewer.offer())
            assert status == 201, sdp
            await viewer.answered(sdp)
            await until(lambda: len(viewer.frames) > 5)
            assert (await ask("DELETE", url + headers["location"]))[0] == 200
        await gone(url)

    alive = FakeAvatar.alive
    asyncio.run(run())
    assert let_go(alive)


# ---- thumbnails and maps ----------------------------------------
def thumbnail(model: str | None, light: str | Lighting) -> bytes:
    if model == "broken":
        raise NarrateError("broken.narrate is damaged")
    return f"{model} in {light if isinstance(light, str) else light.name}".encode()


@pytest.fixture(scope="module")
def drawn() -> Iterator[str]:
    with served(create_app(make, models=["anna", "broken"], token="sesame", make_thumbnail=thumbnail)) as it:
        yield it


KEY = "Bearer sesame"


def test_thumbnails_are_behind_the_door(drawn: str, url: str) -> None:
    status, headers, text = http("GET", drawn + "/thumbnails/rim?model=anna", Authorization=KEY)
    assert (status, text) == (200, "anna in rim")
    assert headers["content-type"] == "image/jpeg"
    assert headers["cache-control"] == "no-store"
    assert http("GET", drawn + "/thumbnails/original", Authorization=KEY)[2] == "None in original"
    assert http("GET", drawn + "/thumbnails/rim")[0] == 401
    assert http("GET", drawn + "/thumbnails/rim", Authorization="Bearer guess")[0] == 401
    for path in ("webcam", "noir", "..%2F..%2Fetc%2Fpasswd", "sky.hdr", "image:me.jpg", "upload:1", "rim?model=bob"):
        assert http("GET", f"{drawn}/thumbnails/{path}", Authorization=KEY)[0] == 404, path
    status, _, text = http("GET", drawn + "/thumbnails/rim?model=broken", Authorization=KEY)
    assert (status, json.loads(text)["message"]) == (400, "broken.narrate is damaged")
    assert http("POST", drawn + "/thumbnails/rim", "x", Authorization=KEY)[0] == 405
    assert http("GET", url + "/thumbnails/rim")[0] == 404  # a server that draws none
    assert http("GET", url + "/thumbnails/rim", Origin="https://evil.example")[0] == 403
    assert [json.loads(http("GET", it + "/api/config")[2])["thumbnails"] for it in (drawn, url)] == [True, False]


def a_map() -> bytes:
    return bytes(cv2.imencode(".hdr", np.full((16, 32, 3), 0.5, np.float32))[1])


def test_a_map_lights_the_session_that_sent_it_and_no_other(drawn: str) -> None:
    octets = "application/octet-stream"

    async def run() -> None:
        async with (
            connect(ws(drawn)) as sock,
            client() as peer,
            connect(ws(drawn)) as second,
            client() as other,
        ):
            channels = []
            ids = []
            for s, p in ((sock, peer), (second, other)):
                p.pc.addTrack(PictureTrack(gradient))
                channels.append(p.control())
                answer = await session(s, p, token="sesame", options={"model": "anna"})
                await p.answered(answer["sdp"])
                ids.append(answer["session"])
            target = f"{drawn}/sessions/{ids[0]}/lights?name=sky.hdr"
            assert (await ask("POST", target, a_map(), kind=octets))[0] == 401
            status, _, text = await ask("POST", target, a_map(), kind=octets, Authorization=KEY)
            assert status == 201, text
            reply = json.loads(text)
            assert (reply["light"], reply["name"]) == ("upload:1", "sky.hdr")
            assert base64.b64decode(reply["thumbnail"].split(",")[1]) == b"anna in upload:1"

            for p, channel in zip((peer, other), channels, strict=True):
                await until(lambda channel=channel: channel.readyState == "open")
                channel.send('{"light": "upload:1", "exposure": 0.5}')
                await until(lambda p=p: any("error" in m or m.get("state", {}).get("exposure") for m in p.messages))
            states = [m["state"] for m in peer.messages if "state" in m]
            assert (states[-1]["light"], states[-1]["exposure"]) == ("upload:1", 0.5)
            (error,) = [m["error"]["message"] for m in other.messages if "error" in m]
            assert "not here" in error

            for body, status, words in (
                (b"junk", 400, "sky.hdr is no environment map"),
                (a_map()[:40], 400, "cannot be read"),
                (b"x" * (MAX_BYTES + 1), 413, "larger than 24 MiB"),
            ):
                answered = await ask("POST", target, body, kind=octets, Authorization=KEY)
                assert (answered[0], words in json.loads(answered[2])["message"]) == (status, True), answered
            nobody = f"{drawn}/sessions/nobody/lights"
            assert (await ask("POST", nobody, a_map(), kind=octets, Authorization=KEY))[0] == 404
            assert (await ask("GET", target, Authorization=KEY))[0] in (404, 405)
        await gone(drawn)
        assert (await ask("POST", target, a_map(), kind=octets, Authorization=KEY))[0] == 404  # gone with the session

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("sky.hdr", "sky.hdr"),
        ("../../etc/passwd", "passwd"),
        ("C:\\maps\\room.exr", "room.exr"),
        ("a\nb\x00.png", "ab.png"),
        ("", "the file"),
        (None, "the file"),
        ("x" * 500, "x" * 60),
    ],
)
def test_names_of_files_are_only_ever_shown(given: str | None, shown: str) -> None:
    assert shown_name(given) == shown


# ---- run_server ----------------------------------------
def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NarrateError, match=f"port {port}.*in use"):
            run_server(create_app(make), "127.0.0.1", port)
    with pytest.raises(NarrateError, match="cannot listen"):
        run_server(create_app(make), "127.0.0.1", 99_999)
    with pytest.raises(NarrateError, match="cannot listen"):
        run_server(create_app(make), "no.such.host.invalid", 0)


def test_a_bad_certificate_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NarrateError, match=r"missing\.pem cannot be used: No such file"):
        run_server(create_app(make), port=0, tls_cert=tmp_path / "missing.pem")
    (tmp_path / "junk.pem").write_text("junk")
    with pytest.raises(NarrateError, match=r"junk\.pem cannot be used"):
        run_server(create_app(make), port=0, tls_cert=tmp_path / "junk.pem")
    with pytest.raises(NarrateError, match="needs --tls-cert"):
        run_server(create_app(make), port=0, tls_key=tmp_path / "junk.pem")
    with pytest.raises(NarrateError, match="ICE server"):
        create_app(make, ice_servers=["nonsense"])


def test_run_server_tells_its_address_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    servers: list[Any] = []
    original = server._Server.startup

    async def startup(self: Any, sockets: Any = None) -> None:
        servers.append(self)
        await original(self, sockets)

    monkeypatch.setattr(server._Server, "startup", startup)
    thread = threading.Thread(
        target=run_server, args=(create_app(make), "127.0.0.1", 0), kwargs={"on_ready": told.append}
    )
    thread.start()
    deadline = time.monotonic() + 10
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert http("GET", told[0] + "healthz")[0] == 200
    servers[0].should_exit = True
    thread.join(10)
    assert not thread.is_alive()
