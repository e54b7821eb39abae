"""Lays light on the colours of the atlas: linear light times albedo, with its highlights rolled off, as sRGB bytes."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bands import side_by_side
from narrate_stream.bundle import HybridModel
from narrate_stream.creases import Creases
from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.lighting import Lighting
from narrate_stream.types import Array, Image

KNEE = 0.82
ROLL = 1 / (1 - KNEE)
HEADROOM = 1.6  # linear values up to here are told apart before the knee
STRIP = 4  # rows of blocks in a strip: what is done to one stays in the cache for what is done next
Block = tuple[slice, slice]
Creased = tuple[tuple[Array, Array], Array]  # slopes of the light and amplitudes: see `Creases.deepen`


def kneed(linear: NDArray[Any], roll: float = ROLL) -> NDArray[Any]:
    """Highlights above KNEE roll off instead of clipping: with ROLL toward 1, with 0 not at all."""
    over = np.maximum(linear - KNEE, 0)
    return np.where(linear > KNEE, KNEE + over / (1 + roll * over), linear)


def roll_below(white: float) -> float:
    """The roll-off that brings linear `white` to 1; 0 for what does not go above 1 anyhow."""
    return ROLL - 1 / (max(1.0, white) - KNEE)


def roll_off(lighting: Lighting) -> float:
    """How strongly highlights roll off under a light. The photograph has rolled off its own already: only what its
    exposure brings above white is fitted in below it."""
    own = roll_below(float(lighting.gain.max()))
    return own if lighting.original else ROLL + lighting.share * (own - ROLL)


class Laying:
    """Lays light on pictures of one model's atlas, as much of them as is seen; where neither changes, nothing is
    computed. Not thread-safe."""

    def __init__(self, model: HybridModel) -> None:
        self.model = model
        # bytes of the square root of linear light: a product there is a byte multiplication, evenly fine to the eye
        self._root = np.asarray(np.sqrt(linear_table()) * 255 + 0.5, np.uint8)
        self._picture = self._rooted = self._out = np.zeros((0, 0, 3), np.uint8)
        self._grown = np.zeros((0, 0, 3), np.float32)
        self._seen = np.zeros((0, 0), np.bool_)
        self._light: Array | None = None
        self._creased: Creased | None = None
        self._roll = -1.0
        self._curve = np.zeros(0, np.uint8)

    def __call__(
        self, picture: Image, light: Array, roll: float, seen: NDArray[np.bool_], creased: Creased | None = None
    ) -> Image:
        """(h, w, 3) sRGB, in the blocks of the atlas that are `seen` (BLOCKS, BLOCKS), else undefined: a picture of
        the atlas in a light (h', w', 3), `creased` where it is not a smooth face; good until the next call."""
        same = picture is self._picture and light is self._light and roll == self._roll
        if same and creased is self._creased is None and not (seen > self._seen).any():
            return self._out
        if picture is not self._picture:
            self._prepare(picture)
        if roll != self._roll:
            self._roll, self._curve = roll, curve_of(roll)
        self._light, self._creased, self._seen = light, creased, seen
        root = cv2.sqrt(light * np.float32(1 / HEADROOM))
        cv2.resize(root, picture.shape[1::-1], dst=self._grown)
        if creased is not None:
            self._creases.deepen(self._grown, *creased)

        def lay(block: Block) -> None:
            lit = cv2.multiply(self._rooted[block], self._grown[block], dtype=cv2.CV_8U)
            cv2.LUT(lit, self._curve, dst=self._out[block])

        side_by_side(lay, blocks_of(seen, picture.shape))
        return self._out

    def _prepare(self, picture: Image) -> None:
        """What depends on the picture only."""
        self._picture, self._rooted = picture, np.asarray(cv2.LUT(picture, self._root), np.uint8)
        if self._out.shape != picture.shape:
            self._out, self._creases = np.zeros_like(picture), Creases(self.model, picture)
            self._grown = np.zeros(picture.shape, np.float32)
        else:
            self._creases.lay_on(picture)


def curve_of(roll: float) -> NDArray[np.uint8]:
    """(256,) sRGB bytes of the square roots of linear light."""
    grid = (np.arange(256, dtype=np.float32) / 255) ** 2 * HEADROOM
    return np.asarray(srgb_from_linear(kneed(grid, roll)) * 255 + 0.5, np.uint8)


def blocks_of(seen: NDArray[np.bool_], shape: tuple[int, ...]) -> list[Block]:
    """Of a picture of this shape (h, w): strips of rows from the first to the last column that has a `seen` block."""
    strips = seen.reshape(-1, STRIP, seen.shape[1]).any(1)
    first, last = strips.argmax(1), seen.shape[1] - strips[:, ::-1].argmax(1)
    down, across = shape[0] / len(strips), shape[1] / seen.shape[1]
    return [
        (slice(int(i * down), math.ceil((i + 1) * down)), slice(int(first[i] * across), math.ceil(last[i] * across)))
        for i in np.flatnonzero(strips.any(1)).tolist()
    ]
