"""The light under which plain skin looks as it does: one lamp in a smooth room, or a smooth room alone (paper, 4.3).

Skin is taken for even. What is not (beard, make-up, cast shadow, highlights) lies off every fit and loses its weight.
The lamp is searched over all directions from which a face can be lit; spherical harmonics of order two are what remains
when no single lamp explains the picture clearly better. A lamp casts a shadow with an edge, harmonics never do.

Convention: levels are linear light; directions point toward the light, camera axes. A *design* (D, N, K) holds for each
of D candidate lights the shading of N samples by K unit sources: the lamp first where there is one, then radiance
coefficients of spherical harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import luminance
from narrate_stream.ops.lighting import COSINE, Lighting, sh_basis, shade_normals, stage_directions

F64 = NDArray[np.float64]
SEARCHED = 160  # directions over the whole sphere; those farther behind the face than BEHIND are left out
BEHIND = -0.35
RINGS = (8.0, 4.0, 2.0)  # degrees by which a direction found is then improved
SOFTNESS = (0.05, 0.55, 1.0)  # of `Lighting.softness`: a bare bulb, a window, a bright half of the room
SEARCH_SOFTNESS = 0.25
ROOM = np.array([1e-5, 0.03, 0.03, 0.03])  # how unlikely a gradient of the room is beside a lamp
SMOOTH = np.array([1.5e-5, *(3e-4,) * 3, *(3e-3,) * 5])  # the same for a room alone
CLEARLY = 0.95  # a lamp is believed from this share of the smooth room's error on
FLOOR = 0.3  # of the median level: below, noise no longer shrinks with the level
WORST = 0.6  # relative error at which a sample counts as something else than skin
ROUNDS = 7
TINTED = 0.05  # how strongly sources keep the overall tint, where the samples do not say otherwise
# Colour of skin in white light, mean of the logarithm 0: between the stage's (1.8, 0.96, 0.57) and what portraits show.
SKIN = np.log([1.58, 0.96, 0.66])
WARM = np.array([1.0, 0.0, -1.0]) / np.sqrt(2)
# Deviations, natural logarithm, that skins, cameras and make-up bring about by themselves: from warm to cold, and from
# green to magenta, where lights hardly vary. Far smaller ones say nothing of the light, far larger ones are its own.
USUAL = 0.15, 0.3
GREY = 0.02  # a picture with less colour than this (mean log ratio) is black and white: its light is called white
BRIGHT = 90  # percentile of the samples' shading that is set to 1


@dataclass(frozen=True)
class Fit:
    """For D candidates: coefficients (D, K), mean relative error (D,) and the samples' weights (D, N), 0..1."""

    coefficients: F64
    error: F64
    weight: F64


@dataclass(frozen=True)
class Lamp:
    """A lamp in a room: its fit (D = 1), direction (3,) and softness as in `Lighting`."""

    fit: Fit
    direction: F64
    softness: float


def fitted_light(level: NDArray[Any], normal: NDArray[Any], name: str) -> Lighting:
    """The light on N samples of skin: level (N, 3) linear RGB, normal (N, 3) unit. Its brightness is that of a picture
    exposed well, whatever the picture's: dark skin and a dark exposure cannot be told apart."""
    return likelier(level, normal, name, best_lamp(evened(level), normal))


def evened(level: NDArray[Any]) -> F64:
    """(N,) luminance of samples (N, 3), median 1."""
    grey = luminance(level).astype(np.float64)
    return np.asarray(grey / max(float(np.median(grey)), 1e-6))


def likelier(level: NDArray[Any], normal: NDArray[Any], name: str, lamp: Lamp, rounds: int = ROUNDS) -> Lighting:
    """The light with this lamp where it explains the samples clearly better than a smooth room does, else that room."""
    smooth = design(normal, 9)
    room = robust_fit(smooth, evened(level), SMOOTH, rounds)
    if lamp.fit.error[0] > CLEARLY * room.error[0]:
        return exposed(Lighting(name, coloured(smooth[0], room, level)), normal)
    found = coloured(design(normal, 4, lamp.direction[None], lamp.softness)[0], lamp.fit, level)
    found[:2] = np.maximum(found[:2], 0)  # lamp and room: only the room's gradient may be negative
    sh = np.concatenate([found[1:], np.zeros((5, 3), np.float32)])
    towards, soft = lamp.direction[None].astype(np.float32), np.array([lamp.softness], np.float32)
    return exposed(Lighting(name, sh, towards, found[:1], soft), normal)


def design(normal: NDArray[Any], harmonics: int, lamps: F64 | None = None, softness: float = 0.0) -> F64:
    """(D, N, K) shading of normals (N, 3) by unit lamps in directions (D, 3), as the relighter shades them, and by the
    first `harmonics` coefficients; without lamps D is 1."""
    smooth: F64 = (sh_basis(normal) * COSINE)[:, :harmonics]
    if lamps is None:
        return smooth[None]
    out = np.empty((len(lamps), len(normal), harmonics + 1))
    out[..., 0] = np.interp(lamps @ normal.T, *falloff(softness))
    out[..., 1:] = smooth
    return out


@lru_cache(maxsize=8)
def falloff(softness: float) -> tuple[F64, F64]:
    """(n,) cosines, rising, and what a lamp of colour 1 gives there, as the relighter shades it."""
    cosine = np.linspace(-1, 1, 401)
    normal = np.stack([np.sqrt(1 - cosine**2), np.zeros_like(cosine), cosine], -1)
    ahead, soft = np.array([[0, 0, 1]], np.float32), np.array([softness], np.float32)
    lamp = Lighting("", directions=ahead, colours=np.ones((1, 3), np.float32), softness=soft)
    return cosine, shade_normals(lamp, normal).mean(-1)


