"""Light: spherical harmonics, directional and area lights, environment maps, and the LIGHT grammar's presets.

Convention: directions point from the subject to the light, camera axes (x right, y up, z toward the viewer).
`direction(az, el)` = (sin AZ cos EL, sin EL, cos AZ cos EL). *Shading* is irradiance / pi: a white Lambertian surface
squarely under a light of colour 1 has shading 1. All values are linear.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import blackbody
from narrate_stream.types import Array

STAGE_LIGHTS = 114  # as many as the paper's light stage has (4.3)
EXTENT = 1.2  # maps by normal cover |x|, |y| <= EXTENT of the equal-area disc: up to 16 degrees behind the rim
COSINE = np.array([1, 2 / 3, 2 / 3, 2 / 3, 1 / 4, 1 / 4, 1 / 4, 1 / 4, 1 / 4])  # Lambert's cosine over pi, by order
RIDGE = np.array(
    [0.0003, 0.006, 0.006, 0.006, 0.06, 0.06, 0.06, 0.06, 0.06]
)  # how little a face says of each coefficient
BLEED = np.array([0.14, 0.05, 0.025])  # how far light wraps round skin by colour: red travels farthest


@dataclass(frozen=True)
class Lighting:
    """What shines: sh (9, 3) radiance coefficients; directions (K, 3) and colours (K, 3) of explicit lights; softness
    (K,) 0 point .. 1 very large; mirror (h, w, 3) blurred environment for highlights, equirectangular, or None.
    `original`: the portrait's own light (colours are then relative to the portrait's picture); share: 0..1, how much of
    the portrait's own light is still, or already, mixed in while one fades into the other; gain (3,) and turn (degrees
    about the vertical): how that own light is graded. panorama (h, w, 3): the environment map, sharp enough to be seen
    behind the person, to which `gain` and `turn` are still to be applied."""

    name: str
    sh: Array = field(default_factory=lambda: np.zeros((9, 3), np.float32))
    directions: Array = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    colours: Array = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    softness: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    mirror: Array | None = None
    original: bool = False
    share: float = 0.0
    gain: Array = field(default_factory=lambda: np.ones(3, np.float32))
    turn: float = 0.0
    panorama: Array | None = None


def direction(az: float, el: float) -> NDArray[np.float64]:
    """(3,) unit vector toward the light at azimuth (positive: image right) and elevation (positive: up), degrees."""
    a, e = np.radians([az, el])
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])


def stage_directions(count: int = STAGE_LIGHTS) -> NDArray[np.float64]:
    """(count, 3) lights spread evenly over the sphere (Fibonacci)."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    phi = i * np.pi * (1 + 5**0.5)
    r = np.sqrt(1 - y * y)
    return np.stack([r * np.cos(phi), y, r * np.sin(phi)], -1)


def sh_basis(n: NDArray[Any]) -> NDArray[np.float64]:
    """(..., 9) real spherical harmonics to order 2 of unit vectors (..., 3)."""
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    one = np.ones_like(x)
    return np.stack(
        [
            0.2820948 * one,
            0.4886025 * y,
            0.4886025 * z,
            0.4886025 * x,
            1.0925484 * x * y,
            1.0925484 * y * z,
            0.3153916 * (3 * z * z - 1),
            1.0925484 * x * z,
            0.5462742 * (x * x - y * y),
        ],
        -1,
    )


def flux(light: Lighting) -> NDArray[np.float64]:
    """(3,) mean of all directions weighted by the shading that comes from them, mean of the colours."""
    smooth = 4 / 3 * 0.4886025 * light.sh[[3, 1, 2]].mean(-1)
    return np.asarray(light.directions.T @ light.colours.mean(-1) + smooth, np.float64)


def directedness(light: Lighting) -> float:
    """0 for light that is the same all round .. 1 for a single lamp in the dark."""
    everywhere = 0.2820948 * float(light.sh[0].mean()) + float(light.colours.mean(-1).sum()) / 4
    return float(np.linalg.norm(flux(light))) / max(4 * everywhere, 1e-9)


