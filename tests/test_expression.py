"""The expression prior: faces pass, noise does not, a person's own ways stay, and what is hidden is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.drivers.channels import expressive_face
from narrate_stream.drivers.mesh import neutral_motion
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.expression import ALIKE, ExpressionPrior, across, expression_basis, lines_of_sight
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.types import Motion

STEP = 1 / 30
REST = canonical().landmarks
AHEAD = lines_of_sight(REST[:468], np.eye(3), np.array([0.0, 0.0, -60.0]))


def seen(moves: np.ndarray, angles: tuple[float, float, float] = (0, 0, 0)) -> Motion:
    """A detector sees the canonical face with these moves (468, 3) at some turn."""
    face = REST.copy()
    face[:468] += moves
    turn = rotation_from_angles(*angles).astype(np.float32)
    return replace(neutral_motion(), landmarks=face.astype(np.float32), rotation=turn, measured=True)


def mixed(seed: int) -> np.ndarray:
    """(468, 3) an expression of the basis, of usual strength."""
    modes = expression_basis().modes
    return np.tensordot(np.random.default_rng(seed).normal(0, 1, len(modes)), modes, 1)


def noise(seed: int, size: float = 0.03) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, (468, 3)) * [1, 1, 0]


def test_expressions_of_the_basis_pass_at_once() -> None:
    prior = ExpressionPrior()
    for seed in range(4):
        assert prior(seen(mixed(seed)), REST, STEP) == pytest.approx(mixed(seed), abs=0.03)


def test_fast_noise_is_damped_and_sustained_shapes_stay() -> None:
    prior, own = ExpressionPrior(), np.zeros((468, 3))
    own[[50, 205, 117]] = 0.4, -0.2, 0.0  # a cheek that no basis knows
    given = np.array([own + noise(i) for i in range(90)])
    kept = np.array([prior(seen(moves), REST, STEP) for moves in given])[30:]
    tremble = np.array([np.diff(track, axis=0).std() for track in (given[30:], kept)])
    assert tremble[1] < 0.8 * tremble[0]
    assert kept.mean(0)[[50, 205, 117]] == pytest.approx(own[[50, 205, 117]], abs=0.03)


def test_lids_and_lips_are_damped_least() -> None:
    fast = expression_basis().fast
    assert (fast >= 0).all()
    assert (fast <= 1).all()
    assert fast[[159, 145, 386, 374, 13, 14, 61, 291]].min() >= 0.69
    assert fast[[234, 454, 127, 356]].max() < 0.4  # the outline, which the detector guesses


def test_a_jump_of_the_detector_that_no_face_makes_is_held_back() -> None:
    prior, jump = ExpressionPrior(), np.zeros((468, 3))
    jump[[234, 93, 132]] = -0.8, 0.5, 0.0
    prior(seen(np.zeros((468, 3))), REST, STEP)
    found = prior(seen(jump), REST, STEP)
    assert np.linalg.norm(found[[234, 93, 132]]) < 0.7 * np.linalg.norm(jump)


def test_scripts_and_first_moments_are_taken_as_they_are() -> None:
    face = expressive_face({"mouthSmileLeft": 1.0, "jawOpen": 0.5})
    exact = replace(neutral_motion(), landmarks=face.astype(np.float32))
    prior = ExpressionPrior()
    wanted = (face - REST)[:468]
    assert prior(exact, REST, STEP) == pytest.approx(wanted, abs=1e-5)
    for seconds in (STEP, 0.0, 2.0):  # at first, for a still, after a pause
        moves = wanted + noise(7)
        assert prior(seen(moves), REST, seconds) == pytest.approx(moves, abs=1e-5)


def test_half_the_strength_damps_half() -> None:
    jump = noise(3)
    priors = [ExpressionPrior(strength=strength) for strength in (1.0, 0.5, 0.0)]
    for prior in priors:
        prior(seen(np.zeros((468, 3))), REST, STEP)
    whole, half, none = (prior(seen(jump), REST, STEP) for prior in priors)
    assert none == pytest.approx(jump, abs=1e-5)
    assert half == pytest.approx((whole + none) / 2, abs=1e-5)
    assert np.abs(whole - none).max() > 0.01


@pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (-10, 15, 5)])
def test_what_is_hidden_along_the_line_of_sight_is_known(angles: tuple[float, float, float]) -> None:
    moves, prior = mixed(5), ExpressionPrior()
    sight = lines_of_sight(REST[:468] + moves, rotation_from_angles(*angles), np.array([0.0, 0.0, -600.0]))
    found = prior.most_probable(across(moves, sight), sight)
    assert np.linalg.norm(found - moves, axis=-1).mean() < 0.1 * np.linalg.norm(moves, axis=-1).mean()


def test_the_precomputed_products_are_the_plain_least_squares() -> None:
    basis, prior = expression_basis(), ExpressionPrior()
    moves = mixed(1) + noise(2)
    middle = AHEAD.mean(0) / np.linalg.norm(AHEAD.mean(0))
    see = np.eye(3) - np.outer(middle, middle)
    rows = (basis.modes @ see / basis.noise[:, None] / ALIKE**0.5).reshape(len(basis.modes), -1).T
    wanted = (moves @ see / basis.noise[:, None] / ALIKE**0.5).ravel()
    ridge = np.concatenate([rows, np.eye(len(basis.modes))])
    share = np.linalg.lstsq(ridge, np.concatenate([wanted, np.zeros(len(basis.modes))]), rcond=None)[0]
    plain = np.tensordot(share, basis.modes, 1)
    assert prior.most_probable(moves, AHEAD) == pytest.approx(plain, abs=1e-6)


def test_lines_of_sight() -> None:
    face = np.array([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    assert lines_of_sight(face, np.eye(3), np.array([0.0, 0.0, -12.0])) == pytest.approx(
        np.array([[0, 0, -1], [3 / 13, 4 / 13, -12 / 13]])
    )
    turned = lines_of_sight(face[:1], rotation_from_angles(90, 0, 0), np.array([0.0, 0.0, -12.0]))
    assert turned @ rotation_from_angles(90, 0, 0).T == pytest.approx(np.array([[0, 0, -1]]), abs=1e-9)
