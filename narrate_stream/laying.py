"""Lays light on the colours of the atlas: linear light times albedo, with its highlights rolled off, as sRGB bytes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bands import BANDS, side_by_side
from narrate_stream.bundle import HybridModel
from narrate_stream.creases import Creases
from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.lighting import Lighting
from narrate_stream.types import Array, Image

KNEE = 0.82
ROLL = 1 / (1 - KNEE)
HEADROOM = 1.6  # linear values up to here are told apart before the knee
STRIP = 64  # rows of a block: what is done to one stays in the cache for what is done next
MARGIN = 2  # pixels round what is covered, for interpolation
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
    """Lays light on pictures of one model's atlas; where neither changes, nothing is computed. Not thread-safe."""

    def __init__(self, model: HybridModel) -> None:
        self.model = model
        # bytes of the square root of linear light: a product there is a byte multiplication, evenly fine to the eye
        self._root = np.asarray(np.sqrt(linear_table()) * 255 + 0.5, np.uint8)
        self._picture = self._rooted = self._out = np.zeros((0, 0, 3), np.uint8)
        self._bands: list[list[Block]] = []
        self._light: Array | None = None
        self._creased: Creased | None = None
        self._roll = -1.0
        self._curve = np.zeros(0, np.uint8)

    def __call__(self, picture: Image, light: Array, roll: float, creased: Creased | None = None) -> Image:
        """(h, w, 3) sRGB, where the atlas shows something, black elsewhere: a picture of the atlas in a light (h', w',
        3), `creased` where it is not a smooth face; good until the next call."""
        if (
            picture is self._picture
            and light is self._light
            and roll == self._roll
            and creased is self._creased is None
        ):
            return self._out
        if picture is not self._picture:
            self._prepare(picture)
        if roll != self._roll:
            self._roll, self._curve = roll, curve_of(roll)
        self._light, self._creased = light, creased
        grown = np.asarray(cv2.resize(cv2.sqrt(light * np.float32(1 / HEADROOM)), picture.shape[1::-1]), np.float32)
        if creased is not None:
            self._creases.deepen(grown, *creased)

        def lay(blocks: list[Block]) -> None:
            for down, across in blocks:  # OpenCV multiplies whole rows, one piece of memory, twice as fast as parts
                lit = cv2.multiply(self._rooted[down], grown[down], dtype=cv2.CV_8U)
                cv2.LUT(lit[:, across], self._curve, dst=self._out[down, across])

        side_by_side(lay, self._bands)
        return self._out

    def _prepare(self, picture: Image) -> None:
        """What depends on the picture only."""
        self._picture, self._rooted = picture, np.asarray(cv2.LUT(picture, self._root), np.uint8)
        if self._out.shape != picture.shape:
            self._out, self._creases = np.zeros_like(picture), Creases(self.model, picture.shape)
            self._bands = shared_out(blocks_of(self.model.alpha, picture.shape[:2]))


def curve_of(roll: float) -> NDArray[np.uint8]:
    """(256,) sRGB bytes of the square roots of linear light."""
    grid = (np.arange(256, dtype=np.float32) / 255) ** 2 * HEADROOM
    return np.asarray(srgb_from_linear(kneed(grid, roll)) * 255 + 0.5, np.uint8)


def blocks_of(alpha: NDArray[np.uint8], shape: tuple[int, ...]) -> list[Block]:
    """Of a picture of this shape (h, w): strips of rows from the first to the last column in which an atlas with this
    alpha (H, W) shows something."""
    seen = cv2.resize((alpha > 0).astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) > 0
    seen = cv2.dilate(seen.astype(np.uint8), np.ones((2 * MARGIN + 1,) * 2, np.uint8))
    blocks = []
    for top in range(0, shape[0], STRIP):
        across = np.flatnonzero(seen[top : top + STRIP].any(0))
        if len(across):
            blocks.append((slice(top, min(top + STRIP, shape[0])), slice(int(across[0]), int(across[-1]) + 1)))
    return blocks


def shared_out(blocks: list[Block]) -> list[list[Block]]:
    """The blocks as bands of about the same area."""
    area = np.cumsum([(b.stop - b.start) * (a.stop - a.start) for a, b in blocks])
    at = np.minimum((area - 1) * BANDS // max(int(area[-1]) if len(area) else 1, 1), BANDS - 1)
    return [[block for block, i in zip(blocks, at, strict=True) if i == band] for band in range(BANDS)]
