"""Grading and blending of lights: exposure, warmth, a turn about the vertical, and one light becoming another.

All of it acts on the `Lighting`, never on pixels, so that it costs the frame path nothing.

Convention: exposure in stops (one more is twice the light). Warmth in mired, as gels are measured: > 0 is warmer, a
half amber gel (CTO) about +110. Turn in degrees, > 0 takes what shines from the front to the image's right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import blackbody, luminance
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import Lighting, rotated_sh
from narrate_stream.types import Array

MAX_EXPOSURE, MAX_WARMTH, MAX_TURN = 4.0, 125.0, 360.0
WHITE = 200.0  # mired: the white (5000 K) that a neutral light is taken to have before it is warmed or cooled
UNSEEN = 0.002  # a lamp dimmer than this is left out of a blend
ONE_LAMP = np.cos(np.radians(40))  # lamps nearer than this are one that moves; others fade out and in


@dataclass(frozen=True)
class Grade:
    """What a person does to a light: exposure (stops), warmth (mired), turn (degrees). All 0: nothing."""

    exposure: float = 0.0
    warmth: float = 0.0
    turn: float = 0.0


def tint(warmth: float) -> NDArray[np.float64]:
    """(3,) linear RGB that a white light of luminance 1 takes on when it is warmed by so many mired."""
    ratio = blackbody(1e6 / (WHITE + warmth)) / blackbody(1e6 / WHITE)
    return np.asarray(ratio / luminance(ratio), np.float64)


def gain_of(grade: Grade) -> NDArray[np.float64]:
    """(3,) linear RGB that every colour of the light is multiplied with."""
    return np.asarray(2**grade.exposure * tint(grade.warmth))


def graded(lighting: Lighting, grade: Grade) -> Lighting:
    """The light as graded; the same object where the grade does nothing.

    The portrait's own light has no coefficients here: exposure and warmth become a gain on the picture in linear light,
    and the turn takes the light that was estimated from it round the person (`gain` and `turn` of the result).
    """
    if grade == Grade():
        return lighting
    gain, rotation = gain_of(grade), rotation_from_angles(grade.turn, 0, 0)
    return replace(
        lighting,
        sh=(rotated_sh(lighting.sh, rotation) * gain).astype(np.float32),
        directions=(lighting.directions @ rotation.T).astype(np.float32),
        colours=(lighting.colours * gain).astype(np.float32),
        mirror=None if lighting.mirror is None else (turned_map(lighting.mirror, grade.turn) * gain).astype(np.float32),
        gain=(lighting.gain * gain).astype(np.float32),
        turn=lighting.turn + grade.turn,
    )


def turned_map(image: NDArray[Any], degrees: float) -> NDArray[Any]:
    """An equirectangular map (H, W, 3) with its contents moved to the image's right, between pixels where need be."""
    shift = degrees / 360 * image.shape[1]
    whole = int(np.floor(shift))
    part = shift - whole
    return np.asarray(np.roll(image, whole, 1) * (1 - part) + np.roll(image, whole + 1, 1) * part)


def approached(now: Grade, aim: Grade, share: float) -> Grade:
    """The grade `share` (0..1) of the way to `aim`; turns take the shorter way round."""
    if now == aim or share >= 1:
        return aim
    way = (aim.turn - now.turn + 180) % 360 - 180
    return Grade(
        now.exposure + (aim.exposure - now.exposure) * share,
        now.warmth + (aim.warmth - now.warmth) * share,
        now.turn + way * share,
    )


def blended(a: Lighting, b: Lighting, t: float) -> Lighting:
    """Light between `a` (t = 0) and `b` (t = 1), for transitions that ease: lamps near each other move, others fade."""
    own_a, own_b = (1.0 if x.original else x.share for x in (a, b))
    wa, wb = (1 - t) * (1 - own_a), t * (1 - own_b)
    if t >= 1 or wa + wb <= 0:
        return b
    share = 1 - wa - wb
    wa, wb = wa / (wa + wb), wb / (wa + wb)  # what is left beside the portrait's own light
    directions, colours, softness = _lamps(a, b, wa, wb)
    return Lighting(
        f"{a.name}>{b.name}"[-80:],
        (a.sh * wa + b.sh * wb).astype(np.float32),
        directions,
        colours,
        softness,
        _mixed(a.mirror, b.mirror, wa, wb),
        share=share,
    )


def _lamps(a: Lighting, b: Lighting, wa: float, wb: float) -> tuple[Array, Array, Array]:
    """Directions, colours and softness of the lamps of a blend with these weights."""
    lamps = [(d, c * wb, s) for d, c, s in zip(b.directions, b.colours, b.softness, strict=True)]
    free = set(range(len(lamps)))
    for d, c, s in zip(a.directions, a.colours * wa, a.softness, strict=True):
        near = max(free, key=lambda i: float(lamps[i][0] @ d), default=None)
        if near is None or float(lamps[near][0] @ d) < ONE_LAMP:
            lamps.append((d, c, s))
            continue
        free.discard(near)
        other, light, soft = lamps[near]
        way = other * wb + d * wa
        lamps[near] = way / np.linalg.norm(way), light + c, soft * wb + s * wa
    kept = [lamp for lamp in lamps if float(np.max(lamp[1])) > UNSEEN]
    return (
        np.array([lamp[0] for lamp in kept], np.float32).reshape(-1, 3),
        np.array([lamp[1] for lamp in kept], np.float32).reshape(-1, 3),
        np.array([lamp[2] for lamp in kept], np.float32),
    )


def _mixed(a: Array | None, b: Array | None, wa: float, wb: float) -> Array | None:
    if a is None or b is None:
        only = a if b is None else b
        return None if only is None else np.asarray(only * (wa if b is None else wb), np.float32)
    return np.asarray(a * wa + b * wb, np.float32)
