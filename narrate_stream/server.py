"""The live server on one port: the page, `/ws` signalling, WHIP and WHEP, health and metrics.

Everyone who may not send the token is kept out of `/ws`, `/whip` and `/whep`. Without a token the pages of other
origins are kept out: a web site must not be able to use a server on its visitor's machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from narrate_stream import __version__
from narrate_stream.errors import NarrateError
from narrate_stream.metrics import Metrics
from narrate_stream.rtc import Hub, MakeAvatar, Peer
from narrate_stream.signaling import (
    LIGHTS,
    MAX_MESSAGE,
    MAX_SDP,
    Candidate,
    SignalingError,
    bearer,
    ice_server,
    parse_fragment,
    parse_message,
    parse_options,
    token_matches,
)

logger = logging.getLogger(__name__)

FIRST_MESSAGE_S = 20.0
MAX_ERRORS = 5  # refused messages on one socket before it is closed
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]  # all, or the page would answer for the others
SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: mediastream:; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'"
)


class Live:
    """The endpoints over one hub."""

    def __init__(self, hub: Hub, token: str | None, config: dict[str, Any], models: Sequence[str]) -> None:
        self.hub, self._token, self._config, self._models = hub, token, config, models
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

    def guard(self, connection: HTTPConnection, token: str | None) -> None:
        """Raises SignalingError for a wrong token, or without one for a page of another origin."""
        if not token_matches(self._token, token):
            raise SignalingError("unauthorized", "the token is missing or wrong", 401)
        origin = connection.headers.get("origin")
        if self._token is None and origin and urlsplit(origin).netloc != connection.headers.get("host"):
            raise SignalingError("forbidden", "pages of other origins need a server with a token", 403)

    # ---- /ws ----------------------------------------------------------------------------------------------------
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
        self.guard(client, message.token if message.token is not None else bearer(client.headers.get("authorization")))
        if peer:  # a new offer on the same socket replaces the session
            peer.closed = lambda: None
            await peer.close()
        options = parse_options(message.options, self._models)
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

    # ---- WHIP (RFC 9725) and WHEP -------------------------------------------------------------------------------
    def resource(self, kind: str) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint `/whip` or `/whep`: POST an offer, OPTIONS."""

        async def endpoint(request: Request) -> Response:
            if request.method == "OPTIONS":
                return self._http(204, {"Accept-Post": SDP, "Allow": "POST, OPTIONS"})
            if request.method != "POST":
                return self._http(405, {"Allow": "POST, OPTIONS"})
            return await self._guarded(request, self._post, kind)

        return endpoint

    def session(self, kind: str) -> Callable[[Request], Awaitable[Response]]:
        """One session `/whip/ID`: PATCH candidates, DELETE, OPTIONS."""

        async def endpoint(request: Request) -> Response:
            if request.method == "OPTIONS":
                return self._http(204, {"Accept-Patch": FRAGMENT, "Allow": "PATCH, DELETE, OPTIONS"})
            handler = {"PATCH": self._patch, "DELETE": self._delete}.get(request.method)
            if handler is None:
                return self._http(405, {"Allow": "PATCH, DELETE, OPTIONS"})
            return await self._guarded(request, handler, kind)

        return endpoint

    async def _guarded(
        self, request: Request, handler: Callable[[Request, str], Awaitable[Response]], kind: str
    ) -> Response:
        try:
            self.guard(request, bearer(request.headers.get("authorization")))
            return await handler(request, kind)
        except NarrateError as error:
            refused = error if isinstance(error, SignalingError) else SignalingError("bad-option", str(error), 500)
            self.hub.metrics.rejected.labels(refused.code).inc()
            extra = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(refused.status, {})
            return self._http(refused.status, extra, json.dumps(refused.message()), "application/json")

    async def _post(self, request: Request, kind: str) -> Response:
        sdp = await _body(request, SDP)
        if kind == "whip":
            options = parse_options(dict(request.query_params), self._models)
            peer, answer = await self.hub.drive(sdp, options, back=False)
        else:
            peer, answer = await self.hub.watch(sdp)
        headers = {"Location": f"/{kind}/{peer.id}", "ETag": peer.etag, "Accept-Patch": FRAGMENT}
        response = self._http(201, headers, answer, SDP)
        for server in self._config["ice_servers"]:
            response.headers.append("Link", _link(server))
        return response

    async def _patch(self, request: Request, kind: str) -> Response:
        peer = self._find(request, kind)
        if request.headers.get("if-match", "*") not in ("*", peer.etag):
            raise SignalingError("stale", "the session has another ETag", 412)
        ufrag, candidates = parse_fragment(await _body(request, FRAGMENT))
        if ufrag is not None and ufrag != peer.ufrag():
            raise SignalingError("no-restart", "ICE cannot be restarted here; make a new session", 422)
        for candidate in candidates:
            await peer.add(candidate)
        return self._http(204, {"ETag": peer.etag})

    async def _delete(self, request: Request, kind: str) -> Response:
        await self._find(request, kind).close()
        return self._http(200)

    def _find(self, request: Request, kind: str) -> Peer:
        peer = self.hub.peers.get(request.path_params["id"])
        if peer is None or peer.role != {"whip": "whip", "whep": "viewer"}[kind]:
            raise SignalingError("not-found", "there is no such session", 404)
        return peer

    def _http(
        self, status: int, headers: dict[str, str] | None = None, body: str = "", kind: str | None = None
    ) -> Response:
        cross = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "POST, PATCH, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
            "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Patch, Accept-Post",
        }
        content = {"Content-Type": kind} if kind else {}
        return Response(body, status, headers=(headers or {}) | content | (cross if self._token else {}))


