"""What the reference takes skin to do with light from one direction: the relighter's own material, unabridged.

The formulas of `ops.lighting` (`shade_normals`, `highlight_normals`, `blurred_environment`) for one sample. Where those
change, these must: `tests/test_evaluate_truth.py` holds them together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import BLEED, soft_cosine
from offline.evaluate.emitters import Emitter, Lamp, dots

F64 = NDArray[np.float64]
SHARPNESS = 28.0  # of the highlight's lobe
MIRROR = 24.0  # of the lobe in which an environment is reflected
HARD = 0.35  # share of the wrap under a point light


def wrap(emitter: Emitter) -> F64:
    """(3,) how far the cosine goes beyond the horizon, per colour."""
    return np.asarray(BLEED * (HARD if isinstance(emitter, Lamp) and emitter.radius == 0 else 1))


def diffuse_response(normal: F64, directions: NDArray[Any], width: F64) -> NDArray[Any]:
    """(N, K, 3) the wrapped cosine of directions (N, K, 3) to normals (N, 3)."""
    return np.asarray(soft_cosine(dots(directions, normal)[..., None], width))


def highlight_response(normal: F64, viewer: F64, directions: NDArray[Any]) -> NDArray[Any]:
    """(N, K, 1) the highlight of a lamp in each direction, for gloss 1: normalised Blinn-Phong with Schlick's
    Fresnel."""
    half = directions + viewer[:, None].astype(np.float32)
    half = half / (np.linalg.norm(half, axis=-1, keepdims=True) + 1e-9)
    lobe = np.clip(dots(half, normal), 0, 1) ** SHARPNESS * (SHARPNESS + 8) / 8
    lit = np.clip(dots(directions, normal), 0, 1) ** 0.5
    return np.asarray((lobe * lit * fresnel((normal * viewer).sum(-1))[:, None])[..., None])


def mirror_lobe(middle: F64, directions: NDArray[Any]) -> NDArray[Any]:
    """(N, K, 1) how much of an environment is reflected from directions (N, K, 3) about mirror directions (N, 3)."""
    return np.asarray(np.clip(dots(directions, middle), 0, 1)[..., None] ** MIRROR)


def fresnel(cosine: NDArray[Any]) -> NDArray[Any]:
    """Share reflected by skin seen at this cosine to its normal."""
    return np.asarray(0.04 + 0.96 * (1 - np.clip(cosine, 0, 1)) ** 5 * 0.35)