def dominant(light: Lighting) -> NDArray[np.float64]:
    """(2,) azimuth and elevation, degrees, of `flux`; 0, 0 for a light that is the same all round."""
    x, y, z = flux(light)
    return np.degrees(np.array([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))], np.float64))


def sh_shading(sh: NDArray[Any], n: NDArray[Any]) -> NDArray[np.float64]:
    """(..., 3) shading of normals (..., 3) under radiance coefficients sh (9, 3)."""
    return np.asarray(sh_basis(n) @ (sh * COSINE[:, None]))


def fit_sh(level: NDArray[Any], normals: NDArray[Any]) -> NDArray[np.float64]:
    """(9,) radiance coefficients of the light under which an even skin with these normals (N, 3) shows `level` (N,)
    linear luminance; mean shading 1 over the samples.

    Iteratively reweighted ridge regression of level = c . Y(n): brows, beard, highlights and cast shadows lie off the
    fit and lose their weight.
    """
    basis = sh_basis(normals) * COSINE
    value = level / max(float(np.median(level)), 1e-6)
    weight = np.ones(len(value))
    prior = np.diag(RIDGE * len(value) * 0.05) + 1e-9 * np.eye(9)
    c = np.zeros(9)
    for _ in range(12):
        a = basis * weight[:, None]
        c = np.linalg.solve(a.T @ basis + prior, a.T @ value)
        off = value - basis @ c
        scale = 1.4826 * np.median(np.abs(off)) + 1e-3
        weight = 1 / (1 + (off / (1.5 * scale)) ** 2)
    mean = float((basis @ c).mean())
    if mean < 0.05:
        c, mean = np.eye(9)[0] / 0.2820948, 1.0
    return np.asarray(c / mean)


@lru_cache(maxsize=1)
def _sampled_basis() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions (N, 3), and what takes values there (N,) to the coefficients that have them."""
    d = stage_directions(36)
    return d, np.linalg.pinv(sh_basis(d))


def rotated_sh(sh: NDArray[Any], rotation: NDArray[Any]) -> NDArray[np.float64]:
    """Coefficients (9, C) of the same radiance turned by `rotation` (3, 3). Exact: the harmonics of an order, turned,
    are sums of the harmonics of that order."""
    d, fit = _sampled_basis()
    return np.asarray(fit @ (sh_basis(d @ rotation) @ sh))


def area_sh(d: NDArray[Any], colour: NDArray[Any], softness: float) -> Array:
    """(9, 3) radiance coefficients of a large area light as `shade_normals` shades it: zonal about d (3,)."""
    each = _zonal(softness)[[0, 1, 1, 1, 2, 2, 2, 2, 2]] / COSINE[:, None]
    return np.asarray(sh_basis(np.asarray(d, np.float64))[:, None] * each * colour, np.float32)


@lru_cache(maxsize=1)
def _nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places in -1..1 and weights of a sum that is an integral (Gauss and Legendre)."""
    t, weight = np.polynomial.legendre.leggauss(64)  # type: ignore[no-untyped-call]
    return np.asarray(t), np.asarray(weight)


def _zonal(softness: float) -> NDArray[np.float64]:
    """(3, 3) by order and colour, the shading of a ball by a white lamp of this softness."""
    t, weight = _nodes()
    lit = shade_lamp(t, np.ones(3), softness) * (2 * np.pi * weight)[:, None]  # (64, 3)
    return np.stack([(p[:, None] * lit).sum(0) for p in (np.ones_like(t), t, 1.5 * t * t - 0.5)])


def encode_normals(n: NDArray[Any]) -> NDArray[np.float64]:
    """(..., 3) unit normals -> (..., 2) equal-area coordinates; (0, 0) faces the viewer, length 1 is edge-on."""
    return np.asarray(n[..., :2] / np.sqrt(np.maximum(1 + n[..., 2:], 0.2)))


def decode_normals(e: NDArray[Any]) -> NDArray[np.float64]:
    """The inverse of `encode_normals`."""
    r2 = np.minimum((e**2).sum(-1, keepdims=True), 1.8)
    xy = e * np.sqrt(np.maximum(2 - r2, 0.05))
    n = np.concatenate([xy, 1 - r2], -1)
    return np.asarray(n / np.linalg.norm(n, axis=-1, keepdims=True))


