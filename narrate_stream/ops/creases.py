"""Creases of the skin that an expression deepens: where they lie on a face, their profile, and how deep they are.

Each is a curve through landmarks with a profile across it; a *group* of them deepens together: forehead lines when a
brow rises, the lines between the brows when they draw together, the fold beside the nose when a corner of the mouth
rises, crow's feet when the skin between eye and cheek is pressed together; and no crease, but drawn the same way, the
dark line of the lashes when an upper lid falls, and their shade on the lower lid that it meets. At rest there are none:
what lines a face always has, its photograph shows.

Convention: landmarks as MediaPipe numbers them; the first of a pair of groups is the person's right, the image's left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Knot = tuple[int, int, float]  # from one landmark to another, and how far


@dataclass(frozen=True)
class Crease:
    """A curve of knots; width: cm from its bottom to its steepest place; steep: slope there at its deepest; fold: how
    much of a bulge stands on its outer side, which is on the left of a curve that is followed; dark: share of light
    that it keeps off, beyond what a valley so steep does."""

    knots: tuple[Knot, ...]
    width: float
    steep: float
    fold: float = 0.0
    dark: float = 0.0


def _forehead(height: float, steep: float) -> Crease:
    """A line across half of the forehead, at that part of the way from brow to hairline; it fades in over the middle,
    where the other half's fades out."""
    pairs = ((336, 338), (9, 10), (107, 109), (66, 67), (105, 103), (63, 54))
    return Crease(tuple((a, b, height) for a, b in pairs), 0.10, steep)


BROW = (_forehead(0.34, 0.18), _forehead(0.52, 0.21), _forehead(0.70, 0.15))
FROWN = (Crease(((9, 108, 0.5), (9, 107, 0.55), (8, 55, 0.6)), 0.11, 0.30),)
SMILE = (Crease(((129, 203, 0.2), (203, 203, 0), (206, 206, 0), (216, 216, 0), (216, 212, 0.55)), 0.20, 0.18, 0.7),)
CROW = (
    Crease(((226, 156, 0.3), (226, 156, 0.65), (156, 139, 0.1)), 0.07, 0.20),
    Crease(((226, 143, 0.25), (226, 143, 0.65), (143, 34, 0.2)), 0.07, 0.22),
    Crease(((226, 111, 0.45), (111, 116, 0.3), (111, 116, 0.75)), 0.07, 0.18),
)
RIM = (33, 246, 161, 160, 159, 158, 157, 173, 133)  # free edge of the right upper lid
LASH = (Crease(tuple((i, i, 0.0) for i in RIM), 0.12, 0.0, dark=0.6),)
MEET = ((33, 33, 0.0), (7, 25, 0.5), (163, 110, 0.8), (144, 24, 0.85), (145, 23, 0.9), (153, 22, 0.9),
        (154, 26, 0.85), (155, 112, 0.5), (133, 133, 0.0))  # fmt: skip
SHADE = (Crease(MEET, 0.11, 0.0, dark=0.45),)  # on the lower lid, where the upper one comes to lie
GROUPS = (BROW, BROW, FROWN, SMILE, SMILE, CROW, CROW, LASH, LASH, SHADE, SHADE)
RIGHT_SIDE = (True, False, None, True, False, True, False, True, False, True, False)  # None: on both
UNFOLDED = 0.15, 0.7  # of the way to shut, over which the skin of a lid comes out of its fold
SHALLOWEST = 0.02  # amplitude that is none
CAVITY = 0.35  # of its steepest slope: how much light a crease keeps off its bottom
BROWS, FOREHEAD = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336)), (10, 109, 338, 67, 297)
LIDS = ((160, 159, 158), (144, 145, 153)), ((387, 386, 385), (373, 374, 380))  # upper and lower, their middle
INNER_LIPS = (82, 13, 312), (87, 14, 317)
DEEP, PARTED, OPEN, DARKEST = (
    0.5,
    0.15,
    1.0,
    0.85,
)  # cm: how deep a mouth's inside lies, to its light; lips that show it in
# the portrait; how far drawn ones have to part to be as light as they are drawn. The most that closing lips keep off
CORNERS, CHEEKS, EYES, INNER = (61, 291), (117, 346), (33, 263), ((107, 336), (55, 285))


