"""Where the mouth ends: its corners, put to the end of the dark line between the lips.

A detector's corners of a wide smile lie inside of the picture's. What is left outside of them is skin to the rig, and
smears into a long dark line when the mouth grows narrow: to the eye, and to another detector, the smile stays.

Convention: landmarks (478, 3) and all places in pixels of the picture; lengths in eye distances unless said otherwise.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.types import Image

F64 = NDArray[np.float64]
CORNERS = ((61, 62, 78), (291, 292, 308))  # of the mouth: outer, middle, inner, right and left
STEP, REACH = 0.005, 0.08  # of the walk along the line; how far it may lead
ASIDE, FLANK = 0.012, 0.045  # how far the line may bend in a step; where beside it there is skin
DISTINCT, FAINT = 12.0, 0.5  # levels by which a line is darker than the skin; share of its own below which it has ended
AROUND = 0.08  # how far landmarks go along


def with_whole_mouth(image: Image, marks: F64) -> F64:
    """(478, 3) landmarks with the corners of the mouth where its line ends, and their surroundings along with them."""
    eyes = float(np.linalg.norm(marks[33, :2] - marks[263, :2]))
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), max(STEP * eyes, 0.6))
    out = marks.copy()
    for outer, _, inner in CORNERS:
        start = marks[outer, :2]
        moved = line_end(grey, marks[inner, :2], start, eyes) - start
        near = np.exp(-((np.linalg.norm(marks[:, :2] - start, axis=1) / (AROUND * eyes)) ** 2))
        out[:, :2] += near[:, None] * moved
    return out


def line_end(grey: NDArray[np.float32], inside: F64, start: F64, eyes: float) -> F64:
    """(2,) where the dark line that leads from `inside` through `start` ends, at most REACH beyond; eyes: pixels."""
    ahead = (start - inside) / max(float(np.linalg.norm(start - inside)), 1e-6)
    at, depth = onto_line(grey, inside + 0.5 * (start - inside), ahead, eyes)
    enough = max(FAINT * depth, DISTINCT)
    at, end = start, start
    for _ in range(round(REACH / STEP)):
        found, depth = onto_line(grey, at + STEP * eyes * ahead, ahead, eyes)
        if depth < enough:
            break
        turn = found - at
        ahead = 0.8 * ahead + 0.2 * turn / max(float(np.linalg.norm(turn)), 1e-6)
        ahead /= np.linalg.norm(ahead)
        at = end = found
    return end


def onto_line(grey: NDArray[np.float32], at: F64, ahead: F64, eyes: float) -> tuple[F64, float]:
    """The darkest place (2,) across the way `ahead` near `at`, and by how many levels the skin on both sides of it is
    lighter."""
    across = np.array([-ahead[1], ahead[0]])
    away = np.arange(-round(ASIDE / STEP * 2), round(ASIDE / STEP * 2) + 1) * STEP / 2
    values = sampled(grey, at + away[:, None] * eyes * across)
    place = at + away[int(np.argmin(values))] * eyes * across
    flanks = [
        sampled(grey, place + side * np.linspace(0.5, 1, 4)[:, None] * FLANK * eyes * across).mean() for side in (-1, 1)
    ]
    return place, float(min(flanks) - values.min())


def sampled(grey: NDArray[np.float32], places: F64) -> NDArray[np.float32]:
    """(n,) levels at places (n, 2)."""
    at = places.astype(np.float32)[:, None]
    return np.asarray(cv2.remap(grey, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0])
