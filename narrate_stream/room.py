"""The light of the driver's own room, read from the skin of a face that moves in it, and smoothed.

Every look is at other places of the face, and what was seen lately is fitted together: while a head turns, its skin
shows the same room under other normals, and what turns with it is not taken for light. The search for a lamp is spread
over the looks as well: near the last one, and in one part of the sphere after the other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.lightfit import RINGS, around, best_lamp, best_of, evened, likelier, searched
from narrate_stream.ops.lighting import Lighting
from narrate_stream.types import Image, Motion

F64 = NDArray[np.float64]
SECONDS = 1.0  # over which what is found is averaged
SPOTS = 360  # places on the face, spread evenly over its skin
EVERY = 3  # frames from one look to the next
# Looks in which all places have been seen once; as many are fitted together, 3.6 seconds of them: over a slow turn of
# the head (4 s, six rendered clips) the light found varied by 2.2 % then, by 6.5 % with 1.2 seconds.
TURNS = 36
SIDE = 64  # pixels to which the longer side of the face is shrunk: broad skin, no pores
SEARCHED, PARTS = 96, 12  # directions over the sphere, and the parts in which they are tried
ROUNDS = 4  # of a fit: the next look goes on
SOFTNESS = 0.3  # rooms have lamps with shades, and walls
FACING = 0.2  # least cosine toward the viewer of skin that is seen well
CLIPPED = 250  # bytes
ENOUGH = 60  # samples
SAME = 0.01  # a room that changes by less is left as it is: a light that stands still costs the relighter nothing
# eyes, brows and lips: their colour says little about the light
NOT_SKIN = (
    33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7, 263, 466, 388, 387, 386, 385, 384,
    398, 362, 382, 381, 380, 374, 373, 390, 249, 70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336,
    285, 295, 282, 283, 276, 61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91,
    146, 78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 95, 88, 178, 87, 14, 317, 402, 318, 324,
)  # fmt: skip


class Room:
    """Follows the light of one driver's room. Not thread-safe."""

    def __init__(self) -> None:
        self._seen: deque[tuple[F64, F64]] = deque(maxlen=TURNS)
        self._frames, self._looks, self._since = 0, 0, 0.0
        self._towards = np.array([0.0, 0.5, 0.8660254])
        self._found: Lighting | None = None
        self.light: Lighting | None = None  # None before any skin was seen

    def __call__(self, image: Image, motion: Motion, seconds: float) -> Lighting | None:
        """The room's light after this frame (H, W, 3), `seconds` after the last one; None before any skin was seen."""
        self._since += seconds
        self._frames += 1
        if self._frames % EVERY and self._found is not None:
            return self.light
        some = slice(None) if self._found is None else slice(self._looks % TURNS, None, TURNS)
        self._seen.append(skin(image, motion, some))
        level, normal = (np.concatenate(part) for part in zip(*self._seen, strict=True))
        if len(level) < ENOUGH:
            return self.light
        now = one_lamp(self._fitted(level, normal))
        keep = float(np.exp(-self._since / SECONDS))
        self._found = now if self._found is None else between(now, self._found, keep)
        self._looks, self._since = self._looks + 1, 0.0
        if self.light is None or apart(self.light, self._found) > SAME:
            self.light = self._found
        return self.light

    def _fitted(self, level: F64, normal: F64) -> Lighting:
        grey = evened(level)
        if self._found is None:
            lamp = best_lamp(grey, normal)
        else:
            lamp = best_of(grey, normal, self._tried(), SOFTNESS, ROUNDS)
        self._towards = lamp.direction
        return likelier(level, normal, "webcam", lamp, ROUNDS)

    def _tried(self) -> F64:
        """(D, 3) directions to look for the lamp in: round the last one, and in turn with that elsewhere."""
        turn, elsewhere = divmod(self._looks, 2)
        if elsewhere:
            return np.concatenate([self._towards[None], searched(SEARCHED)[turn % PARTS :: PARTS]])
        return around(self._towards, RINGS[turn % len(RINGS)])


@dataclass(frozen=True)
class Spots:
    """corners (SPOTS, 3) landmarks and shares (SPOTS, 3) of places spread evenly over the face's skin; around (468, T)
    how much each triangle's normal counts in a landmark's: most those at it, less those at its neighbours."""

    corners: NDArray[np.int32]
    shares: F64
    around: sp.csr_matrix


