"""The skin of an upper lid as it is seen when the eye is shut.

Open, it is folded away, in the shade of its brow, behind lashes and the frames of glasses: what a photograph shows of
it, stretched over a shut eye, looks like an open one, or like dark glass. So what comes down is coloured as the lit
skin around the eye is, smoothly, and the photograph's own where that is skin already; its lashes stay along its edge.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.creases import RIM
from narrate_stream.types import Array, Image

F64 = NDArray[np.float64]
LID = (*RIM, 189, 221, 222, 223, 224, 225, 113)  # of a right eye: the skin that comes down
OPENING = (*RIM, 155, 154, 153, 145, 144, 163, 7)
AROUND = ((30, 29, 27, 28, 56), (110, 24, 23, 22, 26))  # skin above and below an eye
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
SHADY, LIT = 0.35, 0.7  # of the lit skin's light: what has less is no guide to its colour; what has more, fully
GLARE = 1.8, 2.4  # the same of glass and what it mirrors
OTHER = 0.12, 0.24  # apart in red, green and blue as shares of their sum: metal, hair and glass are
WIDE, FINE = 0.45, 0.15  # cm: how far around skin is asked for the colour of what is none; how finely its own is kept
BRIGHTEST = 40.0  # times its light in the photograph, where that lies in deep shade
SPECK = 0.04  # cm
LASHES_END = 0.06, 0.18  # cm from the lid's edge over which its own lashes end
SOFT = 0.09  # cm beyond its outline at which what comes down has half gone over into what stays, within twice as much


def shut_lid(picture: Image, marks: F64, unit: float) -> tuple[tuple[slice, slice], Array]:
    """A box of a picture (h, w, 3), and in it (h', w', 3) by which share of its linear light a shut upper lid is
    brighter there. marks (468, 2) pixels, of a right eye or mirrored; unit: pixels to the cm."""
    h, w = picture.shape[:2]
    ring = marks[list(LID + AROUND[1])]
    x0, y0 = np.clip(np.floor(ring.min(0) - WIDE * unit), 0, [w, h]).astype(int)
    x1, y1 = np.clip(np.ceil(ring.max(0) + WIDE * unit), 0, [w, h]).astype(int)
    box = slice(y0, y1), slice(x0, x1)
    seen, at = linear_table()[picture[box]], marks - [x0, y0]
    if seen.size == 0:
        return box, np.zeros_like(seen)
    times = skin_around(seen, at, unit) / np.maximum(seen, 1e-4)
    times *= reached(times.max(-1), unit)[..., None]
    return box, coming_down(seen.shape, at, unit)[..., None] * (times - 1)


def reached(times: Array, unit: float) -> Array:
    """(h, w) 0..1 how much of a brightening (h, w) may be: less in and around what is black, which has no colour."""
    side = 2 * max(1, round(SPECK * unit)) + 1
    held = cv2.erode(np.minimum(1, BRIGHTEST / times), np.ones((side, side), np.uint8))
    return np.asarray(np.minimum(cv2.blur(held, (side, side)), 1), np.float32)


def skin_around(seen: Array, at: F64, unit: float) -> Array:
    """(h, w, 3) the lit skin around an eye, carried on smoothly over what is none."""
    h, w = seen.shape[:2]
    places = [np.clip(np.round(at[list(p)]).astype(int), 0, [w - 1, h - 1]) for p in AROUND]
    lit = max((np.median(seen[p[:, 1], p[:, 0]], axis=0) for p in places), key=lambda c: float(c @ LUMA))
    share = (seen @ LUMA) / max(float(lit @ LUMA), 1e-3)
    like = np.clip((share - SHADY) / (LIT - SHADY), 0, 1) * np.clip((GLARE[1] - share) / (GLARE[1] - GLARE[0]), 0, 1)
    off = np.abs(seen / np.maximum(seen.sum(-1, keepdims=True), 1e-3) - lit / max(float(lit.sum()), 1e-3)).sum(-1)
    like *= np.clip((OTHER[1] - off) / (OTHER[1] - OTHER[0]), 0, 1)
    weight = np.asarray(like * (1 - filled(at[list(OPENING)], (h, w))), np.float32)
    wide = spread(seen, weight, np.broadcast_to(lit, seen.shape), WIDE * unit)
    return spread(seen, weight, wide, FINE * unit)


def spread(seen: Array, weight: Array, beyond: Array, sigma: float) -> Array:
    """(h, w, 3) the colours of a picture blurred over what has weight (h, w); where nothing near has, `beyond`."""
    sigma, believed = max(sigma, 0.5), np.float32(0.03)
    total = cv2.GaussianBlur(weight[..., None] * seen, (0, 0), sigma) + believed * beyond
    return np.asarray(total / (cv2.GaussianBlur(weight, (0, 0), sigma)[..., None] + believed), np.float32)


def coming_down(shape: tuple[int, ...], at: F64, unit: float) -> Array:
    """(h, w) 0..1 what is skin of an upper lid, and none of its lashes."""
    side = 2 * max(1, round(SOFT * unit)) + 1
    whole = cv2.dilate(filled(at[list(LID)], shape), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    soft = cv2.GaussianBlur(whole, (0, 0), max(2 * SOFT * unit, 0.5))
    edge = np.ones(shape[:2], np.uint8)
    cv2.polylines(edge, [np.round(at[list(RIM)]).astype(np.int32)], False, 0)
    far = cv2.distanceTransform(edge, cv2.DIST_L2, 5) / unit
    below = filled(at[list(OPENING)], shape)
    return np.asarray(soft * (1 - below) * np.clip((far - LASHES_END[0]) / (LASHES_END[1] - LASHES_END[0]), 0, 1))


def filled(outline: F64, shape: tuple[int, ...]) -> Array:
    """(h, w) 1 inside an outline (n, 2), else 0."""
    out = np.zeros(shape[:2], np.float32)
    cv2.fillPoly(out, [np.round(outline).astype(np.int32)], 1)
    return out