@lru_cache(maxsize=4)
def table_normals(side: int) -> NDArray[np.float64]:
    """(side, side, 3) the normal of every entry of a table by normal; row = y downward in index, i.e. e_y ascending."""
    axis = (np.arange(side) / (side - 1) * 2 - 1) * EXTENT
    return decode_normals(np.stack(np.meshgrid(axis, axis), -1))


def soft_cosine(cosine: NDArray[Any], softness: Any) -> NDArray[np.float64]:
    """max(cos, 0), rounded at the terminator as an area light of this softness rounds it; 1 at cos = 1."""
    s = np.maximum(softness, 1e-3).astype(cosine.dtype)
    over = np.maximum(cosine + s, 0)
    return np.asarray(np.where(cosine < s, over * over / (4 * s), cosine))


def area_spread(softness: float) -> float:
    """Radius in radians of a lamp of this softness, seen from the subject."""
    return 0.5 * softness


def shade_lamp(cosine: NDArray[Any], colour: NDArray[Any], softness: float) -> NDArray[np.float64]:
    """(..., 3) unshadowed skin shading by one lamp at cosines (...): its light wraps round by colour, red most."""
    return np.asarray(soft_cosine(np.asarray(cosine)[..., None], wrap_of(softness)) * colour)


def wrap_of(softness: float) -> NDArray[np.float64]:
    """(3,) how far the light of a lamp goes round skin, by colour: the cosine at which it ends, negative. A round lamp
    and the skin both blur the terminator: their variances add, and a disc's is 3/4 of a box's."""
    skin = BLEED * (1 if softness > 0 else 0.35)
    return np.asarray(np.sqrt(0.75 * area_spread(softness) ** 2 + skin**2))


def shade_normals(lighting: Lighting, n: NDArray[Any]) -> NDArray[np.float64]:
    """(..., 3) unshadowed skin shading of normals (..., 3): SH environment plus wrapped explicit lights."""
    out = np.maximum(sh_shading(lighting.sh, n), 0)
    for d, colour, softness in zip(lighting.directions, lighting.colours, lighting.softness, strict=True):
        out = out + shade_lamp(n @ d, colour, float(softness))
    return np.asarray(out)


def sample_equirectangular(image: NDArray[Any], d: NDArray[Any]) -> NDArray[np.float64]:
    """(..., 3) nearest samples of an environment map (H, W, 3) in directions (..., 3). The map's centre is +z."""
    h, w = image.shape[:2]
    u = (np.arctan2(d[..., 0], d[..., 2]) / (2 * np.pi) + 0.5) * w
    v = np.arccos(np.clip(d[..., 1] / (np.linalg.norm(d, axis=-1) + 1e-9), -1, 1)) / np.pi * h
    return np.asarray(image[np.clip(v.astype(int), 0, h - 1), u.astype(int) % w], np.float64)


