"""Hair, a volume: light goes some centimetres into it and comes out beside, so that hair shades hair softly.

What the photograph shows beside the face is a surface only to the renderer. Its locks, and all of its shape that is
finer than light goes, neither throw shadows on one another nor turn away from a lamp.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import linear_table
from narrate_stream.types import Array, Image
from offline.geometry import Surface
from offline.parts import smoothstep
from offline.scalp import AS_ABOVE, LOCK, like_skin
from offline.skin import like_cheek

F64 = NDArray[np.float64]
THROUGH = 1.5  # cm of hair through which light comes
AROUND = 1.8  # cm (sigma) over which it spreads
BEGINS = 0.2, 1.0  # cm beside the face's outline over which skin becomes hair
LEAST = 1e-3  # of what is around that must be hair


def hair_share(surface: Surface, colours: Image, alpha: Array) -> F64:
    """(h, w) 0..1 how far the maps of a surface are hair: all that is beside the face, and what goes on with its colour
    beside the jaw and below. colours (H, W, 3) sRGB and alpha (H, W) of the canvas.

    Not told by colour above the jaw: white hair has a cheek's in a grey photograph, and bare scalp is as smooth."""
    h, w = surface.z.shape
    apart = cv2.distanceTransform((~surface.face).astype(np.uint8), cv2.DIST_L2, 5).astype(np.float64)
    covered = cv2.resize(alpha.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA) > 0.5
    beside = smoothstep(apart * surface.unit, *BEGINS) * covered
    linear = linear_table()[cv2.resize(colours, (w, h), interpolation=cv2.INTER_AREA)]
    above = linear[(beside > 0.5) & ~surface.below]
    alike = like_skin(linear, above, AS_ABOVE) if len(above) else np.zeros((h, w), np.bool_)
    long = cv2.GaussianBlur(alike * (1 - like_cheek(colours, surface.face, surface.unit)), (0, 0), LOCK / surface.unit)
    return np.asarray(beside * np.where(surface.below, long, 1.0), np.float64)


def thinned(z: F64, hair: F64) -> F64:
    """(h, w) z of what stops light: with `hair` (h, w) 0..1 only what lies THROUGH beneath its surface."""
    return np.asarray(z - THROUGH * hair, np.float64)


def spread(values: NDArray[Any], hair: F64, unit: float) -> F64:
    """(h, w) or (h, w, C) values, in hair (h, w) 0..1 their averages over what is hair AROUND; `unit`: cm per pixel."""
    share = hair.astype(np.float32)
    weight = share if values.ndim == 2 else share[..., None]
    total = cv2.GaussianBlur(share, (0, 0), AROUND / unit).reshape(weight.shape)
    mean = cv2.GaussianBlur(values * weight, (0, 0), AROUND / unit) / np.maximum(total, LEAST)
    return np.asarray(values + (mean - values) * weight, np.float64)
