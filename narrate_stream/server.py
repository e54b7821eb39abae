"""The live server on one port: the page, `/ws` signalling, WHIP and WHEP, health and metrics.

Everyone who may not send the token is kept out of `/ws`, `/whip`, `/whep`, thumbnails and uploads. Without a token the
pages of other origins are kept out: a web site must not be able to use a server on its visitor's machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from narrate_stream import __version__
from narrate_stream.errors import NarrateError
from narrate_stream.gallery import Gallery, MakeThumbnail
from narrate_stream.hub import Hub, MakeAvatar
from narrate_stream.metrics import Metrics
from narrate_stream.ops.lighting import PRESETS
from narrate_stream.rtc import Peer
from narrate_stream.signaling import (
    LIGHTS,
    MAX_MESSAGE,
    Candidate,
    SignalingError,
    bearer,
    ice_server,
    parse_message,
    parse_options,
)
from narrate_stream.uploads import MAX_BYTES
from narrate_stream.whip import Door, Whip

logger = logging.getLogger(__name__)

FIRST_MESSAGE_S = 20.0
MAX_ERRORS = 5  # refused messages on one socket before it is closed
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]  # all, or the page would answer for the others
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: mediastream:; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'"
)


class Live:
    """The endpoints over one hub, but for WHIP and WHEP."""

    def __init__(self, hub: Hub, door: Door, config: dict[str, Any]) -> None:
        self.hub, self._door, self._config = hub, door, config
        self._sockets = 0

    async def healthz(self, _: Request) -> JSONResponse:
        """Liveness."""
        return JSONResponse({"status": "ok", "version": __version__, "peers": len(self.hub.peers)})

    async def metrics(self, _: Request) -> Response:
        """Prometheus text."""
        return Response(self.hub.metrics.render(), headers={"Content-Type": Metrics.content_type})

    async def config(self, _: Request) -> JSONResponse:
        """What the page needs to know."""
        return JSONResponse(self._config, headers={"Cache-Control": "no-store"})

    async def ws(self, client: WebSocket) -> None:
        """One client's signalling; its peer lives as long as its socket."""
        await client.accept()
        self._sockets += 1
        try:
            if self._sockets > 4 * self.hub.max_peers:
                raise SignalingError("busy", "too many connections; try again later", 503)
            await self._converse(client)
        except SignalingError as error:
            await self._refuse(client, error)
        except (WebSocketDisconnect, asyncio.TimeoutError):
            pass
        finally:
            self._sockets -= 1
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await client.close()

    async def _converse(self, client: WebSocket) -> None:
        """Answer messages until the socket or the peer ends."""
        peer: Peer | None = None
        errors = 0
        try:
            while True:
                text = await asyncio.wait_for(_text(client), None if peer else FIRST_MESSAGE_S)
                try:
                    peer = await self._hear(client, text, peer)
                except SignalingError as error:
                    errors += 1
                    if errors >= MAX_ERRORS or error.code == "unauthorized":
                        raise
                    await self._refuse(client, error)
        finally:
            if peer:
                await peer.close()

    async def _hear(self, client: WebSocket, text: str | bytes, peer: Peer | None) -> Peer | None:
        message = parse_message(text)
        if isinstance(message, Candidate):
            if peer is None:
                raise SignalingError("bad-message", "a candidate came before the offer")
            await peer.add(message)
            return peer
        self._door.check(
            client, message.token if message.token is not None else bearer(client.headers.get("authorization"))
        )
        if peer:  # a new offer on the same socket replaces the session
            peer.closed = lambda: None
            await peer.close()
        options = parse_options(message.options, self._config["models"])
        try:
            peer, answer = await self.hub.drive(message.sdp, options, back=True)
        except SignalingError:
            raise
        except NarrateError as error:
            raise SignalingError("bad-option", str(error)) from error
        peer.closed = lambda: _close_later(client)
        await client.send_json({"type": "answer", "sdp": answer, "session": peer.id})
        return peer

    async def _refuse(self, client: WebSocket, error: SignalingError) -> None:
        self.hub.metrics.rejected.labels(error.code).inc()
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await client.send_json(error.message())


async def _text(client: WebSocket) -> str | bytes:
    message = await client.receive()
    if message["type"] != "websocket.receive":
        raise WebSocketDisconnect(message.get("code") or 1005)
    return message.get("text") or message.get("bytes") or b""


_closing: set[asyncio.Task[None]] = set()


