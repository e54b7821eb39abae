"""Multigrid on a pixel grid: the answers of scipy's direct solver, in few steps, for any size and any ties."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from offline.multigrid import COARSEST, Membrane, Multigrid, blocks, solve, spread

SIZES = [(1, 1), (2, 3), (5, 1), (7, 12), (13, 13), (25, 17), (1, 40), (33, 64), (51, 29)]


def random_membrane(h: int, w: int, seed: int = 0, weakest: float = 1e-3) -> Membrane:
    """Links between 0.01 and 1, a tenth of them cut; ties from `weakest` to 1."""
    chance = np.random.default_rng(seed)
    right, down = chance.uniform(0.01, 1, (2, h, w)) * (chance.random((2, h, w)) > 0.1)
    right[:, -1] = down[-1] = 0
    return Membrane(right, down, 10 ** chance.uniform(np.log10(weakest), 0, (h, w)))


def as_matrix(membrane: Membrane) -> sp.csc_matrix:
    """The same matrix from its definition, the energy's second derivative, link by link."""
    h, w = membrane.tie.shape
    index = np.arange(h * w).reshape(h, w)
    matrix = sp.lil_matrix((h * w, h * w))
    matrix.setdiag(membrane.tie.ravel())
    for weights, step in ((membrane.right, (0, 1)), (membrane.down, (1, 0))):
        for y in range(h - step[0]):
            for x in range(w - step[1]):
                a, b, k = index[y, x], index[y + step[0], x + step[1]], weights[y, x]
                matrix[a, a] += k
                matrix[b, b] += k
                matrix[a, b] -= k
                matrix[b, a] -= k
    return matrix.tocsc()


def steps_needed(membrane: Membrane, rhs: np.ndarray, exact: np.ndarray) -> int:
    """How many steps of conjugate gradients bring the error under a millionth."""
    zero = np.zeros_like(rhs)
    for most in range(1, 201):
        if np.abs(solve(membrane, rhs, zero, 0.0, most) - exact).max() < 1e-6 * np.abs(exact).max():
            return most
    return 201


@pytest.mark.parametrize("size", SIZES)
def test_times_and_diagonal_are_the_matrix(size: tuple[int, int]) -> None:
    membrane = random_membrane(*size)
    matrix = as_matrix(membrane)
    u = np.random.default_rng(1).normal(size=size)
    assert membrane.times(u).ravel() == pytest.approx(matrix @ u.ravel(), abs=1e-12)
    assert membrane.diagonal().ravel() == pytest.approx(matrix.diagonal(), abs=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weakest", [1e-6, 1e-2])
def test_the_answer_is_the_direct_solvers(size: tuple[int, int], weakest: float) -> None:
    membrane = random_membrane(*size, seed=sum(size), weakest=weakest)
    chance = np.random.default_rng(2)
    rhs, start = chance.normal(size=size), chance.normal(size=size)
    exact = np.atleast_1d(spsolve(as_matrix(membrane), rhs.ravel())).reshape(size)
    assert solve(membrane, rhs, start, 1e-12) == pytest.approx(exact, abs=1e-8 * np.abs(exact).max())


def test_a_single_anchor_fixes_everything() -> None:
    """Ties of a billionth but for one pixel: as `integrate` asks when the depth is known at one place only."""
    h, w = 63, 47
    ones = Membrane(np.ones((h, w)), np.ones((h, w)), np.full((h, w), 1e-9))
    ones.right[:, -1] = ones.down[-1] = 0
    ones.tie[31, 23] += 1
    y, x = np.mgrid[:h, :w].astype(np.float64)
    wanted = 0.3 * x - 0.2 * y + np.sin(x / 5)
    assert solve(ones, ones.times(wanted), np.zeros((h, w)), 1e-11) == pytest.approx(wanted, abs=1e-5)


def test_steps_hardly_grow_with_the_picture() -> None:
    needed = []
    for n in (32, 96):
        membrane = random_membrane(n, n, seed=3)
        rhs = np.random.default_rng(4).normal(size=(n, n))
        exact = solve(membrane, rhs, np.zeros((n, n)), 1e-13)
        needed.append(steps_needed(membrane, rhs, exact))
    assert needed[1] < 1.5 * needed[0] + 2  # plain conjugate gradients would need three times as many
    assert needed[1] < 30


@pytest.mark.parametrize("size", [(3, 4), (13, 20), (41, 27)])
def test_the_cycle_is_symmetric_and_positive(size: tuple[int, int]) -> None:
    """What conjugate gradients ask of a preconditioner."""
    cycle = Multigrid(random_membrane(*size, seed=5))
    a, b = np.random.default_rng(6).normal(size=(2, *size))
    assert (a * cycle(b)).sum() == pytest.approx((b * cycle(a)).sum(), rel=1e-9)
    assert (a * cycle(a)).sum() > 0


def test_on_a_small_grid_the_cycle_is_the_inverse() -> None:
    membrane = random_membrane(COARSEST, COARSEST - 1)
    u = np.random.default_rng(7).normal(size=membrane.tie.shape)
    assert Multigrid(membrane)(membrane.times(u)) == pytest.approx(u, abs=1e-9)


def test_a_coarser_membrane_costs_a_slope_the_same() -> None:
    n = 64
    fine = Membrane(np.ones((n, n)), np.ones((n, n)), np.zeros((n, n)))
    fine.right[:, -1] = fine.down[-1] = 0
    x = np.broadcast_to(np.arange(n, dtype=np.float64), (n, n))
    coarse, means = fine.coarser(), blocks(np.array(x)) / 4
    energy = (x * fine.times(np.array(x))).sum()
    assert (means * coarse.times(means)).sum() == pytest.approx(energy, rel=0.03)
    assert (coarse.right[:, -1] == 0).all()
    assert (coarse.down[-1] == 0).all()


def test_blocks_sum_and_spread_is_their_transpose() -> None:
    a, b = np.random.default_rng(8).normal(size=(6, 8)), np.random.default_rng(9).normal(size=(3, 4))
    assert (blocks(a) * b).sum() == pytest.approx((a * spread(b)).sum())
    assert blocks(np.ones((4, 6))) == pytest.approx(np.full((2, 3), 4.0))


def test_the_right_start_needs_no_step() -> None:
    membrane = random_membrane(20, 30)
    u = np.random.default_rng(10).normal(size=(20, 30))
    assert (solve(membrane, membrane.times(u), u, most=0) == u).all()
    assert (solve(membrane, membrane.times(u), u) == u).all()
    assert (solve(membrane, np.zeros((20, 30)), np.zeros((20, 30))) == 0).all()
