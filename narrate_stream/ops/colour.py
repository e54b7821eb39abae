"""sRGB and linear light (IEC 61966-2-1)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def linear_from_srgb(value: NDArray[Any]) -> NDArray[np.float32]:
    """sRGB 0..1 -> linear 0..1."""
    v = np.asarray(value, np.float32)
    return np.asarray(np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0) + 0.055) / 1.055) ** 2.4), np.float32)


def srgb_from_linear(value: NDArray[Any]) -> NDArray[np.float32]:
    """Linear 0..1 (clipped) -> sRGB 0..1."""
    v = np.clip(np.asarray(value, np.float32), 0, 1)
    return np.asarray(np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055), np.float32)


@lru_cache(maxsize=1)
def linear_table() -> NDArray[np.float32]:
    """(256,) linear value of every sRGB byte."""
    return linear_from_srgb(np.arange(256) / 255)


@lru_cache(maxsize=1)
def srgb_table() -> NDArray[np.uint8]:
    """(4096,) sRGB byte at square root of linear = i / 4095: even steps to the eye, exact for every byte."""
    return np.asarray(srgb_from_linear((np.arange(4096) / 4095) ** 2) * 255 + 0.5, np.uint8)


def luminance(linear: NDArray[Any]) -> NDArray[np.float32]:
    """(..., 3) linear RGB -> (...) Rec. 709 luminance."""
    return np.asarray(np.asarray(linear, np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32))


def blackbody(kelvin: float) -> NDArray[np.float32]:
    """(3,) linear RGB tint of a light of this colour temperature, luminance 1 (fit after T. Helland, 1000..15000 K)."""
    t = np.clip(kelvin, 1000, 15000) / 100
    red = 255.0 if t <= 66 else 329.7 * (t - 60) ** -0.1332
    green = 99.47 * np.log(t) - 161.12 if t <= 66 else 288.12 * (t - 60) ** -0.0755
    blue = 255.0 if t >= 66 else (0.0 if t <= 19 else 138.52 * np.log(t - 10) - 305.04)
    rgb = linear_from_srgb(np.clip([red, green, blue], 0, 255) / 255)
    return np.asarray(rgb / luminance(rgb), np.float32)