def map_directions(h: int, w: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(h, w, 3) directions and (h, w) solid angles of an equirectangular map's pixels."""
    v, u = (np.arange(h) + 0.5) / h * np.pi, ((np.arange(w) + 0.5) / w - 0.5) * 2 * np.pi
    d = np.stack(
        [np.sin(v)[:, None] * np.sin(u), np.repeat(np.cos(v)[:, None], w, 1), np.sin(v)[:, None] * np.cos(u)], -1
    )
    return d, np.repeat(np.sin(v)[:, None] * (np.pi / h) * (2 * np.pi / w), w, 1)


def ambient(level: NDArray[Any] | float, sky: float = 0.0) -> Array:
    """(9, 3) coefficients of an even environment of shading `level` (scalar or (3,)), `sky` > 0 brighter from above."""
    sh = np.zeros((9, 3))
    sh[0] = np.broadcast_to(np.asarray(level, np.float64), (3,)) / 0.2820948
    sh[1] = sh[0] * sky * 0.5
    return sh.astype(np.float32)


# A photographer's rigs. Key, fill and rim as (azimuth, elevation, intensity, softness, kelvin or RGB); the key stands
# on
# the image's left unless the face is turned; *short* lights the side of the face turned away from the camera, *broad*
# the side turned toward it.
Rig = tuple[tuple[float, float, float, float, Any], ...]
PRESETS: dict[str, tuple[Rig, float, str]] = {
    "rembrandt": (
        ((-48, 42, 1.15, 0.25, 4800), (60, 5, 0.10, 1.0, 6000)),
        0.10,
        "key high at 45 degrees: a triangle of light on the far cheek",
    ),
    "loop": (
        ((-32, 34, 1.05, 0.35, 5200), (50, 5, 0.16, 1.0, 5600)),
        0.16,
        "key a little aside: a small loop of shadow beside the nose",
    ),
    "butterfly": (
        ((0, 52, 1.1, 0.35, 5400), (0, -30, 0.12, 1.0, 5600)),
        0.14,
        "key high in front: a butterfly of shadow under the nose",
    ),
    "split": (((-84, 10, 1.6, 0.3, 5000),), 0.07, "key from the side: half the face in the dark"),
    "broad": (
        ((-55, 22, 1.1, 0.5, 5200), (60, 0, 0.12, 1.0, 5800)),
        0.12,
        "key on the side of the face turned to the camera",
    ),
    "short": (
        ((55, 22, 1.1, 0.5, 5200), (-60, 0, 0.12, 1.0, 5800)),
        0.12,
        "key on the side turned away from the camera",
    ),
    "clamshell": (
        ((0, 42, 0.85, 0.7, 5400), (0, -38, 0.45, 0.9, 5400)),
        0.14,
        "a large key above and a reflector below: beauty",
    ),
    "rim": (
        ((-118, 28, 3.2, 0.35, 6500), (120, 22, 2.6, 0.35, 6500), (0, 10, 0.16, 1.0, 5000)),
        0.07,
        "two lights from behind: bright edges, dark front",
    ),
    "flat": (((0, 8, 0.55, 1.0, 5600),), 0.45, "large and frontal: hardly any shadow"),
    "neon": (
        (
            (-70, 12, 1.15, 0.4, (1.0, 0.10, 0.62)),
            (70, 8, 1.1, 0.4, (0.08, 0.45, 1.0)),
            (0, 50, 0.10, 0.8, (0.5, 0.3, 1.0)),
        ),
        0.035,
        "magenta from the left, cyan from the right",
    ),
    "sunset": (((-62, 12, 1.3, 0.2, 2600), (70, 35, 0.22, 1.0, 9500)), 0.10, "a low warm sun and a blue sky"),
    "candle": (((12, -28, 1.05, 0.5, 1900),), 0.035, "warm and from below"),
}


def preset(name: str, turned: float = 0.0) -> Lighting:
    """The rig of that name. `turned`: the portrait's own yaw in degrees, which decides the sides of *broad* and
    *short*.

    Raises KeyError for an unknown name.
    """
    rig, base, _ = PRESETS[name]
    side = -1.0 if name in ("broad", "short") and turned > 4 else 1.0
    colours = [
        intensity * (np.asarray(tint, np.float64) * 1.3 if isinstance(tint, tuple) else 0.35 + 0.65 * blackbody(tint))
        for _, _, intensity, _, tint in rig
    ]
    return Lighting(
        name,
        ambient(base * np.mean([np.asarray(c) / max(np.mean(c), 1e-6) for c in colours], 0), 0.3),
        np.array([direction(side * az, el) for az, el, *_ in rig], np.float32),
        np.array(colours, np.float32),
        np.array([s for _, _, _, s, _ in rig], np.float32),
    )


def sun(az: float, el: float, gain: float = 1.0) -> Lighting:
    """One directional light and nothing else."""
    return Lighting(
        f"sun:{az:g},{el:g},{gain:g}",
        directions=direction(az, el)[None].astype(np.float32),
        colours=np.full((1, 3), gain, np.float32),
        softness=np.zeros(1, np.float32),
    )