async def _text(client: WebSocket) -> str | bytes:
    message = await client.receive()
    if message["type"] != "websocket.receive":
        raise WebSocketDisconnect(message.get("code") or 1005)
    return message.get("text") or message.get("bytes") or b""


async def _body(request: Request, kind: str) -> str:
    """The request's text, at most 64 KiB of the right type."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != kind:
        raise SignalingError("bad-type", f"the content type must be {kind}", 415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_SDP:
            raise SignalingError("too-large", f"the body is larger than {MAX_SDP // 1024} KiB", 413)
    return body.decode("utf-8", "replace")


def _link(server: dict[str, str]) -> str:
    login = "".join(f'; {key}="{server[key]}"' for key in ("username", "credential") if key in server)
    return f'<{server["urls"]}>; rel="ice-server"' + login + ('; credential-type="password"' if login else "")


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
) -> Starlette:
    """The live server as an ASGI application.

    `make_avatar` gets the offer's options (`{"model": NAME}` or nothing) in a thread of its own and may raise
    NarrateError; each avatar is then stepped and closed on one worker thread that all peers share. `ice_servers` are
    URLs such as `stun:HOST` or `turn:USER:PASSWORD@HOST`. Raises NarrateError for one that is malformed.
    """
    config = {
        "version": __version__,
        "models": list(models),
        "lights": list(lights),
        "ice_servers": [ice_server(url) for url in ice_servers],
        "token_required": token is not None,
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

    app = Starlette(routes=_routes(Live(hub, token, config, models)), lifespan=lifespan)
    app.state.hub = hub
    return app


def _routes(live: Live) -> list[BaseRoute]:
    routes: list[BaseRoute] = [
        Route("/healthz", live.healthz),
        Route("/metrics", live.metrics),
        Route("/api/config", live.config),
        WebSocketRoute("/ws", live.ws),
    ]
    for kind in ("whip", "whep"):
        routes.append(Route(f"/{kind}", live.resource(kind), methods=METHODS))
        routes.append(Route(f"/{kind}/{{id}}", live.session(kind), methods=METHODS))
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
