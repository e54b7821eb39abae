"""First-order motion: affine motions exactly, the identity, occlusion of a disc over a plane, composition of fields."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from narrate_stream.ops.motion import (
    TEAR,
    composed,
    dense_field,
    dense_motion,
    fit_matrix,
    fitted,
    nearness,
    occlusion,
    pixel_grid,
    sampled,
    sparse_motions,
    torn,
    transferred,
)
from narrate_stream.types import Keypoints, MotionField

SIZE, K = (64, 48), 5
CHANCE = np.random.default_rng(3)
POINTS = CHANCE.uniform([8, 8], [56, 40], (60, 2))
WEIGHTS = CHANCE.uniform(0.01, 1, (60, K)) ** 4
GRID = pixel_grid(SIZE)
RIGHT = np.array([1.0, 0.0])
small = st.floats(-0.4, 0.4)
matrices = st.tuples(small, small, small, small).map(lambda m: np.eye(2) + np.reshape(m, (2, 2)))
shifts = st.tuples(st.floats(-9, 9), st.floats(-9, 9)).map(np.array)


def field(src_from_dst: np.ndarray, hidden: np.ndarray | None = None) -> MotionField:
    blank = np.zeros(src_from_dst.shape[:2], np.float32)
    return MotionField(src_from_dst.astype(np.float32), blank if hidden is None else hidden.astype(np.float32))


def test_the_reference_itself_has_the_identity() -> None:
    found = fitted(POINTS, fit_matrix(POINTS, WEIGHTS, stiffness=7.0))
    assert found.jacobians == pytest.approx(np.broadcast_to(np.eye(2), (K, 2, 2)), abs=1e-12)
    assert found.at == pytest.approx(WEIGHTS.T @ POINTS / WEIGHTS.sum(0)[:, None])


@settings(deadline=None, max_examples=40)
@given(matrices, shifts, st.floats(0, 50))
def test_affine_motion_is_reproduced_exactly(matrix: np.ndarray, shift: np.ndarray, stiffness: float) -> None:
    assume(abs(np.linalg.det(matrix)) > 0.05)
    then, now = (fitted(p, fit_matrix(POINTS, WEIGHTS, stiffness)) for p in (POINTS, POINTS @ matrix.T + shift))
    assert now.jacobians == pytest.approx(np.broadcast_to(matrix, (K, 2, 2)), abs=1e-9)
    moved = GRID @ matrix.T + shift
    assert np.abs(sparse_motions(now, then, GRID) - moved[..., None, :]).max() < 1e-8
    assert np.abs(sparse_motions(then, now, moved) - GRID[..., None, :]).max() < 1e-6
    assert np.abs(dense_motion(now, then, GRID, 20.0, still=0) - moved).max() < 1e-8


def test_a_jacobian_is_the_local_slope_of_a_bent_motion() -> None:
    near = nearness(GRID.reshape(-1, 2), Keypoints(np.array([[20.0, 24.0], [44.0, 24.0]]), np.zeros((2, 2, 2))), 2.0)
    bent = GRID.reshape(-1, 2) + 0.01 * np.column_stack([(GRID[..., 0].ravel() - 32) ** 2, np.zeros(SIZE[0] * SIZE[1])])
    found = fitted(bent, fit_matrix(GRID.reshape(-1, 2), near))
    assert found.jacobians[:, 0, 0] == pytest.approx([1 - 0.24, 1 + 0.24], abs=0.01)
    assert found.jacobians[:, [0, 1, 1], [1, 0, 1]] == pytest.approx(np.array([[0, 0, 1], [0, 0, 1]]), abs=0.01)


def test_a_flat_neighbourhood_takes_the_slope_of_all() -> None:
    line = np.column_stack([np.linspace(0, 9, 10), np.zeros(10)])
    points = np.concatenate([line, POINTS])
    weights = np.concatenate([np.ones((10, 1)), np.zeros((60, 1))])
    matrix = np.array([[1.1, 0.2], [-0.1, 0.8]])
    assert fitted(points @ matrix.T, fit_matrix(points, weights, 0.5)).jacobians[0] == pytest.approx(matrix, abs=1e-9)


def test_transferred_motion_is_the_drivers_own_change() -> None:
    first, now, source = (
        fitted(POINTS @ m, fit_matrix(POINTS, WEIGHTS)) for m in (np.eye(2) * 1.3, np.eye(2) * 0.9, np.eye(2) * 2)
    )
    same = transferred(source, first, first)
    assert same.at == pytest.approx(source.at)
    assert same.jacobians == pytest.approx(source.jacobians)
    moved = transferred(source, first, now)
    assert moved.at - source.at == pytest.approx(now.at - first.at)
    assert moved.jacobians == pytest.approx(source.jacobians * 0.9 / 1.3)
    itself = transferred(first, first, now)
    assert itself.at == pytest.approx(now.at)
    assert itself.jacobians == pytest.approx(now.jacobians)


def test_no_motion_is_the_identity_and_hides_nothing() -> None:
    still = fitted(POINTS, fit_matrix(POINTS, WEIGHTS))
    found = dense_field(still, still, SIZE, 6.0)
    assert found.src_from_dst == pytest.approx(GRID, abs=1e-4)
    assert not found.occlusion.any()


def test_the_field_is_each_keypoints_own_near_it_and_nothing_far_away() -> None:
    then = Keypoints(np.array([[12.0, 12.0], [50.0, 36.0]]), np.stack([np.eye(2)] * 2))
    now = Keypoints(then.at + np.array([[3, 0], [0, -2]]), np.stack([np.eye(2), 1.5 * np.eye(2)]))
    found = dense_field(then, now, SIZE, 3.0, still=1e-3).src_from_dst
    assert found[12, 15] == pytest.approx([12, 12], abs=0.05)
    assert found[34, 50] == pytest.approx([50, 36], abs=0.05)
    assert found[34, 52] - found[34, 50] == pytest.approx([2 / 1.5, 0], abs=0.05)
    assert found[46, 2] == pytest.approx([2, 46], abs=0.01)


DISC, STEP = np.array([24.0, 22.0]), np.array([9.0, 3.0])


def disc_moved(at: np.ndarray, by: np.ndarray) -> np.ndarray:
    """A disc of radius 8 that has come by `by`, over a plane that lies still: where each pixel comes from."""
    inside = np.linalg.norm(GRID - at, axis=-1) <= 8
    return np.where(inside[..., None], GRID - by, GRID)


def test_a_disc_that_moves_over_a_plane_uncovers_what_it_hid() -> None:
    then_from_now, now_from_then = disc_moved(DISC + STEP, STEP), disc_moved(DISC, -STEP)
    hidden = occlusion(then_from_now, now_from_then) > 0
    was, now = (np.linalg.norm(GRID - at, axis=-1) <= 8 for at in (DISC, DISC + STEP))
    assert np.array_equal(hidden, was & ~now)
    covered = occlusion(now_from_then, then_from_now) > 0
    assert np.array_equal(covered, now & ~was)


def test_what_comes_from_outside_the_picture_is_hidden() -> None:
    hidden = occlusion(GRID + 10 * RIGHT, GRID - 10 * RIGHT)
    assert np.array_equal(hidden > 0, GRID[..., 0] >= SIZE[0] - 10)


@settings(deadline=None, max_examples=30)
@given(matrices, shifts, matrices, shifts)
def test_composition_is_that_of_the_maps(a: np.ndarray, s: np.ndarray, b: np.ndarray, t: np.ndarray) -> None:
    """Bilinear reading of an affine field is exact, so composing is too, wherever the inner one stays inside."""
    outer, inner = field(GRID @ a.T + s), field(GRID @ b.T + t)
    found = composed(outer, inner)
    seen = found.occlusion == 0
    at = inner.src_from_dst
    strictly = ((at >= 0) & (at <= np.array(SIZE) - 1)).all(-1)
    if np.abs(a).sum() < TEAR:
        assert seen[strictly].all()
    fine = seen & strictly
    error = np.abs(found.src_from_dst - (at @ a.T + s))[fine]
    assert not error.size or error.max() < 0.06  # remap has steps of 1/32 px
    assert not seen[((at < -0.5) | (at > np.array(SIZE) - 0.5)).any(-1)].any()


def test_composition_is_the_papers_sum_of_displacements() -> None:
    """u(z) = u_inner(z) + u_outer(z + u_inner(z)); adding both at z, as one may read the paper, misses."""
    wave = np.stack([4 * np.sin(GRID[..., 1] / 6), np.zeros(GRID.shape[:2])], -1)
    shift = np.array([0.0, 5.0])
    found = composed(field(GRID + wave), field(GRID + shift)).src_from_dst - GRID
    below = np.stack([4 * np.sin((GRID[..., 1] + 5) / 6), np.full(GRID.shape[:2], 5.0)], -1)
    assert found[:40] == pytest.approx(below[:40], abs=0.1)
    assert np.abs(found[:40] - (wave + shift)[:40]).max() > 2


def test_the_identity_composes_to_the_other_field() -> None:
    some = field(GRID * 0.9 + 2, GRID[..., 0] > 40)
    for found in (composed(some, field(GRID)), composed(field(GRID), some)):
        assert np.array_equal(found.occlusion, some.occlusion)
        assert found.src_from_dst == pytest.approx(some.src_from_dst, abs=0.05)


def test_nothing_is_read_across_a_tear() -> None:
    step = GRID + np.where(GRID[..., :1] >= 30, 20.0, 0.0)
    assert np.array_equal(torn(step) > 0, (GRID[..., 0] >= 29) & (GRID[..., 0] <= 30))
    found = composed(field(step), field(GRID + 0.5 * RIGHT))
    jump = np.abs(found.src_from_dst - GRID - 0.5 * RIGHT)[..., 0]
    whole = (found.occlusion == 0) & (GRID[..., 0] < SIZE[0] - 1)  # the last column's border goes on
    assert (np.minimum(jump, np.abs(jump - 20))[whole] < 0.05).all()
    assert whole.mean() > 0.9


def test_sampling_reads_between_pixels_and_keeps_the_border() -> None:
    picture = GRID[..., 0].astype(np.float32)
    assert sampled(picture, GRID + 0.25 * RIGHT)[:, :-1] == pytest.approx(GRID[:, :-1, 0] + 0.25)
    assert sampled(picture, GRID + 500 * RIGHT) == pytest.approx(np.full(picture.shape, SIZE[0] - 1))
