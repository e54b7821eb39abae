"""WHIP (RFC 9725) brings a driver in, WHEP lets a viewer watch: SDP over HTTP; and who may come in at all."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from narrate_stream.errors import NarrateError
from narrate_stream.hub import Hub
from narrate_stream.rtc import Peer
from narrate_stream.signaling import MAX_SDP, SignalingError, bearer, parse_fragment, parse_options, token_matches

SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"


class Door:
    """Lets in who has the token, or without one the pages of this server."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def check(self, connection: HTTPConnection, token: str | None) -> None:
        """Raises SignalingError for a wrong token, or without one for a page of another origin."""
        if not token_matches(self.token, token):
            raise SignalingError("unauthorized", "the token is missing or wrong", 401)
        origin = connection.headers.get("origin")
        if self.token is None and origin and urlsplit(origin).netloc != connection.headers.get("host"):
            raise SignalingError("forbidden", "pages of other origins need a server with a token", 403)


class Whip:
    """The endpoints `/whip` and `/whep` and their sessions."""

    def __init__(self, hub: Hub, door: Door, config: dict[str, Any]) -> None:
        self._hub, self._door, self._config = hub, door, config

    def endpoint(self, kind: str) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint `/whip` or `/whep`: POST an offer, OPTIONS."""

        async def answer(request: Request) -> Response:
            if request.method == "OPTIONS":
                return self._http(204, {"Accept-Post": SDP, "Allow": "POST, OPTIONS"})
            if request.method != "POST":
                return self._http(405, {"Allow": "POST, OPTIONS"})
            return await self._guarded(request, self._post, kind)

        return answer

    def session(self, kind: str) -> Callable[[Request], Awaitable[Response]]:
        """One session `/whip/ID`: PATCH candidates, DELETE, OPTIONS."""

        async def answer(request: Request) -> Response:
            if request.method == "OPTIONS":
                return self._http(204, {"Accept-Patch": FRAGMENT, "Allow": "PATCH, DELETE, OPTIONS"})
            handler = {"PATCH": self._patch, "DELETE": self._delete}.get(request.method)
            if handler is None:
                return self._http(405, {"Allow": "PATCH, DELETE, OPTIONS"})
            return await self._guarded(request, handler, kind)

        return answer

    async def _guarded(
        self, request: Request, handler: Callable[[Request, str], Awaitable[Response]], kind: str
    ) -> Response:
        try:
            self._door.check(request, bearer(request.headers.get("authorization")))
            return await handler(request, kind)
        except NarrateError as error:
            refused = error if isinstance(error, SignalingError) else SignalingError("bad-option", str(error), 500)
            self._hub.metrics.rejected.labels(refused.code).inc()
            extra = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(refused.status, {})
            return self._http(refused.status, extra, json.dumps(refused.message()), "application/json")

    async def _post(self, request: Request, kind: str) -> Response:
        sdp = await _body(request, SDP)
        if kind == "whip":
            options = parse_options(dict(request.query_params), self._config["models"])
            peer, sdp_answer = await self._hub.drive(sdp, options, back=False)
        else:
            peer, sdp_answer = await self._hub.watch(sdp)
        headers = {"Location": f"/{kind}/{peer.id}", "ETag": peer.etag, "Accept-Patch": FRAGMENT}
        response = self._http(201, headers, sdp_answer, SDP)
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
        peer = self._hub.peers.get(request.path_params["id"])
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
        return Response(body, status, headers=(headers or {}) | content | (cross if self._door.token else {}))


async def _body(request: Request, kind: str) -> str:
    """The request's text, at most 64 KiB of the right type."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != kind:
        raise SignalingError("bad-type", f"the content type must be {kind}", 415)
    return (await read_body(request, MAX_SDP, "body")).decode("utf-8", "replace")


async def read_body(request: Request, limit: int, what: str) -> bytes:
    """The request's bytes. Raises SignalingError `too-large` as soon as there are more than `limit`."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > limit:
            shown = f"{limit >> 20} MiB" if limit >> 20 else f"{limit >> 10} KiB"
            raise SignalingError("too-large", f"the {what} is larger than {shown}", 413)
    return b"".join(parts)


def _link(server: dict[str, str]) -> str:
    login = "".join(f'; {key}="{server[key]}"' for key in ("username", "credential") if key in server)
    return f'<{server["urls"]}>; rel="ice-server"' + login + ('; credential-type="password"' if login else "")
