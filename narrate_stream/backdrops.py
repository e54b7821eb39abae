"""What stands behind the person, and how it follows the light.

BACKGROUND is one of: `original` (the photograph's own, untouched), `relit` (the same in the new light), `blur` (that,
out of focus), `environment` (the environment map behind the head; under other lights a studio's paper wall in that
light), `green`, `#rrggbb`, and for stills `transparent`.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.dimmer import EASE, SETTLED
from narrate_stream.errors import NarrateError
from narrate_stream.fusion import over_backdrop
from narrate_stream.laying import kneed, roll_below
from narrate_stream.ops.colour import linear_table, luminance, srgb_from_linear
from narrate_stream.ops.lighting import Lighting, direction, sh_shading, shade_normals
from narrate_stream.renderer import Framing
from narrate_stream.types import Array, Image

TRANSPARENT = "transparent"
KINDS = ("original", "relit", "blur", "environment", "green", "#rrggbb")
GREEN = (0, 177, 64)  # the green that keyers are set to
STEP = 50  # changes of the light below 1 / STEP of a stop leave the picture as it is
LOOKS = np.array([direction(a, e) for a, e in ((0, 0), (-45, 0), (45, 0), (0, 40), (0, -40))])
FALL = 0.35  # what is left of a lamp's light where the background is
SHARE_OF_COLOUR = 0.7  # how much of the light's colour a photograph's background takes on: it has lamps of its own
DIMMEST, BRIGHTEST = 0.05, 1.25
SCENE, PAPER = 96, 32  # places along the longer side at which a map and a wall of paper are drawn, being out of focus
LENS = 2.2  # radius of the lens's circle of confusion, in the places of a map
BRIGHTEST_SEEN = 16.0  # of a map's lamps: their circles shall have soft edges
WALL = 0.16  # albedo of the studio's paper
CURVE = 0.9  # how far the paper curves round the person


def check_background(kind: str) -> str:
    """The BACKGROUND itself, in lower case. Raises NarrateError for one that no video can have."""
    if kind == TRANSPARENT:
        raise NarrateError("a transparent background needs a PNG: neither clips nor live video carry alpha")
    if kind.startswith("#"):
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", kind):
            raise NarrateError(f"{kind!r} is no colour: write #rrggbb")
    elif kind not in KINDS:
        raise NarrateError(f"{kind!r} is no background: use {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    return kind.lower()


class Backdrop:
    """The background of one model in one framing, for the light of the moment. Computed when the light or the choice
    changes and eased from one to the next; the same picture is returned while neither does."""

    def __init__(self, model: HybridModel, framing: Framing, kind: str = "relit") -> None:
        self.model, self.framing, self.kind = model, framing, check_background(kind)
        self._plates: dict[bool, Image] = {}
        self._seen: tuple[Lighting | None, Any] = None, ()
        self._for: tuple[Any, ...] = ()
        self._aim = self._shown = np.zeros((0, 0, 3), np.uint8)
        self._age = 0.0

    def set(self, kind: str) -> None:
        """Another BACKGROUND. Raises NarrateError."""
        self.kind = check_background(kind)

    def __call__(self, lighting: Lighting, seconds: float = math.inf) -> Image:
        """(H, W, 3) `seconds` after the last call; not to be written to."""
        kind = self.kind
        wanted = kind, *self._signature(lighting)
        if not _same(wanted, self._for):
            self._for, self._aim, self._age = wanted, self.picture(kind, lighting), 0.0
        if self._shown is self._aim:
            return self._aim
        self._age += seconds
        if self._age >= SETTLED or self._shown.shape != self._aim.shape:
            self._shown = self._aim
        else:
            keep = math.exp(-seconds / EASE)
            self._shown = np.asarray(cv2.addWeighted(self._shown, keep, self._aim, 1 - keep, 0), np.uint8)
        return self._shown

    def _signature(self, lighting: Lighting) -> tuple[Any, ...]:
        """What of the light a background can show, so coarsely that a flickering room does not repaint it."""
        if self._seen[0] is not lighting:
            own = lighting.gain[None] if lighting.original else shade_normals(lighting, LOOKS)
            steps = np.round(np.log2(np.maximum(own, 1e-3)) * STEP).astype(int)
            self._seen = lighting, (lighting.original, steps.tobytes(), round(lighting.turn, 1), lighting.panorama)
        return tuple(self._seen[1])

    def picture(self, kind: str, lighting: Lighting) -> Image:
        """(H, W, 3) a background in a light, at once."""
        w, h = self.framing.size
        if kind == "green" or kind.startswith("#"):
            colour = GREEN if kind == "green" else tuple(bytes.fromhex(kind[1:]))
            return np.asarray(np.broadcast_to(np.array(colour, np.uint8), (h, w, 3)).copy())
        if kind == "environment" and not lighting.original:
            has_map = lighting.panorama is not None
            seen = behind(lighting, self._rays(SCENE)) if has_map else studio(lighting, self._rays(PAPER))
            return _shown(seen, (w, h))
        plate = self._plate(kind == "blur")
        return plate if kind == "original" else relit(plate, lighting)

    def _plate(self, blurred: bool) -> Image:
        """The photograph's own background, and the same out of focus; made once."""
        if blurred not in self._plates:
            plate, sigma = over_backdrop(self.model, self.framing), 0.03 * max(self.framing.size)
            self._plates[blurred] = np.asarray(cv2.GaussianBlur(plate, (0, 0), sigma)) if blurred else plate
        return self._plates[blurred]

    def _rays(self, places: int) -> NDArray[np.float64]:
        """(h, w, 3) unit directions from the viewer, so many of them along the longer side."""
        (w, h), framing = self.framing.size, self.framing
        camera = self.model.camera.scaled(framing.scale, framing.dx, framing.dy)
        counts = [max(2, round(places * n / max(w, h))) for n in (w, h)]
        x, y = ((np.arange(count) + 0.5) * (n / count) - 0.5 for n, count in zip((w, h), counts, strict=True))
        rays = camera.unproject(np.stack(np.meshgrid(x, y), -1), -1.0)
        return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def _same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two signatures agree; pictures in them (the panorama) are compared as objects."""
    pairs = zip(a, b, strict=True)
    return len(a) == len(b) and all(x is y or (not isinstance(x, np.ndarray) and x == y) for x, y in pairs)


def relit(plate: Image, lighting: Lighting) -> Image:
    """A photograph's background (H, W, 3) as dim and as tinted as the light is on average; untouched under its own."""
    factor = lighting.gain if lighting.original else _mean_light(lighting)
    if bool((factor == 1).all()):
        return plate
    table = srgb_from_linear(kneed(linear_table()[:, None] * factor, roll_below(float(factor.max())))) * 255 + 0.5
    return np.asarray(cv2.LUT(plate, table.astype(np.uint8)[None]), np.uint8)


