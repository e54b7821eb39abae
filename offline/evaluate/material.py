"""What the reference takes skin to do with light from one direction: the relighter's own material, unabridged.

The formulas of `ops.lighting` (`shade_normals`) and `ops.gloss` for one sample, the same for lamps and for the pixels
of an environment map, however the relighter shares those out. Where those change, these must:
`tests/test_evaluate_truth.py` holds them together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.gloss import BROAD, F0, GRAZING, SHARP
from narrate_stream.ops.lighting import BLEED, soft_cosine
from offline.evaluate.emitters import dots

F64 = NDArray[np.float64]
LOBE = 24.0  # exponent of the cosine by which an environment is sampled where skin mirrors it


def diffuse_response(normal: F64, directions: NDArray[Any]) -> NDArray[Any]:
    """(N, K, 3) the wrapped cosine of directions (N, K, 3) to normals (N, 3)."""
    return np.asarray(soft_cosine(dots(directions, normal)[..., None], BLEED))


def highlight_response(normal: F64, oil: F64, viewer: F64, directions: NDArray[Any]) -> NDArray[Any]:
    """(N, K, 1) the highlight of a lamp in each direction (N, K, 3), for gloss 1 and a share `oil` (N,) of the sharp
    lobe. Hair's band is left out: what is measured is skin."""
    half = directions + viewer[:, None].astype(np.float32)
    half = half / (np.linalg.norm(half, axis=-1, keepdims=True) + 1e-9)
    nh, nl = (np.clip(dots(v, normal), 0, 1) for v in (half, directions))
    nv = np.clip((normal * viewer).sum(-1, keepdims=True), 0.08, 1)
    rise = F0 + GRAZING * (1 - F0) * (1 - np.clip(dots(half, viewer), 0, 1)) ** 5
    share = oil[:, None]
    return np.asarray(((ggx(nh, nl, nv, BROAD) * (1 - share) + ggx(nh, nl, nv, SHARP) * share) * rise)[..., None])


def ggx(nh: NDArray[Any], nl: NDArray[Any], nv: NDArray[Any], alpha: float) -> NDArray[Any]:
    """pi D G / (4 n.v) of cosines (N, K), (N, K) and (N, 1)."""
    density = alpha**2 / (nh * nh * (alpha**2 - 1) + 1) ** 2
    k = 0.5 * alpha
    return np.asarray(0.25 * density * nl / ((nl * (1 - k) + k) * (nv * (1 - k) + k)))
