"""Soft tissue that the kit's identities lack: folds, bags, grooves and small unevenness, as displacement of the skin.

The kit's modes were scanned on few, mostly young faces; real ones are deeper beside the mouth, under the eyes and above
the chin. Positions are those of the kit's neutral head, cm (x right, y up, z out of the face).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from offline.lightstage.texture import F32, noise, smoothstep

LARGEST = 0.5  # cm


def displacement(rng: np.random.Generator, points: NDArray[np.float32]) -> F32:
    """(N,) cm along the normal at `points` (N, 3) of the neutral head; nothing behind the ears."""
    x, y, z = np.asarray(points, np.float32).T
    front = smoothstep(z, 3.5, 6.5)
    side = x + 0.25 * np.sin(y)  # no face is a mirror image of itself
    skew = 1 + rng.normal(0, 0.18) * np.tanh(x)
    amounts = {name: float(rng.normal(mean, spread)) for name, (mean, spread) in AMOUNTS.items()}
    across, deep = np.abs(x), amounts
    out = deep["fold"] * nasolabial(rng, across, y) * skew
    out += deep["marionette"] * crease(across - 2.75 - 0.16 * (-3.6 - y), 0.28) * hump(y, -4.9, 1.0)
    groove = 0.6 * hump(across, 0.55, 0.2) - hump(x, 0, 0.27)
    out += deep["philtrum"] * groove * smoothstep(-y, 1.2, 1.5) * smoothstep(y, -2.75, -2.45)
    out -= deep["chin"] * hump(y, -5.15, 0.34) * hump(x, 0, 1.5)
    out += deep["pogonion"] * hump(y, -6.6, 0.7) * hump(x, 0, 1.1)
    out += deep["bag"] * (hump(y, 1.95, 0.36) - 0.8 * hump(y, 1.2, 0.3)) * hump(across, 2.9, 0.95)
    out += deep["brow"] * hump(y, 5.6, 0.65) * hump(across, 2.2, 1.9)
    out -= deep["glabella"] * hump(y, 4.6, 0.55) * hump(x, 0, 0.9)
    out -= deep["hollow"] * hump(y, -1.9, 1.5) * hump(across, 4.9, 1.2)
    out += deep["malar"] * hump(y, 1.2, 1.0) * hump(across, 4.6, 1.3)
    wing = np.hypot(across - 1.05, 1.1 * (y + 0.45))
    out -= deep["wing"] * hump(wing, 0.85, 0.16) * smoothstep(across, 0.7, 1.2)
    seed = int(rng.integers(1 << 30))
    at = np.stack([side, y, z], 1).astype(np.float32)
    uneven = deep["uneven"] * (noise(seed, at, 38.0, 1) + 0.6 * noise(seed, at, 19.0, 2))
    lips = hump(y, -3.4, 0.75) * hump(x, 0, 2.1)  # their own shape is left to them
    lids = hump(y, 3.3, 0.8) * hump(across, 3.1, 1.3)
    quiet = 1 - np.clip(lips + lids, 0, 1)
    return np.asarray(np.clip((out + uneven * quiet) * front, -LARGEST, LARGEST), np.float32)


# cm: mean and standard deviation over people
AMOUNTS = {
    "fold": (0.2, 0.16),
    "marionette": (0.06, 0.08),
    "philtrum": (0.08, 0.07),
    "chin": (0.08, 0.12),
    "pogonion": (0.0, 0.12),
    "bag": (0.06, 0.08),
    "brow": (0.05, 0.14),
    "glabella": (0.04, 0.1),
    "hollow": (0.08, 0.16),
    "malar": (0.05, 0.12),
    "wing": (0.07, 0.07),
    "uneven": (0.035, 0.03),
}


def hump(x: NDArray[np.floating], at: float, width: float) -> F32:  # type: ignore[type-arg]
    """Gaussian of height 1."""
    return np.asarray(np.exp(-0.5 * ((x - at) / width) ** 2), np.float32)


def crease(d: NDArray[np.floating], width: float) -> F32:  # type: ignore[type-arg]
    """A step up at d = 0 that fades again: skin that hangs over what lies beside it."""
    rise = 0.5 + 0.5 * np.tanh(d / width)
    return np.asarray(rise * np.exp(-0.5 * (np.maximum(d, 0) / (4 * width + 0.4)) ** 2), np.float32)


def nasolabial(rng: np.random.Generator, across: NDArray[np.floating], y: NDArray[np.floating]) -> F32:  # type: ignore[type-arg]
    """(N,) the fold from the nose's wing past the mouth's corner: the cheek stands above it."""
    bow, width = float(rng.normal(0, 0.15)), float(rng.uniform(0.14, 0.4))
    line = np.interp(y, [-4.6, -3.4, -2.2, -0.9, 0.3], [3.35, 3.2, 2.7 + bow, 1.95 + bow, 1.5])
    along = smoothstep(y, -4.7, -3.4) * smoothstep(-y, -0.5, 0.5)
    return np.asarray(crease(across - line, width) * along, np.float32)