def _mean_light(lighting: Lighting) -> NDArray[np.float64]:
    """(3,) what the light is on average on what faces the viewer, with less of its colour. Lamps stand close to the
    person and fall off on the way to what is behind; an environment does not."""
    mean = shade_normals(lighting, LOOKS).mean(0)
    if lighting.panorama is None:
        around = np.maximum(sh_shading(lighting.sh, LOOKS), 0).mean(0)
        mean = around + FALL * (mean - around)
    level = float(luminance(mean))
    colour = 1 + SHARE_OF_COLOUR * (mean / max(level, 1e-6) - 1)
    return np.asarray(np.clip(level, DIMMEST, BRIGHTEST) * colour)


def behind(lighting: Lighting, rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """(h, w, 3) linear: the environment map in the directions of `rays`, as exposed and turned as the light is, and out
    of focus: in linear light, where lamps become discs as in a lens."""
    assert lighting.panorama is not None
    h, w = lighting.panorama.shape[:2]
    u = ((np.degrees(np.arctan2(rays[..., 0], rays[..., 2])) - lighting.turn) / 360 + 0.5) % 1 * w - 0.5
    v = np.arccos(np.clip(rays[..., 1], -1, 1)) / np.pi * h - 0.5
    seen = cv2.remap(
        lighting.panorama, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    bright = np.minimum(seen * lighting.gain, BRIGHTEST_SEEN)
    return np.asarray(cv2.filter2D(bright, -1, _disc(), borderType=cv2.BORDER_REPLICATE), np.float64)


@lru_cache(maxsize=1)
def _disc() -> Array:
    """A disc of radius LENS, its edge smooth, sum 1."""
    reach = np.arange(-math.ceil(LENS), math.ceil(LENS) + 1)
    inside = np.clip(LENS + 0.5 - np.hypot(*np.meshgrid(reach, reach)), 0, 1)
    return np.asarray(inside / inside.sum(), np.float32)


def studio(lighting: Lighting, rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """(h, w, 3) linear: a wall of grey paper that curves round the person, in the same light, darker to its edges."""
    out = rays[..., :2] / np.abs(rays[..., :2]).max()
    normals = np.concatenate([-CURVE * out, np.ones_like(out[..., :1])], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    fall = np.exp(-0.9 * (out**2).sum(-1, keepdims=True))
    return np.asarray(WALL * shade_normals(lighting, normals) * fall)


def _shown(linear: NDArray[Any], size: tuple[int, int]) -> Image:
    """(H, W, 3) sRGB of a coarse linear picture, smooth, and dithered: dark gradients would show their steps."""
    even = cv2.resize(srgb_from_linear(kneed(linear)) * np.float32(255), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.add(even, _dither(size), dtype=cv2.CV_8U))


@lru_cache(maxsize=2)
def _dither(size: tuple[int, int]) -> Array:
    """(H, W, 3) half a byte up and down, grey, the same in every frame: an encoder does not see it move."""
    noise = np.random.default_rng(0).random((size[1], size[0], 1), np.float32) - np.float32(0.5)
    return np.repeat(noise, 3, -1)
