"""Small pictures of the models themselves in every light, for the page's strip."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from narrate_stream.backdrops import Backdrop
from narrate_stream.bundle import HybridModel
from narrate_stream.errors import NarrateError
from narrate_stream.fusion import fuse, head_framing
from narrate_stream.lights import parse_light
from narrate_stream.ops.lighting import Lighting
from narrate_stream.pipeline import still_motion
from narrate_stream.relighters import LightMapRelighter
from narrate_stream.renderer import GBuffer, Renderer
from narrate_stream.types import Image

SIZE = 144  # pixels; shown at half of that
AROUND = 1.5  # how much of the head's surroundings is rendered and cut off again: the face fills a thumbnail
QUALITY = 86


class Sitter:
    """One model at rest, lit as one likes."""

    def __init__(self, model: HybridModel, size: int = SIZE) -> None:
        self.model, self.size = model, size
        framing = head_framing(model, round(size * AROUND))
        self._renderer, self._backdrop = Renderer(model, framing), Backdrop(model, framing)
        self._relighter = LightMapRelighter(model)
        self._buffers: dict[bool, GBuffer] = {}

    def picture(self, light: str | Lighting) -> Image:
        """(size, size, 3) in a LIGHT. Raises LightError."""
        lighting = light if isinstance(light, Lighting) else parse_light(light, self.model)
        gbuffer = self._buffer(not lighting.original)
        whole = fuse(*self._relighter(gbuffer, lighting), gbuffer, self._backdrop(lighting))
        edge = (whole.shape[0] - self.size) // 2
        return np.ascontiguousarray(whole[edge : edge + self.size, edge : edge + self.size])

    def _buffer(self, albedo: bool) -> GBuffer:
        if albedo not in self._buffers:
            self._buffers[albedo] = self._renderer(still_motion(), albedo=albedo)
        return self._buffers[albedo]


class Thumbnails:
    """JPEGs of several models, made when asked for; those of named lights are kept. One thread at a time.

    Only the model asked for last keeps its renderer: its buffers are larger than all thumbnails together.
    """

    def __init__(self, models: Mapping[str, HybridModel]) -> None:
        self._models = models
        self._made: dict[tuple[str, str], bytes] = {}
        self._sitter: tuple[str, Sitter] | None = None

    def __call__(self, model: str | None, light: str | Lighting) -> bytes:
        """A JPEG of the model (None: the first) in a LIGHT. Raises NarrateError."""
        name = model or next(iter(self._models))
        if isinstance(light, Lighting):
            return self._make(name, light)
        if (name, light) not in self._made:
            self._made[name, light] = self._make(name, light)
        return self._made[name, light]

    def _make(self, name: str, light: str | Lighting) -> bytes:
        if name not in self._models:
            raise NarrateError(f"there is no model {name!r} here")
        if self._sitter is None or self._sitter[0] != name:
            self._sitter = name, Sitter(self._models[name])
        picture = self._sitter[1].picture(light)
        _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return bytes(data)
