"""Highlights: what skin, eyes and hair reflect toward the viewer on top of their colour.

Skin has two GGX lobes (Walter et al. 2007), a broad one and the sharp one of its oil; hair one that lies round its
strands (after Kajiya and Kay 1989). All are for a lamp of colour 1 (shading 1 squarely) and reflectance F0.

Convention: as `ops.lighting`; tables are by encoded normal or, for hair, by encoded tangent, SIDE entries a side.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import Lighting, area_spread, sample_equirectangular

SIDE = 64  # entries of a table of lobes: the sharp one is three of them wide
F0 = 0.035  # skin, hair and the film on eyes reflect this much squarely
BROAD, SHARP = 0.30, 0.125  # GGX alpha: roughness 0.55 and 0.35
STRAND, TILT = 0.16, -0.06  # radians: width of the band of light on hair, and its shift toward the root
AROUND = 0.45  # share of the band's strength that is left where light comes from behind the strand
GRAZING = 0.35  # of Schlick's rise: rough skin does not mirror at its rim


def lobes(directions: NDArray[Any], d: NDArray[Any], viewer: NDArray[Any], softness: float) -> NDArray[np.float64]:
    """(..., 3) broad and sharp lobe at normals, hair's at tangents, `directions` (..., 3) being either; light from
    d (3,), seen from `viewer` (3,), all unit vectors. softness: of the lamp, 0 point .. 1 very large."""
    *alphas, width = widths(softness)
    cosines = lobe_cosines(directions, d, viewer)
    broad, sharp = (ggx(*cosines, alpha) for alpha in alphas)
    return np.stack([broad, sharp, strands(directions, d, viewer, width)], -1)


def widths(softness: float) -> tuple[float, float, float]:
    """GGX alpha of the broad and of the sharp lobe, and the hair's band, radians, for a lamp of this softness."""
    spread = 0.5 * area_spread(softness)  # the half vector turns half as far
    return math.hypot(BROAD, spread), math.hypot(SHARP, spread), math.hypot(STRAND, spread)


def highlight(lighting: Lighting, n: NDArray[Any], oil: float = 0.3) -> NDArray[np.float64]:
    """(..., 3) what a skin of gloss 1 with normals n (..., 3) reflects toward (0, 0, 1), nothing in the way."""
    out = sheen(lighting, n)
    for d, colour, softness in zip(lighting.directions, lighting.colours, lighting.softness, strict=True):
        made = lobes(n, d, np.array([0.0, 0.0, 1.0]), float(softness))
        out = out + (made[..., :1] * (1 - oil) + made[..., 1:2] * oil) * colour
    return out


def lobe_cosines(n: NDArray[Any], d: NDArray[Any], viewer: NDArray[Any]) -> tuple[Any, Any, Any, float]:
    """Of normals n (..., 3): with the half vector, the light and the viewer (...), and Fresnel's share at the half
    vector."""
    half, fresnel = half_vector(d, viewer)
    nh, nl, nv = (np.maximum(n @ np.asarray(v, n.dtype), 0) for v in (half, d, viewer))
    return nh, nl, np.maximum(nv, 0.08), fresnel


def half_vector(d: NDArray[Any], viewer: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """(3,) half way between light and viewer, and Fresnel's share there."""
    half = np.asarray(d, np.float64) + viewer
    half /= math.sqrt(half @ half) + 1e-9
    return half, F0 + GRAZING * (1 - F0) * (1 - min(max(float(half @ viewer), 0.0), 1.0)) ** 5


def ggx(
    nh: NDArray[Any], nl: NDArray[Any], nv: NDArray[Any], fresnel: float, alpha: float
) -> NDArray[np.floating[Any]]:
    """(...) radiance over shading of a GGX surface: pi D F G / (4 n.v)."""
    a2 = alpha * alpha
    spread = nh * nh * (a2 - 1) + 1
    k = 0.5 * alpha
    hidden = (nl * (1 - k) + k) * (nv * (1 - k) + k)
    return np.asarray((0.25 * a2 * fresnel) * nl / (spread * spread * hidden))


def strands(t: NDArray[Any], d: NDArray[Any], viewer: NDArray[Any], width: float) -> NDArray[np.float64]:
    """(...) radiance over shading of hair whose strands run along t (..., 3): a band where the angles of light and
    viewer to the strand are opposite."""
    incoming, outgoing = (np.arcsin(np.clip(t @ np.asarray(v, t.dtype), -1, 1)) for v in (d, viewer))
    band = np.exp(-0.5 * ((0.5 * (incoming + outgoing) - TILT) / width) ** 2) / width
    return np.asarray(F0 * band * np.cos(incoming) * facing(d, viewer) * np.sqrt(np.pi / 8))


def facing(d: NDArray[Any], viewer: NDArray[Any]) -> float:
    """How much of the band on hair is left for a light in direction d (3,): less from behind the strand."""
    return AROUND + (1 - AROUND) * min(max(float(np.dot(d, viewer)), 0.0), 1.0)


def sheen(lighting: Lighting, n: NDArray[Any]) -> NDArray[np.float64]:
    """(..., 3) reflection of the blurred environment at normals n (..., 3) seen from (0, 0, 1), without occlusion."""
    if lighting.mirror is None:
        return np.zeros(n.shape)
    facing = np.clip(n[..., 2:], 0, 1)
    fresnel = F0 + GRAZING * (1 - F0) * (1 - facing) ** 5
    return np.asarray(sample_equirectangular(lighting.mirror, 2 * facing * n - [0, 0, 1]) * fresnel)
