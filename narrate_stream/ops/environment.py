"""An environment map as a light: its bright patches become lamps with shadows of their own, the rest harmonics (4.3).

Convention: maps are equirectangular (h, w, 3), linear, their centre is +z; else as `ops.lighting`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import Lighting, direction, map_directions, sh_basis, shade_normals

PATCH_REACH = np.radians([14.0, 8.0, 30.0])  # how far a bright patch of a map is looked for: at first, least, most
FAINT = 0.1  # of the first lamp: what is left of its own patch, mostly; not worth a lamp
PATCH_SOFTNESS = 0.1, 0.74  # of the lamp that it becomes; beyond, its shadows would have no edge


def environment(
    radiance: NDArray[Any], name: str, exposure: float | None = None, panorama: NDArray[Any] | None = None
) -> Lighting:
    """Lighting from an equirectangular radiance map (h, w, 3), linear, already small (about 64 x 128); `panorama`: the
    same map in more detail, to be seen behind the person.

    The brightest patches (up to three, at least four times the mean, none FAINT beside the first) become explicit
    lights of their own size with their own shadows; the rest is spherical harmonics. `exposure` None scales so that a
    surface facing the viewer has shading about 0.9.
    """
    h, w = radiance.shape[:2]
    rest = np.array(radiance, np.float64)
    d, solid = map_directions(h, w)
    directions: list[NDArray[np.float64]] = []
    colours: list[NDArray[np.float64]] = []
    softness: list[float] = []
    for _ in range(3):
        level = rest.mean(-1)
        mean = (level * solid).sum() / solid.sum()
        peak = np.unravel_index(np.argmax(level), level.shape)
        if level[peak] < 4 * mean:
            break
        extra, middle, radius = patch(np.maximum(rest - 1.5 * mean, 0), d, solid, d[peak])
        colour = np.asarray((extra * solid[..., None]).sum((0, 1)) / np.pi, np.float64)
        if colours and colour.mean() < FAINT * colours[0].mean():
            break
        directions.append(middle)
        colours.append(colour)
        softness.append(float(np.clip(2 * np.sin(radius), *PATCH_SOFTNESS)))
        rest -= extra
    sh = np.einsum("hwk,hwc,hw->kc", sh_basis(d), rest, solid)
    raw = Lighting(
        name,
        sh.astype(np.float32),
        np.array(directions, np.float32).reshape(-1, 3),
        np.array(colours, np.float32).reshape(-1, 3),
        np.array(softness, np.float32),
    )
    if exposure is None:
        around = np.array([direction(a, e) for a in (-40, 0, 40) for e in (-20, 10, 35)])
        exposure = 0.95 / max(float(shade_normals(raw, around).mean()), 1e-6)
    blurred = blurred_environment(rest)  # the lamps have lobes of their own
    return Lighting(
        name,
        raw.sh * exposure,
        raw.directions,
        raw.colours * exposure,
        raw.softness,
        (blurred * exposure).astype(np.float32),
        panorama=None if panorama is None else (panorama * exposure).astype(np.float32),
    )


def patch(
    above: NDArray[Any], d: NDArray[Any], solid: NDArray[Any], middle: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Of radiance above a floor (h, w, 3) what belongs to the patch around `middle` (3,), (h, w, 3); the patch's own
    middle (3,) and its radius, radians, that of the even disc which spreads as far. d, solid: of the pixels.

    Looks as far as the patch reaches, found in a few rounds."""
    reach = PATCH_REACH[0]
    for _ in range(5):
        extra = above * ((d @ middle) > np.cos(reach))[..., None]
        weight = extra.mean(-1) * solid
        middle = (d * weight[..., None]).sum((0, 1))
        middle = middle / (np.linalg.norm(middle) + 1e-12)
        away = np.arccos(np.clip(d @ middle, -1, 1))
        radius = float(np.sqrt(2 * (weight * away**2).sum() / max(float(weight.sum()), 1e-12)))
        reach = float(np.clip(1.5 * radius, *PATCH_REACH[1:]))
    return extra, middle, radius


def blurred_environment(radiance: NDArray[Any]) -> NDArray[np.float64]:
    """(24, 48, 3) the map seen in a skin-rough mirror: a lobe of about 20 degrees around every direction."""
    h, w = radiance.shape[:2]
    if h % 2 == w % 2 == 0:  # finer than the lobe can tell
        radiance = radiance.reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3))
    d, solid = map_directions(*radiance.shape[:2])
    out, _ = map_directions(24, 48)
    cosine = np.maximum(out.reshape(-1, 3).astype(np.float32) @ d.reshape(-1, 3).T.astype(np.float32), 0)
    lobe = np.square(np.square(np.square(cosine**3))) * solid.ravel()
    mixed = lobe @ radiance.reshape(-1, 3) / lobe.sum(1, keepdims=True)
    return np.asarray(mixed.reshape(24, 48, 3))