@lru_cache(maxsize=1)
def spots() -> Spots:
    """The places, the same for every face; in an order in which every few of them lie all over it."""
    face, triangles = canonical().landmarks[:468], canonical().triangles
    skin = ~np.isin(triangles, NOT_SKIN).any(1)
    a, b, c = (face[triangles[:, k]] for k in range(3))
    area = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1) * skin)
    order = np.random.default_rng(1).permutation(SPOTS)
    which = np.searchsorted(area, (order + 0.5) / SPOTS * area[-1])
    shares = np.random.default_rng(2).dirichlet(np.ones(3), SPOTS)
    count = len(triangles)
    own = sp.csr_matrix((np.ones(3 * count), (triangles.T.ravel(), np.tile(np.arange(count), 3))), (468, count))
    linked = sp.csr_matrix((own @ own.T) > 0, dtype=np.float64)
    return Spots(triangles[which], shares, sp.csr_matrix(2 * own + linked @ own))


def face_normals(points: F64) -> F64:
    """(468, 3) unit normals of a face's landmarks (468, 3), a little smoothed."""
    a, b, c = (points[canonical().triangles[:, k]] for k in range(3))
    total = spots().around @ np.cross(b - a, c - a)
    return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12))


def skin(image: Image, motion: Motion, some: slice) -> tuple[F64, F64]:
    """(N, 3) linear RGB and (N, 3) camera-space normals at `some` of the spots, where they are seen and not clipped."""
    where = spots()
    corners, shares = where.corners[some], where.shares[some][..., None]
    normal = (face_normals((motion.landmarks[:468] @ motion.rotation.T).astype(np.float64))[corners] * shares).sum(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    colour = shrunk_colours(image, motion.pixels[:468], (motion.pixels[:468][corners] * shares).sum(1))
    use = (normal[:, 2] > FACING) & (colour.max(-1) < CLIPPED)
    return linear_table()[np.clip(colour[use] + 0.5, 0, 255).astype(np.uint8)].astype(np.float64), normal[use]


def shrunk_colours(image: Image, face: NDArray[Any], at: NDArray[Any]) -> NDArray[np.float32]:
    """(N, 3) sRGB 0..255 at pixels `at` (N, 2), each a mean over a small part of the face (468, 2)."""
    h, w = image.shape[:2]
    x0, y0 = np.clip(np.floor(face.min(0)).astype(int) - 4, 0, [w - 2, h - 2])
    x1, y1 = np.clip(np.ceil(face.max(0)).astype(int) + 5, [x0 + 2, y0 + 2], [w, h])
    k = min(1.0, SIDE / max(x1 - x0, y1 - y0))
    small = cv2.resize(image[y0:y1, x0:x1], None, fx=k, fy=k, interpolation=cv2.INTER_AREA).astype(np.float32)
    x, y = (((at[:, i] - origin + 0.5) * k - 0.5).astype(np.float32)[None] for i, origin in ((0, x0), (1, y0)))
    return np.asarray(cv2.remap(small, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0], np.float32)


def one_lamp(light: Lighting) -> Lighting:
    """The same light with one lamp, a dark one where there was none: then any two can be mixed."""
    if len(light.directions):
        return light
    ahead, dark = np.array([[0, 0, 1]], np.float32), np.zeros((1, 3), np.float32)
    return replace(light, directions=ahead, colours=dark, softness=np.full(1, SOFTNESS, np.float32))


def between(a: Lighting, b: Lighting, t: float) -> Lighting:
    """The light between a (t = 0) and b (t = 1), each with one lamp: it wanders, strong ones slower."""
    towards = sum(
        share * float(one.colours.mean()) * one.directions for share, one in ((1 - t, a), (t, b))
    ) + np.float32(1e-6) * (a.directions + b.directions)
    return Lighting(
        a.name,
        (a.sh * (1 - t) + b.sh * t).astype(np.float32),
        (towards / (np.linalg.norm(towards) + 1e-9)).astype(np.float32),
        (a.colours * (1 - t) + b.colours * t).astype(np.float32),
        (a.softness * (1 - t) + b.softness * t).astype(np.float32),
    )


def apart(a: Lighting, b: Lighting) -> float:
    """The largest difference of any coefficient, colour, or lamp's place (weighted by its brightness)."""
    lamps = [one.directions * one.colours.mean() for one in (a, b)]
    parts = (a.sh - b.sh, a.colours - b.colours, lamps[0] - lamps[1])
    return max(float(np.abs(part).max()) for part in parts)
