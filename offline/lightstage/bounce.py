"""Light thrown from skin to skin on the stage: every blocked ray is followed over the picture's depth to what it meets.

`light.lit` gives hidden sky the mean of the whole head; here it is what the neighbour really receives, twice on. Rays
whose end the camera does not see fall back on that mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lighting import stage_directions

F32 = NDArray[np.float32]
STEPS = np.geomspace(0.5, 14.0, 16).astype(np.float32)  # cm along a ray
THICK = 5.0  # cm: what passes farther behind what is seen goes on


@dataclass(frozen=True)
class Exchange:
    """Of P seen points: shares (P, P), how much of every other's radiosity, and lost (P,), how much of the mean one,
    reaches a point."""

    shares: F32
    lost: F32

    def indirect(self, direct: F32, albedo: F32, bounces: int = 2) -> F32:
        """(P, L, 3) irradiance by light that has been reflected, of irradiance direct (P, L) over pi and albedo
        (P, 3), linear."""
        given = direct[..., None] * albedo[:, None]
        total = np.zeros_like(given)
        for _ in range(bounces):
            flat = given.reshape(len(given), -1)
            received = self.shares @ flat + self.lost[:, None] * flat.mean(0)
            received = received.reshape(given.shape)
            total += received
            given = received * albedo[:, None]
        return total


def exchange(points: F32, normal: F32, seen: NDArray[np.bool_], at: NDArray[np.bool_], camera: Camera) -> Exchange:
    """Of the points (h, w, 3) cm, camera space, that lie at (h, w): normal (h, w, 3), seen (h, w, L) which of the
    stage's lights reach them; camera of the maps."""
    lights = stage_directions().astype(np.float32)
    index = np.cumsum(at.ravel()).reshape(at.shape) - 1
    p, n, blocked = points[at], normal[at], ~seen[at]
    cosine = np.clip(n @ lights.T, 0, None) * blocked * np.float32(4 / len(lights))
    origin, ray = np.nonzero(cosine > 0)
    met = followed(p[origin], lights[ray], points, at, camera)
    hit = met >= 0
    hit[hit] = (normal.reshape(-1, 3)[met[hit]] * lights[ray[hit]]).sum(-1) < 0
    shares = np.zeros((len(p), len(p)), np.float32)
    weight = cosine[origin, ray]
    np.add.at(shares, (origin[hit], index.ravel()[met[hit]]), weight[hit])
    lost = np.bincount(origin[~hit], weight[~hit], len(p)).astype(np.float32)
    return Exchange(shares, lost)


def followed(start: F32, along: F32, points: F32, at: NDArray[np.bool_], camera: Camera) -> NDArray[np.intp]:
    """(R,) flat index of the pixel at which rays from start (R, 3) along (R, 3) first go behind what is seen; -1."""
    h, w = at.shape
    met = np.full(len(start), -1, np.intp)
    for t in STEPS:
        there = start + t * along
        x, y = np.round(camera.project(there.astype(np.float64))).astype(int).T
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h) & (met < 0)
        flat = np.clip(y, 0, h - 1) * w + np.clip(x, 0, w - 1)
        depth = points[..., 2].ravel()[flat] - there[:, 2]
        struck = inside & at.ravel()[flat] & (depth > 0.05) & (depth < THICK)
        met[struck] = flat[struck]
    return met
