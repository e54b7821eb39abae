"""Lips: they rise and part as far as the portrait's face has room for, meet when the driver's meet, and never cross."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.limits import softly

F64 = NDArray[np.float64]
UPPER_LIP, LOWER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415), (95, 88, 178, 87, 14, 317, 402, 318, 324)
MOUTH = tuple(sorted({
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 78, 308, *UPPER_LIP,
    *LOWER_LIP, 76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 307, 320, 404, 315, 16, 85, 180, 90, 77, 62, 183,
    42, 41, 38, 12, 268, 271, 272, 407, 292, 325, 319, 403, 316, 15, 86, 179, 89, 96,
}))  # fmt: skip
CORNERS = (61, 291, 76, 306, 62, 292, 78, 308)
UPPER_MOUTH = (
    *UPPER_LIP, 185, 40, 39, 37, 0, 267, 269, 270, 409, 184, 74, 73, 72, 11, 302, 303, 304, 408, 183, 42, 41, 38, 12,
    268, 271, 272, 407, *CORNERS,
)  # fmt: skip
MOUTH_INDEX, UPPER_LIP_INDEX, LOWER_LIP_INDEX = np.array(MOUTH), np.array(UPPER_LIP), np.array(LOWER_LIP)
LIP_RISE = 1.1  # cm the upper lip may rise, approached softly
OPENING = 0.58  # of the way from nose to chin: how far lips part in relative motion, approached softly;
LEAST = 0.1  # what is left of it to lips that are parted already
OVERLAP = 0.04  # cm by which shut lips overlap
MET, PARTED = 0.015, 0.14  # openings over the mouth's width: of a driver whose lips meet, and of one who speaks
DRAWN = 0.25  # of the mouth's width: the most by which lips that are parted in the portrait are drawn together
UPPER_SHARE = 0.35  # of that the upper lip's
STIR = 0.12  # of the mouth's width: what a speaking mouth opens and closes within a moment
MOMENT, RELEASE = 0.6, 2.0  # seconds: of that moment; until a mouth that stopped speaking is the portrait's own again


def mouth_opening(face: NDArray[np.floating[Any]]) -> float:
    """Inner lips apart over the mouth's width, of a face (468+, 3) in head space."""
    apart = np.linalg.norm(face[[81, 13, 311]] - face[[178, 14, 402]], axis=-1).mean()
    return float(apart / max(float(np.linalg.norm(face[78] - face[308])), 1e-6))


class Lips:
    """Sets the lips of one portrait. relative: the portrait's own mouth and the driver's add up; it opens no wider than
    there is room, and while the driver speaks it closes when his does, though the portrait's lips may be parted at
    rest. At rest they are the portrait's own."""

    def __init__(self, model: HybridModel, *, relative: bool) -> None:
        self.own, self.relative = model.neutral, relative
        own = self.own
        self._upper = np.array(UPPER_MOUTH)
        self._lower = np.setdiff1d(MOUTH_INDEX, self._upper)
        # a lip that is already up in a smile has little way left; higher, there would be more gum than anyone has
        opening = np.linalg.norm(own[13] - own[14]) / np.linalg.norm(own[78] - own[308])
        self._rise = LIP_RISE * (0.6 if opening > 0.06 else 1.0)
        nose, lip = own[2, 1], own[14, 1]
        self._with_jaw = np.clip((nose - own[:468, 1]) / (nose - lip), 0, 1)
        self._with_jaw[self._upper] = 0
        self._drawn = self._way_together()
        self._usual: float | None = None  # opening of the driver's mouth, of late
        self._speaks = self._talk = 0.0

    def rehearse(self, faces: Sequence[NDArray[np.floating[Any]]]) -> None:
        """Offline: whether the driver speaks is known from the whole clip, (478, 3) each, and holds for all of it."""
        openings = [mouth_opening(face) for face in faces]
        self._talk = float(np.clip(np.ptp(np.percentile(openings, [5, 95])) / STIR, 0, 1) ** 2)

    def __call__(self, offsets: F64, face: NDArray[np.floating[Any]], seconds: float) -> F64:
        """(468, 3) cm of the portrait, changed in place; face: the driver's, (478, 3) in head space, `seconds` after
        the last."""
        rise = offsets[self._upper, 1]
        offsets[self._upper, 1] = np.where(rise > 0, softly(rise, self._rise), rise)
        if self.relative:
            offsets = self._opening_limited(offsets)
            offsets[:, 1] += self._closing(mouth_opening(face), seconds) * self._drawn
        return self._apart(offsets)

    def _closing(self, opening: float, seconds: float) -> float:
        """0..1 how far the portrait's lips are drawn together."""
        self._usual = opening if self._usual is None else self._usual
        self._usual += (opening - self._usual) * (1 - float(np.exp(-seconds / MOMENT)))
        stir = min(abs(opening - self._usual) / STIR, 1.0)
        self._speaks = max(stir * stir, self._talk, self._speaks * float(np.exp(-seconds / RELEASE)))
        parted = float(np.clip((opening - MET) / (PARTED - MET), 0, 1))
        return self._speaks * (1 - parted) ** 2

    def _way_together(self) -> F64:
        """(468,) cm upward by which the portrait's parted lips meet: upper lip and what is above it go down, lower lip
        and jaw go up."""
        own = self.own
        width = float(np.linalg.norm(own[78] - own[308]))
        gap = np.clip(own[UPPER_LIP_INDEX, 1] - own[LOWER_LIP_INDEX, 1], 0, DRAWN * width)
        order = np.argsort(own[LOWER_LIP_INDEX, 0])
        apart = np.interp(own[:468, 0], own[LOWER_LIP_INDEX[order], 0], gap[order], left=0.0, right=0.0)
        out = (1 - UPPER_SHARE) * self._with_jaw * apart.max()
        chin, lip = own[152, 1], own[17, 1]
        out *= np.clip(0.55 + 0.45 * (own[:468, 1] - chin) / (lip - chin), 0, 1)  # the chin goes along half the way
        out[self._lower] = (1 - UPPER_SHARE) * apart[self._lower]
        out[self._upper] = -UPPER_SHARE * apart[self._upper]
        return np.asarray(out, np.float64)

    def _opening_limited(self, offsets: F64) -> F64:
        """A mouth that opens as far as the portrait's face has room for: beyond, jaw and chin go down less."""
        own = self.own
        room = float(own[2, 1] - own[152, 1])
        rest = float(own[13, 1] - own[14, 1])
        down, up = -float(offsets[14, 1]), float(offsets[13, 1])
        if down <= 0:
            return offsets
        allowed = float(softly(down + up, max(OPENING * room - rest, LEAST * room))) - up
        offsets[:, 1] *= 1 - (1 - np.clip(allowed / down, 0, 1)) * self._with_jaw
        return offsets

    def _apart(self, offsets: F64) -> F64:
        """Inner lips never pass each other: they meet in the middle, overlapping a hair so that no slit shows."""
        own, u, low = self.own, UPPER_LIP_INDEX, LOWER_LIP_INDEX
        gap = (own[u, 1] + offsets[u, 1]) - (own[low, 1] + offsets[low, 1])
        wanted = np.where(gap < 2 * OVERLAP, np.maximum(gap, -OVERLAP) - np.clip(OVERLAP - 0.5 * gap, 0, OVERLAP), gap)
        cross = gap - np.maximum(wanted, -OVERLAP)
        offsets[u, 1] -= 0.5 * cross
        offsets[low, 1] += 0.5 * cross
        return offsets