def _close_later(client: WebSocket) -> None:
    """Close the socket of a peer that is over, so that its client knows."""

    async def close() -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await client.close(1001)

    task = asyncio.ensure_future(close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def client_folder() -> Path:
    """The page's files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    return next(
        (p for p in (here / "client_demo", here.parent / "client_demo") if p.is_dir()), here.parent / "client_demo"
    )


class _Page(StaticFiles):
    """The page's files, always fresh, with a policy that lets them load nothing from elsewhere."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def create_app(
    make_avatar: MakeAvatar,
    *,
    token: str | None = None,
    ice_servers: Sequence[str] = (),
    latency_marker: bool = False,
    models: Sequence[str] = (),
    max_peers: int = 8,
    lights: Sequence[str] = LIGHTS,
    make_thumbnail: MakeThumbnail | None = None,
) -> Starlette:
    """The live server as an ASGI application.

    `make_avatar` gets the offer's options (`{"model": NAME}` or nothing) in a thread of its own and may raise
    NarrateError; each avatar is then stepped and closed on one worker thread that all peers share. `make_thumbnail`
    draws the page's strip of lights, which shows plain swatches without it. `ice_servers` are
    URLs such as `stun:HOST` or `turn:USER:PASSWORD@HOST`. Raises NarrateError for one that is malformed.
    """
    config = {
        "version": __version__,
        "models": list(models),
        "lights": list(lights),
        "rigs": {name: _rig(name) for name in lights if name in PRESETS},
        "ice_servers": [ice_server(url) for url in ice_servers],
        "token_required": token is not None,
        "thumbnails": make_thumbnail is not None,
        "max_upload": MAX_BYTES,
    }
    hub = Hub(
        make_avatar, metrics=Metrics(), ice_servers=ice_servers, latency_marker=latency_marker, max_peers=max_peers
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await hub.close()

    door = Door(token)
    app = Starlette(
        routes=_routes(Live(hub, door, config), Whip(hub, door, config), Gallery(hub, door, config, make_thumbnail)),
        lifespan=lifespan,
    )
    app.state.hub = hub
    return app


def _rig(name: str) -> dict[str, Any]:
    """Where a preset's key light stands (degrees), and its description: for the page's buttons."""
    rig, _, about = PRESETS[name]
    return {"az": rig[0][0], "el": rig[0][1], "about": about}


def _routes(live: Live, whip: Whip, gallery: Gallery) -> list[BaseRoute]:
    routes: list[BaseRoute] = [
        Route("/healthz", live.healthz),
        Route("/metrics", live.metrics),
        Route("/api/config", live.config),
        WebSocketRoute("/ws", live.ws),
        Route("/thumbnails/{light}", gallery.thumbnail),
        Route("/sessions/{id}/lights", gallery.upload, methods=["POST"]),
    ]
    for kind in ("whip", "whep"):
        routes.append(Route(f"/{kind}", whip.endpoint(kind), methods=METHODS))
        routes.append(Route(f"/{kind}/{{id}}", whip.session(kind), methods=METHODS))
    if client_folder().is_dir():
        routes.append(Mount("/", _Page(directory=client_folder(), html=True)))
    return routes


class _Server(uvicorn.Server):
    ready: Callable[[str], None] | None = None
    url = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.ready and self.started:
            self.ready(self.url)


def run_server(
    app: Starlette,
    host: str = "127.0.0.1",
    port: int = 8080,
    tls_cert: str | Path | None = None,
    tls_key: str | Path | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until interrupted; `on_ready` gets the page's address once it answers. Port 0 takes a free one.

    Raises NarrateError when the port is taken or the certificate cannot be used.
    """
    _check_tls(tls_cert, tls_key)
    listener = _listen(host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        app,
        ssl_certfile=tls_cert and str(tls_cert),
        ssl_keyfile=tls_key and str(tls_key),
        log_level="warning",
        access_log=False,
        ws_max_size=MAX_MESSAGE + 1024,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    server = _Server(config)
    server.ready, server.url = on_ready, f"{'https' if tls_cert else 'http'}://{shown}:{listener.getsockname()[1]}/"
    with contextlib.closing(listener), contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _check_tls(cert: str | Path | None, key: str | Path | None) -> None:
    if key and not cert:
        raise NarrateError("--tls-key needs --tls-cert")
    if cert:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(cert), key and str(key))
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror or "it is not a PEM certificate with its key"
            raise NarrateError(f"the certificate {cert} cannot be used: {reason}") from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        with contextlib.suppress(ValueError):
            host = str(ipaddress.ip_address(host or "0.0.0.0"))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NarrateError(f"cannot listen on {host} port {port}: {reason}") from error
    return listener
