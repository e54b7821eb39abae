"""What shines, as samples: from every point's view, directions and how much comes from there.

Convention: `draw` gives directions (N, K, 3) and weights (N, K, 3) such that the shading (irradiance / pi) of a surface
is the sum over K of weight * response(n . d) * (1 where the point sees out, else 0). Directions point toward the light.
Samples are stratified (a Hammersley set, shifted anew for every point), so 256 of them err by well under a per cent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import Lighting, map_directions, sample_equirectangular, sh_basis

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
Drawn = tuple[F32, F32]
LOW = 0.05  # cosine below which a sky's samples no longer weigh more
FLAT = 0.15  # share of an environment's samples that goes anywhere, lest a dark part be never asked


class Emitter(Protocol):
    """One source of light."""

    @property
    def power(self) -> float:
        """About the shading it gives: decides how many samples it gets."""
        ...

    def draw(self, normals: F64, squares: F64) -> Drawn:
        """Samples for points with these shading normals (N, 3), from numbers `squares` (N, K, 2) in 0..1."""
        ...


def squares(points: int, samples: int, rng: np.random.Generator) -> F64:
    """(points, samples, 2) evenly spread in the unit square, another shift for every point."""
    i = np.arange(samples)
    radical, base, j = np.zeros(samples), 0.5, i.copy()
    while j.any():
        radical += base * (j & 1)
        base, j = base / 2, j >> 1
    spread = np.stack([(i + 0.5) / samples, radical], -1)
    return np.asarray((spread + rng.random((points, 1, 2))) % 1)


def halved(squares: F64) -> tuple[F64, int]:
    """The same numbers such that each half of the samples is evenly spread by itself, and where the second begins."""
    return np.stack([(2 * squares[..., 0]) % 1, squares[..., 1]], -1), squares.shape[1] // 2


def around(axis: F64) -> F64:
    """(N, 3, 3) orthonormal frames whose third column is `axis` (N, 3)."""
    other = np.where(np.abs(axis[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    x = np.cross(other, axis)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, np.cross(axis, x), axis], -1)


def turned(cosine: F64, turn: F64, axis: F64) -> F64:
    """(N, K, 3) unit vectors at `cosine` (N, K) to their axis (N, 3), `turn` (N, K) 0..1 of the way round it."""
    sine, angle = np.sqrt(np.maximum(1 - cosine**2, 0)), 2 * np.pi * turn
    local = np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine], -1)
    return np.asarray(np.einsum("nij,nkj->nki", around(axis), local))


def dots(directions: NDArray[Any], axis: NDArray[Any]) -> NDArray[Any]:
    """(N, K) cosines of directions (N, K, 3) to the axis (N, 3) of their point."""
    return np.asarray(np.einsum("nkc,nc->nk", directions, axis.astype(directions.dtype)))


@dataclass(frozen=True)
class Lamp:
    """A far round area light: direction (3,) of its middle; colour (3,) the shading of a surface squarely under it;
    half its angle has the sine `radius` (0: a point)."""

    direction: F64
    colour: F64
    radius: float

    @property
    def power(self) -> float:
        """Shading squarely under it."""
        return float(np.mean(self.colour))

    def draw(self, normals: F64, squares: F64) -> Drawn:
        """Over its solid angle."""
        axis = np.broadcast_to(self.direction / np.linalg.norm(self.direction), normals.shape)
        if self.radius < 1e-4:
            return axis[:, None].astype(np.float32), np.broadcast_to(self.colour, (len(axis), 1, 3)).astype(np.float32)
        edge = np.sqrt(1 - self.radius**2)
        directions = turned(1 - squares[..., 0] * (1 - edge), squares[..., 1], axis)
        # even radiance colour / radius^2 over a solid angle of 2 pi (1 - edge)
        weight = self.colour * (2 * (1 - edge) / self.radius**2 / squares.shape[1])
        return directions.astype(np.float32), np.broadcast_to(weight, directions.shape).astype(np.float32)


@dataclass(frozen=True)
class Sky:
    """Radiance as spherical harmonics sh (9, 3)."""

    sh: NDArray[Any]

    @property
    def power(self) -> float:
        """Mean radiance."""
        return float(self.sh[0].mean() * 0.2820948)

    def draw(self, normals: F64, squares: F64) -> Drawn:
        """By the cosine to the normal. The response is about that cosine, which therefore divides the weight (by no
        less than LOW, since the response does not follow it to nothing; that loses less than a thousandth)."""
        cosine = np.sqrt(1 - squares[..., 0])
        directions = turned(cosine, squares[..., 1], normals)
        radiance = sh_basis(directions) @ self.sh
        weight = radiance / np.maximum(cosine, LOW)[..., None] / squares.shape[1]
        return directions.astype(np.float32), weight.astype(np.float32)


class Environment:
    """Radiance as an equirectangular map (h, w, 3), linear."""

    def __init__(self, radiance: NDArray[Any]) -> None:
        self.radiance = np.asarray(radiance, np.float64)
        self._directions, self._solid = map_directions(*self.radiance.shape[:2])
        power = self.radiance.mean(-1) * self._solid
        share = (1 - FLAT) * power / max(float(power.sum()), 1e-12) + FLAT * self._solid / self._solid.sum()
        share /= share.sum()
        self._steps = np.cumsum(share.ravel())
        self._density = share / self._solid  # per steradian
        self.power = float(power.sum() / self._solid.sum())

    def draw(self, normals: F64, squares: F64) -> Drawn:
        """Half by the map's power, half by the cosine, each weighted by the sum of both densities."""
        squares, half = halved(squares)
        by_cosine = turned(np.sqrt(1 - squares[:, half:, 0]), squares[:, half:, 1], normals)
        return self._mixed(squares[:, :half], by_cosine, lambda d: np.clip(dots(d, normals), 0, None) / np.pi, np.pi)

    def mirrored(self, middle: F64, sharpness: float, squares: F64) -> Drawn:
        """Samples of what lobes cos^sharpness around `middle` (N, 3) reflect: the sum of weight * cos^sharpness is the
        mean radiance in the lobe."""
        (squares, half), whole = halved(squares), 2 * np.pi / (sharpness + 1)
        by_lobe = turned((1 - squares[:, half:, 0]) ** (1 / (sharpness + 1)), squares[:, half:, 1], middle)
        return self._mixed(
            squares[:, :half], by_lobe, lambda d: np.clip(dots(d, middle), 0, None) ** sharpness / whole, whole
        )

    def _mixed(self, squares: F64, others: F64, density: Callable[[F64], F64], whole: float) -> Drawn:
        """Half the samples by the map's power, half are `others`, which have that `density` per steradian; each
        weighted by the sum of both. Weights are radiance over density and `whole`."""
        directions = np.concatenate([self._bright(squares), others], 1)
        sum_of_both = sample_equirectangular(self._density[..., None], directions)[..., 0] * squares.shape[1]
        sum_of_both += density(directions) * others.shape[1]
        weight = sample_equirectangular(self.radiance, directions) / (whole * sum_of_both[..., None])
        return directions.astype(np.float32), weight.astype(np.float32)

    def _bright(self, squares: F64) -> F64:
        """(N, K, 3) directions in proportion to what the map sends from there."""
        stretched = squares[..., 0]  # one number finds the texel; its rest and the other one find the place in it
        texel = np.minimum(np.searchsorted(self._steps, stretched), len(self._steps) - 1)
        below = np.where(texel > 0, self._steps[texel - 1], 0)
        inside = np.clip((stretched - below) / np.maximum(self._steps[texel] - below, 1e-12), 0, 1)
        h, w = self.radiance.shape[:2]
        row, column = np.divmod(texel, w)
        low, high = np.cos(row / h * np.pi), np.cos((row + 1) / h * np.pi)
        y = low + (high - low) * inside  # evenly in solid angle
        u = ((column + squares[..., 1]) / w - 0.5) * 2 * np.pi
        r = np.sqrt(np.maximum(1 - y * y, 0))
        return np.asarray(np.stack([r * np.sin(u), y, r * np.cos(u)], -1))


def lamps_of(lighting: Lighting) -> list[Lamp]:
    """The explicit lights. A softness s rounds the terminator over cosines of +-s/2 (`ops.lighting.soft_cosine`): that
    is a round light whose half angle has the sine s/2 (30 degrees for the largest)."""
    rows = zip(lighting.directions, lighting.colours, lighting.softness, strict=True)
    return [Lamp(np.asarray(d, np.float64), np.asarray(c, np.float64), 0.5 * float(s)) for d, c, s in rows]


def shares(emitters: Sequence[Emitter], samples: int) -> list[int]:
    """How many of a point's samples each emitter gets: by its power, none less than an eighth."""
    power = np.array([max(e.power, 0.0) for e in emitters])
    part = np.maximum(power / max(float(power.sum()), 1e-12), 1 / 8)
    return [2 * max(1, round(samples * float(p) / 2)) for p in part]
