"""`GET /thumbnails/LIGHT` and `POST /sessions/ID/lights`: what the page's strip of lights shows and takes.

Both are behind the same door as signalling, both work away from the event loop and the frame path. A session's id,
which only its client knows, is the key to its uploads; no name that comes from the network ever becomes a path.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from narrate_stream.errors import NarrateError
from narrate_stream.hub import Hub
from narrate_stream.ops.lighting import Lighting
from narrate_stream.signaling import SignalingError, bearer
from narrate_stream.uploads import MAX_BYTES
from narrate_stream.whip import Door, read_body

MakeThumbnail = Callable[[str | None, str | Lighting], bytes]
"""A JPEG of a model (None: the first) in a LIGHT; called in one thread. May raise NarrateError."""

_PRIVATE = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Gallery:
    """The endpoints over one hub."""

    def __init__(self, hub: Hub, door: Door, config: dict[str, Any], make_thumbnail: MakeThumbnail | None) -> None:
        self._hub, self._door, self._config, self._make = hub, door, config, make_thumbnail
        self._receiving: set[str] = set()

    async def thumbnail(self, request: Request) -> Response:
        """GET: the model in one of the page's lights."""
        return await self._guarded(request, self._thumbnail)

    async def upload(self, request: Request) -> Response:
        """POST: an environment map for this session; answers with the LIGHT that it is from now on."""
        return await self._guarded(request, self._upload)

    async def _guarded(self, request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            self._door.check(request, bearer(request.headers.get("authorization")))
            return await handler(request)
        except NarrateError as error:
            refused = error if isinstance(error, SignalingError) else SignalingError("bad-map", str(error))
            self._hub.metrics.rejected.labels(refused.code).inc()
            return JSONResponse(refused.message(), refused.status, headers=_PRIVATE)

    async def _thumbnail(self, request: Request) -> Response:
        light, model = request.path_params["light"], request.query_params.get("model")
        make = self._make
        if make is None or light not in self._config["lights"] or light == "webcam":
            raise SignalingError("not-found", "there is no thumbnail of this light", 404)
        if model is not None and model not in self._config["models"]:
            raise SignalingError("not-found", "there is no such model", 404)
        data = await self._hub.aside(lambda: make(model, light))
        return Response(data, media_type="image/jpeg", headers=_PRIVATE)

    async def _upload(self, request: Request) -> Response:
        peer = self._hub.peers.get(request.path_params["id"])
        if peer is None or peer.role == "viewer":
            raise SignalingError("not-found", "there is no such session", 404)
        if peer.id in self._receiving:
            raise SignalingError("busy", "one map at a time: the last one is still on its way", 429)
        self._receiving.add(peer.id)
        try:
            data = await read_body(request, MAX_BYTES, "environment map")
            source = shown_name(request.query_params.get("name"))
            lighting = await self._hub.aside(lambda: peer.uploads.add(data, source))
        finally:
            self._receiving.discard(peer.id)
        return JSONResponse(
            {"light": lighting.name, "name": source, "thumbnail": await self._picture_of(peer.model, lighting)},
            201,
            headers=_PRIVATE,
        )

    async def _picture_of(self, model: str | None, lighting: Lighting) -> str | None:
        """A data URL: an uploaded map has no address that another client could ask for."""
        make = self._make
        if make is None:
            return None
        data = await self._hub.aside(lambda: make(model, lighting))
        return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def shown_name(name: str | None) -> str:
    """A file's name as it may stand in a sentence: its last part, printable, not long."""
    last = re.split(r"[/\\]", name or "")[-1]
    return "".join(c for c in last if c.isprintable())[:60] or "the file"
