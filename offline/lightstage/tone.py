"""The colour of skin from melanin and blood: a spectral model of an absorbing epidermis over a scattering dermis.

Beer-Lambert over Kubelka-Munk, after Krishnaswamy and Baranoski 2004 and Jimenez et al. 2010, with the optics
of Jacques 2013 and Prahl's haemoglobin tables.

Convention: melanin is a volume fraction of the epidermis, blood of the dermis; colours are linear sRGB albedo, 0..1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from offline.lightstage.texture import F32, look

# Hb absorption, molar extinction in cm-1/M at 410, 420 ... 700 nm (Prahl): oxygenated, deoxygenated.
OXY = (
    466840, 480360, 246072, 102580, 62816, 44480, 33209, 26629, 23684, 20932,
    20035, 24202, 39956, 53236, 43016, 32613, 44496, 50104, 14400, 3200,
    1506, 942, 610, 442, 368, 319, 294, 277, 276, 290,
)  # fmt: skip
DEOXY = (
    303956, 407560, 528600, 413280, 103292, 23388, 16156, 14550, 16684, 20862,
    25773, 31589, 39036, 46592, 53412, 53788, 45072, 37020, 28324, 14677,
    9443, 6509, 5148, 4345, 3750, 3226, 2795, 2407, 2051, 1794,
)  # fmt: skip
MELANIN = (0.004, 0.6)  # volume fraction in the epidermis, ends of the table (log spaced)
BLOOD = (0.001, 0.2)  # volume fraction in the dermis


@lru_cache(maxsize=1)
def _tones() -> F32:
    """(64, 48, 3) linear sRGB of skin over log melanin and log blood, between the ends MELANIN and BLOOD."""
    nm = np.arange(410.0, 701.0, 10.0)
    melanin = np.geomspace(*MELANIN, 64)[:, None, None]
    blood = np.geomspace(*BLOOD, 48)[None, :, None]
    epidermis = melanin * 495.0 * (nm / 550.0) ** -1.35
    haemoglobin = 2.303 * 150.0 / 64500.0 * (0.75 * np.array(OXY) + 0.25 * np.array(DEOXY))
    ratio = 2 * (blood * haemoglobin + 0.3) / (0.75 * 46.0 * (nm / 500.0) ** -1.42)
    dermis = 1 + ratio - np.sqrt(ratio**2 + 2 * ratio)
    # 0.006 cm of epidermis, crossed twice by diffuse light (mean path twice the thickness), which itself returns 1.6 %.
    # Its own scattering flattens melanin's slope (nm^-3.33 in a clear solution) to about nm^-1.35 in living skin.
    spectrum = 0.016 + np.exp(-epidermis * 0.006 * 4) * dermis

    def lobe(x: NDArray[np.float64], mean: float, left: float, right: float) -> NDArray[np.float64]:
        return np.asarray(np.exp(-0.5 * ((x - mean) / np.where(x < mean, left, right)) ** 2))

    # The observer of CIE 1931 as Gaussians (Wyman et al. 2013); dividing by white's RGB stands for daylight.
    x = 1.056 * lobe(nm, 599.8, 37.9, 31) + 0.362 * lobe(nm, 442, 16, 26.7) - 0.065 * lobe(nm, 501.1, 20.4, 26.2)
    y = 0.821 * lobe(nm, 568.8, 46.9, 40.5) + 0.286 * lobe(nm, 530.9, 16.3, 31.1)
    z = 1.217 * lobe(nm, 437, 11.8, 36) + 0.681 * lobe(nm, 459, 26, 13.8)
    rgb_from_xyz = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.204, 1.057]])
    weights = np.stack([x, y, z], 1) @ rgb_from_xyz.T
    return np.asarray(np.clip(spectrum @ (weights / weights.sum(0)), 0.004, 1), np.float32)


def tone(melanin: F32, blood: F32) -> F32:
    """(N, 3) linear RGB of skin with these volume fractions (N,); clamped to the ends of the table."""
    i = np.log(np.maximum(melanin, MELANIN[0]) / MELANIN[0]) / np.log(MELANIN[1] / MELANIN[0]) * 63
    j = np.log(np.maximum(blood, BLOOD[0]) / BLOOD[0]) / np.log(BLOOD[1] / BLOOD[0]) * 47
    return look(_tones(), np.stack([i, j]))


def melanin_for(lightness: float, blood: float) -> float:
    """The melanin fraction that gives skin of this CIE L*, 0..100; the nearest that the table holds."""
    melanin = np.geomspace(*MELANIN, 256).astype(np.float32)
    luminance = tone(melanin, np.full(256, blood, np.float32)) @ np.array([0.2126, 0.7152, 0.0722])
    star = 116 * np.cbrt(luminance) - 16
    return float(np.interp(lightness, star[::-1], melanin[::-1]))