def robust_fit(columns: F64, level: F64, ridge: F64, rounds: int = ROUNDS) -> Fit:
    """Every candidate's sources that explain level (N,), median 1, by iteratively reweighted ridge regression. Errors
    count in proportion to what the light predicts: skin's unevenness multiplies."""
    count = len(level)
    weight = np.ones(columns.shape[:2])
    made = np.broadcast_to(np.maximum(level, 1.0), weight.shape)
    for _ in range(rounds):
        weighted = columns * (weight / (made + FLOOR) ** 2)[..., None]
        left = weighted.swapaxes(1, 2) @ columns + count * np.diag(ridge)
        found = np.linalg.solve(left, (weighted.swapaxes(1, 2) @ level)[..., None])
        predicted = (columns @ found)[..., 0]
        made = np.maximum(predicted, 0.02)
        off = np.abs(level - predicted) / (made + FLOOR)
        weight = 1 / (1 + (off / (1.5 * (1.4826 * np.median(off, 1, keepdims=True) + 0.02))) ** 2)
    return Fit(found[..., 0], np.minimum(off, WORST).mean(1), weight)


def best_lamp(level: F64, normal: NDArray[Any]) -> Lamp:
    """The lamp that explains level (N,), median 1, with the least error, of any direction and softness."""
    start = best_of(level, normal, searched(SEARCHED), SEARCH_SOFTNESS)
    tried = []
    for softness in SOFTNESS:
        lamp = start
        for degrees in RINGS:
            lamp = best_of(level, normal, around(lamp.direction, degrees), softness)
        tried.append(lamp)
    return min(tried, key=lambda one: float(one.fit.error[0]))


def searched(count: int) -> F64:
    """(D, 3) directions from which a face can be lit, of `count` over the whole sphere."""
    directions = stage_directions(count)
    return directions[directions[:, 2] > BEHIND]


def best_of(level: F64, normal: NDArray[Any], directions: F64, softness: float, rounds: int = ROUNDS) -> Lamp:
    """The best of these lamps (D, 3); its error is infinite where all of them would have to take light away."""
    fit = robust_fit(design(normal, 4, directions, softness), level, np.array([1e-6, *ROOM]), rounds)
    error = np.where(fit.coefficients[:, 0] > 0, fit.error, np.inf)
    best = int(np.argmin(error))
    one = slice(best, best + 1)
    return Lamp(Fit(fit.coefficients[one], error[one], fit.weight[one]), directions[best], softness)


def around(direction: F64, degrees: float) -> F64:
    """(7, 3) the direction and six round it."""
    aside = np.cross(direction, [0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0])
    aside /= np.linalg.norm(aside)
    up = np.cross(aside, direction)
    turn = np.arange(6) * np.pi / 3
    ring = direction + np.tan(np.radians(degrees)) * (np.cos(turn)[:, None] * aside + np.sin(turn)[:, None] * up)
    both = np.concatenate([direction[None], ring])
    return np.asarray(both / np.linalg.norm(both, axis=1, keepdims=True))


def coloured(columns: F64, fit: Fit, level: NDArray[Any]) -> NDArray[np.float32]:
    """(K, 3) the sources of one candidate (its columns (N, K), D = 1) in colour, with the skin's own taken out."""
    colour = np.asarray(level, np.float64)
    grey = luminance(colour).astype(np.float64)
    made = np.maximum(columns @ fit.coefficients[0], 0.02)
    weighted = columns * (fit.weight[0] / (made + FLOOR) ** 2)[:, None]
    tint = (fit.weight[0] @ colour) / max(float(fit.weight[0] @ grey), 1e-9)
    usual = fit.coefficients[0][:, None] * tint
    pull = TINTED * np.diag((weighted * columns).sum(0)) + 1e-9 * np.eye(columns.shape[1])
    scale = max(float(np.median(grey)), 1e-6)
    found = np.linalg.solve(weighted.T @ columns + pull, weighted.T @ (colour / scale) + pull @ usual)
    return np.asarray(found * without_skin(tint), np.float32)


def without_skin(tint: F64) -> F64:
    """(3,) factors that turn the mean colour of lit skin, `tint`, into that of the light."""
    seen = np.log(np.maximum(tint, 1e-3))
    seen -= seen.mean()
    light = np.ones(3) if np.abs(seen).mean() < GREY else np.exp(_light_in(seen - SKIN))
    return np.asarray(light / float(luminance(light)) / np.maximum(tint, 1e-3))


def _light_in(deviation: F64) -> F64:
    """(3,) the part of a colour's deviation from usual skin (logarithm) that is the light's."""
    warm = deviation @ WARM * WARM
    parts = [(part, float(part @ part), usual**2) for part, usual in zip((warm, deviation - warm), USUAL, strict=True)]
    return np.asarray(sum(part * power / (power + noise) for part, power, noise in parts))


def exposed(light: Lighting, normal: NDArray[Any]) -> Lighting:
    """The same light with shading 1 (luminance) on the bright part of these normals (N, 3)."""
    bright = float(np.percentile(luminance(shade_normals(light, normal)), BRIGHT))
    k = np.float32(1 / max(bright, 1e-3))
    return Lighting(light.name, light.sh * k, light.directions, light.colours * k, light.softness)
