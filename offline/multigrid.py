"""Conjugate gradients with a multigrid preconditioner for weighted membranes on a pixel grid.

The matrix is held as the weights of its links to the right and downward and of its ties to zero; a coarser level sums
them over blocks of 2 x 2 pixels. Chosen by measurement at 512 x 512 on one core: 0.15 s (8 steps) with a prior over
most of the picture and 0.7 s (28 steps) with a single anchored pixel, against 2.0 to 2.7 s of scipy's sparse LU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
COARSEST = 12  # pixels: the coarsest level's longer side, solved directly
SWEEPS = 2
DAMPING = 0.75


@dataclass(frozen=True)
class Membrane:
    """Energy sum right * (u[x+1] - u[x])^2 + down * (u[y+1] - u[y])^2 + tie * u^2 over a grid (h, w).

    right (h, w) and down (h, w): their last column and row are zero; tie (h, w) > 0.
    """

    right: F64
    down: F64
    tie: F64

    def diagonal(self) -> F64:
        """(h, w) diagonal of the matrix."""
        total = self.tie + self.right + self.down
        total[:, 1:] += self.right[:, :-1]
        total[1:] += self.down[:-1]
        return total

    def times(self, u: F64) -> F64:
        """(h, w) the matrix applied to u."""
        out = self.tie * u
        flow = self.right[:, :-1] * (u[:, 1:] - u[:, :-1])
        out[:, :-1] -= flow
        out[:, 1:] += flow
        flow = self.down[:-1] * (u[1:] - u[:-1])
        out[:-1] -= flow
        out[1:] += flow
        return out

    def coarser(self) -> Membrane:
        """The same membrane over blocks of 2 x 2 pixels. Links are halved: between blocks that are constant inside, a
        slope would cost twice what it does on the fine grid."""
        return Membrane(
            0.5 * (self.right[::2, 1::2] + self.right[1::2, 1::2]),
            0.5 * (self.down[1::2, ::2] + self.down[1::2, 1::2]),
            blocks(self.tie),
        )

    def padded(self) -> Membrane:
        """With an even number of rows and columns; what is added is linked to nothing."""
        h, w = self.tie.shape
        more = ((0, h % 2), (0, w % 2))
        return Membrane(np.pad(self.right, more), np.pad(self.down, more), np.pad(self.tie, more, constant_values=1.0))


def blocks(a: F64) -> F64:
    """(h / 2, w / 2) sums over 2 x 2 pixels."""
    return np.asarray(a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2])


def spread(a: F64) -> F64:
    """(2 h, 2 w) every pixel as a block of 2 x 2."""
    return np.repeat(np.repeat(a, 2, 0), 2, 1)


class Multigrid:
    """One symmetric V-cycle: an approximate inverse of a membrane's matrix."""

    def __init__(self, fine: Membrane) -> None:
        self.levels: list[tuple[Membrane, F64]] = []
        level = fine
        while max(level.tie.shape) > COARSEST:
            level = level.padded()
            self.levels.append((level, DAMPING / level.diagonal()))
            level = level.coarser()
        n = level.tie.size
        columns = [level.times(e.reshape(level.tie.shape)).ravel() for e in np.eye(n)]
        self.inverse = np.linalg.inv(np.array(columns))

    def __call__(self, residual: F64, depth: int = 0) -> F64:
        """(h, w) correction for a residual."""
        if depth == len(self.levels):
            return np.asarray((self.inverse @ residual.ravel()).reshape(residual.shape))
        level, step = self.levels[depth]
        h, w = residual.shape
        b = np.pad(residual, ((0, h % 2), (0, w % 2)))
        u = step * b
        for _ in range(SWEEPS - 1):
            u += step * (b - level.times(u))
        u += spread(self(blocks(b - level.times(u)), depth + 1))
        for _ in range(SWEEPS):
            u += step * (b - level.times(u))
        return u[:h, :w]


def solve(membrane: Membrane, rhs: F64, start: F64, tolerance: float = 1e-8, most: int = 200) -> F64:
    """(h, w) u with membrane * u = rhs, from `start`, until the residual is `tolerance` of the right side's."""
    precondition = Multigrid(membrane)
    u = start.copy()
    r = rhs - membrane.times(u)
    stop = tolerance * float(np.linalg.norm(rhs)) + 1e-300
    p, last = np.zeros_like(u), 1.0
    for _ in range(most):
        if float(np.linalg.norm(r)) <= stop:
            break
        z = precondition(r)
        rho = float((r * z).sum())
        p = z + (rho / last) * p
        q = membrane.times(p)
        alpha = rho / float((p * q).sum())
        u += alpha * p
        r -= alpha * q
        last = rho
    return u
