"""Photometric stereo: normals and albedo of a matte surface from photographs under one known far light each.

Robust to what is not Lambert's: cast and attached shadows, highlights and saturation lose their weight pixel by pixel
(iteratively reweighted least squares with a Geman-McClure weight), and every light's power is estimated (strobes do
not repeat themselves). Woodham 1980; the reweighting as in Georghiades et al. 2001 and later robust versions.

Convention: camera axes (x right, y up, z toward the viewer); directions point from the subject to the light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import NarrateError

F64 = NDArray[np.float64]
WHITE = 0.98  # linear: at or above, the sensor may have saturated
SHADOW = 0.12  # of the pixel's own bright level: darker is taken for shadow from the start
GRAZING = 0.1  # cosine below which a light says nothing but noise
TUNING = 1.5  # residuals of so many deviations have a quarter of the weight


@dataclass(frozen=True)
class Stereo:
    """normal (H, W, 3) unit; albedo (H, W) in the photographs' units; residual (H, W) weighted rms over albedo;
    support (H, W) sum of the weights: about how many lights agree; gain (K,) power of each light, median 1."""

    normal: F64
    albedo: F64
    residual: F64
    support: F64
    gain: F64


def photometric_stereo(photographs: NDArray[Any], directions: F64, *, steps: int = 14) -> Stereo:
    """Normals and albedo from `photographs` (K, H, W), linear 0..1, under far lights from `directions` (K, 3).

    Raises NarrateError with fewer than six lights, too few to tell shadow from shape.
    """
    count, h, w = photographs.shape
    if count < 6:
        raise NarrateError(f"photometric stereo needs six photographs under known lights, and there are {count}")
    level = np.asarray(photographs, np.float64).reshape(count, -1)
    bright = np.partition(level, -max(2, count // 8), axis=0)[-max(2, count // 8)]
    usable = (level < WHITE) & (level > SHADOW * bright)
    weight, gain = usable.astype(np.float64), np.ones(count)
    for step in range(steps):
        scaled = solve(level, directions * gain[:, None], weight)
        albedo = np.linalg.norm(scaled, axis=-1) + 1e-9
        cosine = directions @ scaled.T / albedo
        off = level / albedo - gain[:, None] * cosine
        spread = 1.4826 * float(np.median(np.abs(off[usable]))) + 1e-6
        weight = usable * (cosine > GRAZING) / (1 + (off / (TUNING * spread)) ** 2) ** 2
        if 1 <= step < steps - 3:  # the first fit is crude, the last ones settle with fixed powers
            gain = powers(level / albedo, cosine, weight)
    residual = np.sqrt((weight * off**2).sum(0) / (weight.sum(0) + 1e-9))
    return Stereo(
        (scaled / albedo[:, None]).reshape(h, w, 3),
        albedo.reshape(h, w),
        residual.reshape(h, w),
        weight.sum(0).reshape(h, w),
        gain,
    )


def solve(level: F64, lights: F64, weight: F64) -> F64:
    """(P, 3) albedo times normal of every pixel: weighted least squares of level (K, P) = lights (K, 3) . x."""
    products = (lights[:, :, None] * lights[:, None]).reshape(len(lights), 9)
    matrix = (weight.T @ products).reshape(-1, 3, 3) + 1e-4 * np.eye(3)
    return np.asarray(np.linalg.solve(matrix, ((weight * level).T @ lights)[..., None])[..., 0])


def powers(reflectance: F64, cosine: F64, weight: F64) -> F64:
    """(K,) power of each light, median 1, from level over albedo (K, P) and the model's cosine. A light that hardly any
    pixel believes in keeps power 1.

    Taking turns with the normals and stopping after a few steps is meant: a trend of powers over direction looks much
    like normals that lean. Solved to the end, the powers take up what skin has of its own besides Lambert's law, and
    the normals of real faces lean by 4 to 8 degrees; stopped, they keep to the strobes' own scatter.
    """
    gain = (weight * cosine * reflectance).sum(1) / ((weight * cosine**2).sum(1) + 1e-9)
    believed = (weight > 0.1).mean(1) > 0.05
    gain = np.where(believed & (gain > 0), gain, 1.0)
    return np.asarray(gain / np.median(gain))
