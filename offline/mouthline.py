"""Where the mouth ends: its corners, put to the end of the dark line between the lips.

A detector's corners of a wide smile lie inside of the picture's. What is left outside of them is skin to the rig, and
smears into a long dark line when the mouth grows narrow: to the eye, and to another detector, the smile stays. A head
is not fitted to corners put there, since its statistics are of the detector's.

Convention: landmarks (478, 3) and all places in pixels of the picture; lengths in eye distances unless said otherwise.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.types import Image
from offline.facemesh import LANDMARKS
from offline.geometry import Surface
from offline.headfit import HeadFit
from offline.parts import sample
from offline.preprocess import Portrait

F64 = NDArray[np.float64]
CORNERS = ((61, 78), (291, 308))  # of the mouth: outer and inner, right and left
STEP, REACH = 0.005, 0.08  # of the walk along the line; how far it may lead
ASIDE, FLANK = 0.012, 0.045  # how far the line may bend in a step; where beside it there is skin
DISTINCT, FAINT = 12.0, 0.5  # levels by which a line is darker than the skin; share of its own below which it has ended
AROUND = 0.08  # how far landmarks go along
FELT = 1e-3  # share of the corner's way below which they stay


def with_whole_mouth(portrait: Portrait, fit: HeadFit, surface: Surface) -> tuple[Portrait, HeadFit]:
    """The same with the corners of the mouth where its line ends, on the same surface: for what moves."""
    marks = moved_corners(portrait.image, portrait.landmarks)
    before, after = (
        sample(surface.z, *((at[:LANDMARKS, :2] + 0.5) * surface.scale - 0.5).T) for at in (portrait.landmarks, marks)
    )
    points = fit.points.copy()
    moved = (marks != portrait.landmarks)[:LANDMARKS].any(1)
    depth = points[:LANDMARKS, 2] + after - before
    points[:LANDMARKS][moved] = portrait.camera.unproject(marks[:LANDMARKS, :2], depth)[moved]
    return replace(portrait, landmarks=marks), replace(fit, points=points)


def moved_corners(image: Image, marks: F64) -> F64:
    """(478, 3) landmarks with the corners of the mouth where its line ends, and their surroundings along with them.

    Lips end alike on both sides: what one side has more of is a beard or a shadow.
    """
    eyes = float(np.linalg.norm(marks[33, :2] - marks[263, :2]))
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), max(STEP * eyes, 0.6))
    ways = [line_end(grey, marks[inner, :2], marks[outer, :2], eyes) - marks[outer, :2] for outer, inner in CORNERS]
    lengths = [float(np.linalg.norm(way)) for way in ways]
    out = marks.copy()
    if min(lengths) > 0:
        for (outer, _), way, length in zip(CORNERS, ways, lengths, strict=True):
            near = np.exp(-((np.linalg.norm(marks[:, :2] - marks[outer, :2], axis=1) / (AROUND * eyes)) ** 2))
            out[:, :2] += np.where(near > FELT, near, 0)[:, None] * way * (min(lengths) / length)
    return out


def line_end(grey: NDArray[np.float32], inside: F64, start: F64, eyes: float) -> F64:
    """(2,) where the dark line that leads from `inside` through `start` ends; eyes: pixels. One that has no end within
    REACH is not the mouth's: `start`."""
    ahead = (start - inside) / max(float(np.linalg.norm(start - inside)), 1e-6)
    _, depth = onto_line(grey, inside + 0.5 * (start - inside), ahead, eyes)
    enough = max(FAINT * depth, DISTINCT)
    at = start
    for _ in range(round(REACH / STEP)):
        found, depth = onto_line(grey, at + STEP * eyes * ahead, ahead, eyes)
        if depth < enough:
            return at
        turn = found - at
        ahead = 0.8 * ahead + 0.2 * turn / max(float(np.linalg.norm(turn)), 1e-6)
        ahead /= np.linalg.norm(ahead)
        at = found
    return start


def onto_line(grey: NDArray[np.float32], at: F64, ahead: F64, eyes: float) -> tuple[F64, float]:
    """The darkest place (2,) across the way `ahead` near `at`, and by how many levels the skin on both sides of it is
    lighter."""
    across = np.array([-ahead[1], ahead[0]])
    away = np.arange(-round(ASIDE / STEP * 2), round(ASIDE / STEP * 2) + 1) * STEP / 2
    values = sample(grey, *(at + away[:, None] * eyes * across).T)
    place = at + away[int(np.argmin(values))] * eyes * across
    beside = np.linspace(0.5, 1, 4)[:, None] * FLANK * eyes * across
    flanks = [sample(grey, *(place + side * beside).T).mean() for side in (-1, 1)]
    return place, float(min(flanks) - values.min())
