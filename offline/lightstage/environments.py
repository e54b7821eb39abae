"""The lights people are photographed in: environment maps, studios, suns, flashes, as weights of the stage's lights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from narrate_stream.lights import read_radiance
from narrate_stream.ops.colour import blackbody
from narrate_stream.ops.lighting import map_directions, stage_directions

F32 = NDArray[np.float32]
KINDS = ("environment", "sky", "studio", "hard", "flash", "two", "soft")
SHARES = (0.22, 0.1, 0.18, 0.18, 0.17, 0.07, 0.08)
FLASH = np.array([0.0, 0.0, 1.0])


@lru_cache(maxsize=16)
def small_map(path: Path) -> tuple[F32, NDArray[np.float64], F32]:
    """Radiance (N, 3), directions (N, 3) and solid angles (N,) of an environment map shrunk to 64x32."""
    directions, solid = map_directions(32, 64)
    radiance = cv2.resize(read_radiance(path), (64, 32), interpolation=cv2.INTER_AREA)
    return radiance.reshape(-1, 3), directions.reshape(-1, 3), solid.ravel().astype(np.float32)


def binned(radiance: F32, directions: NDArray[np.float64], solid: F32) -> F32:
    """(L, 3): radiance times solid angle, each direction given to its nearest stage light."""
    nearest = (directions @ stage_directions().T).argmax(1)
    out = np.zeros((len(stage_directions()), 3), np.float32)
    np.add.at(out, nearest, radiance * solid[:, None])
    return out


def tint(rng: np.random.Generator, strength: float = 1.0) -> F32:
    """(3,) a lamp's colour, mean 1: mostly a black body, sometimes a gel."""
    colour = blackbody(float(np.exp(rng.uniform(np.log(2800), np.log(9500)))))
    if rng.random() < 0.08:
        colour = colour * rng.uniform(0.3, 1.7, 3)
    colour = colour / colour.mean()
    return np.asarray(1 + (colour - 1) * strength, np.float32)


def lobe(at: NDArray[np.float64], width: float) -> F32:
    """(L,) weights, sum 1, of an area light toward `at` (3,) with angular radius `width`, radians."""
    angle = np.arccos(np.clip(stage_directions() @ at, -1, 1))
    w = np.exp(-0.5 * (angle / max(width, 0.09)) ** 2)
    return np.asarray(w / w.sum(), np.float32)


def toward(rng: np.random.Generator, *, front: float = 0.75) -> NDArray[np.float64]:
    """(3,) where a photographer or the sun puts a lamp: mostly before the face and above it."""
    if rng.random() < front:
        az, el = np.radians(rng.uniform(-85, 85)), np.radians(np.clip(rng.normal(22, 26), -50, 88))
    else:
        az, el = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(-40, 80))
    return np.array([np.sin(az) * np.cos(el), np.sin(el), np.cos(az) * np.cos(el)])


def sample_light(rng: np.random.Generator, maps: tuple[Path, ...]) -> tuple[str, F32]:
    """(kind, weights (L, 3)): one lighting, mean of the weights' sum about pi."""
    kind = str(rng.choice(KINDS, p=np.array(SHARES) / sum(SHARES)))
    if kind == "environment" and not maps:
        kind = "sky"
    count = len(stage_directions())
    even = np.full((count, 1), 1 / count, np.float32) * tint(rng, 0.5)
    if kind == "environment":
        weights = environment_weights(rng, maps)
    elif kind == "sky":
        weights = sky_weights(rng)
    elif kind == "studio":
        key = lobe(toward(rng), rng.uniform(0.15, 0.6))[:, None] * tint(rng, 0.4)
        fill = lobe(toward(rng), rng.uniform(0.4, 1.0))[:, None] * tint(rng, 0.6)
        rim = lobe(-toward(rng) * [1, -1, 1], 0.25)[:, None] * tint(rng)
        weights = key + rng.uniform(0, 0.6) * fill + rng.uniform(0, 1) * rim * (rng.random() < 0.4) + 0.25 * even
    elif kind == "hard":
        weights = lobe(toward(rng), 0.09)[:, None] * tint(rng, 0.3) + rng.uniform(0.01, 0.2) * even
    elif kind == "flash":
        near = FLASH + rng.normal(0, 0.12, 3) * [1, 1, 0]
        weights = lobe(near / np.linalg.norm(near), 0.09)[:, None] * tint(rng, 0.2) + rng.uniform(0, 0.25) * even
    elif kind == "two":
        weights = (
            sum(lobe(toward(rng), rng.uniform(0.09, 0.3))[:, None] * tint(rng) * rng.uniform(0.3, 1) for _ in range(2))
            + rng.uniform(0.02, 0.3) * even
        )
    else:
        weights = even + 0.4 * lobe(toward(rng), 0.9)[:, None] * tint(rng, 0.5)
    return kind, np.asarray(weights * (np.pi / max(float(weights.mean(1).sum()), 1e-6)), np.float32)


def environment_weights(rng: np.random.Generator, maps: tuple[Path, ...]) -> F32:
    """A measured environment, turned any way about the vertical and a little off it."""
    radiance, d, solid = small_map(maps[rng.integers(len(maps))])
    turn = Rotation.from_euler("yxz", [rng.uniform(0, 2 * np.pi), rng.normal(0, 0.15), rng.normal(0, 0.15)])
    peak = np.quantile(radiance.mean(1), 0.995) * 8
    radiance = np.minimum(radiance, peak) * tint(rng, 0.3)
    return binned(radiance, d @ turn.as_matrix().T, solid)


def sky_weights(rng: np.random.Generator) -> F32:
    """A made environment: ground, sky and walls in soft colours, a sun or windows."""
    d = stage_directions()
    up = 0.5 + 0.5 * np.tanh(d[:, 1:2] * rng.uniform(1, 6))
    weights = up * tint(rng) + (1 - up) * rng.uniform(0.05, 0.7) * tint(rng)
    for _ in range(rng.integers(1, 5)):
        weights = weights + lobe(toward(rng, front=0.5), rng.uniform(0.1, 0.5))[:, None] * tint(rng) * rng.uniform(
            5, 80
        )
    return np.asarray(weights / len(d), np.float32)