def profile(across: NDArray[Any], crease: Crease) -> tuple[F64, F64]:
    """Slope at distances `across` (...) cm, positive on the outer side, of a valley and, if it is a fold, a bulge
    beyond it; and the share of light that the valley keeps off."""
    d = np.asarray(across, np.float64) / crease.width
    valley, bulge = np.exp(-0.5 * d * d), np.exp(-0.5 * ((d - 2.4) / 1.7) ** 2)
    slope = d * valley - crease.fold * (d - 2.4) / 1.7**2 * bulge
    return slope * (crease.steep / np.exp(-0.5)), (CAVITY * crease.steep + crease.dark) * valley


def amplitudes(neutral: NDArray[Any], offsets: NDArray[Any]) -> NDArray[np.float32]:
    """(G + 3,) 0..1 how deep each group is on a face of landmarks neutral (>= 468, 3) cm, moved by offsets (468, 3);
    then, how far the skin of its right and left upper lid has come down; last, see `shaded_mouth`."""
    rest: F64 = neutral[:468].astype(np.float64)
    now: F64 = rest + offsets
    forehead = offsets[list(FOREHEAD), 1].mean()
    rise = [eased(float(offsets[list(b), 1].mean() - forehead), 0.12, 0.85) for b in BROWS]
    frown = eased(1 - min(_pressed(rest, now, a, b) for a, b in INNER), 0.05, 0.20)
    smile, crow = [], []
    for corner, cheek, eye, side in zip(CORNERS, CHEEKS, EYES, (-1, 1), strict=True):
        aside, up = offsets[corner, 0] * side, offsets[corner, 1]
        smile.append(eased(float(0.6 * aside + up), 0.2, 1.2))
        crow.append(eased(1 - _pressed(rest, now, eye, cheek), 0.04, 0.20))
    # of the way to go; of eyes that are shut in the portrait there is none, and their lashes are in its picture
    shut = [(_gap(rest, lids) - _gap(now, lids)) / max(_gap(rest, lids), 0.3) for lids in LIDS]
    lash, shade = ([eased(part, begin, 1.0) for part in shut] for begin in (0.35, 0.7))
    lids = [eased(part, *UNFOLDED) for part in shut]
    return np.array([*rise, frown, *smile, *crow, *lash, *shade, *lids, shaded_mouth(rest, now)], np.float32)


def shaded_mouth(rest: F64, now: F64) -> float:
    """0..1 which part of the light inside a mouth the lips keep off that part less than they did; of lips that are shut
    nothing is seen."""
    own, gap = _gap(rest, INNER_LIPS), _gap(now, INNER_LIPS)
    if gap <= 0:
        return 0.0
    seen, whole = (g / float(np.hypot(g, DEEP)) for g in (gap, own if own > PARTED else OPEN))
    return min(max(1 - seen / whole, 0.0), DARKEST)


def _gap(face: F64, lids: tuple[tuple[int, ...], tuple[int, ...]]) -> float:
    """cm by which upper and lower lid, or lip, stand apart; below 0 where shut ones overlap."""
    return float((face[list(lids[0]), 1] - face[list(lids[1]), 1]).mean())


def _pressed(rest: F64, now: F64, a: int, b: int) -> float:
    """The distance of two landmarks over the one at rest."""
    return float(np.linalg.norm(now[a] - now[b]) / max(float(np.linalg.norm(rest[a] - rest[b])), 1e-6))


def eased(value: float, begin: float, whole: float) -> float:
    """0 up to `begin`, 1 from `whole` on, smooth between."""
    t = min(max((value - begin) / (whole - begin), 0.0), 1.0)
    return t * t * (3 - 2 * t)


def curve_points(marks: NDArray[Any], knots: tuple[Knot, ...], count: int = 48) -> F64:
    """(count, 2) points along a curve through its knots on marks (>= 468, 2), evenly by knot (Catmull and Rom)."""
    p = np.array([marks[a] * (1 - t) + marks[b] * t for a, b, t in knots], np.float64)
    p = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    s = np.linspace(0, len(knots) - 1, count)
    i = np.minimum(s.astype(int), len(knots) - 2)
    t = (s - i)[:, None]
    a, b, c, d = (p[i + k] for k in range(4))
    made = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    return np.asarray(0.5 * made, np.float64)
