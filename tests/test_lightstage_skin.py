"""Procedural materials of synthetic heads, on a made-up head: a ball with landmarks where a face has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from offline.lightstage.eyes import eye_at, mouth_at
from offline.lightstage.person import Skin, sample_skin
from offline.lightstage.skin import Surface, skin_at
from offline.lightstage.tone import melanin_for

LEFT_EYE = [(1.8, 3.3), (2.8, 3.9), (3.9, 3.9), (4.5, 3.4), (3.9, 3.1), (2.7, 3.1)]
MOUTH = [(-2.5, -3.5), (-1.7, -2.8), (-0.7, -2.4), (0.0, -2.5), (0.7, -2.4), (1.7, -2.8), (2.5, -3.5), (1.8, -4.1)]
MOUTH += [(1.0, -4.3), (0.0, -4.4), (-1.0, -4.3), (-1.8, -4.1), (-2.2, -3.5), (-1.0, -3.3), (0.0, -3.3), (1.0, -3.3)]
MOUTH += [(2.2, -3.5), (1.0, -3.4), (0.0, -3.4), (-1.0, -3.4)]
LEFT_BROW = [(1.2, 5.9), (2.4, 6.2), (3.8, 6.3), (4.9, 6.0), (5.8, 5.2)]


def front(x: float, y: float) -> tuple[float, float, float]:
    return x, y, 10.5 - 0.04 * x * x


@pytest.fixture(scope="module")
def marks() -> np.ndarray:
    jaw = [(7.4 * np.sin(a), 3.7 - 11.2 * np.cos(a), 4.0 + 6.4 * np.cos(a)) for a in np.linspace(-1.57, 1.57, 17)]
    brow = [front(-x, y) for x, y in LEFT_BROW[::-1]] + [front(x, y) for x, y in LEFT_BROW]
    nose = [front(0, 3.7 - 1.1 * i) for i in range(4)] + [front(0.6 * i, -1.1) for i in range(-2, 3)]
    right_eye = [front(-LEFT_EYE[i][0], LEFT_EYE[i][1]) for i in (3, 2, 1, 0, 5, 4)]
    left_eye = [front(x, y) for x, y in LEFT_EYE]
    return np.float32(jaw + brow + nose + right_eye + left_eye + [front(x, y) for x, y in MOUTH])


@pytest.fixture
def plain() -> Skin:
    """Someone without hair, make-up, spots or unevenness."""
    off = "mottle freckles circles flush scalp stubble moustache beard lipstick liner shadow blush yellow age recession"
    skin = replace(sample_skin(np.random.default_rng(1)), moles=0, **dict.fromkeys(off.split(), 0.0))
    ink = (0.02, 0.015, 0.01)
    return replace(skin, melanin=melanin_for(62.0, 0.02), blood=0.02, hair=ink, brow=ink)


def colour(skin: Skin, marks: np.ndarray, x: float, y: float) -> np.ndarray:
    """Mean albedo of a patch of the face."""
    patch = np.float32([front(x + 0.06 * i, y + 0.06 * j) for i in range(-2, 3) for j in range(-2, 3)])
    return skin_at(skin, patch, marks).albedo.mean(0)


def grid() -> np.ndarray:
    direction = np.random.default_rng(3).standard_normal((4000, 3))
    return np.float32(direction / np.linalg.norm(direction, axis=1, keepdims=True) * 11 + (0, 2, 0))


def assert_in_range(surface: Surface, count: int) -> None:
    assert surface.albedo.shape == (count, 3)
    for value in (surface.albedo, surface.roughness, surface.specular, surface.bump):
        assert value.dtype == np.float32
        assert np.isfinite(value).all()
        assert len(value) == count
    assert surface.albedo.min() > 0
    assert surface.albedo.max() < 0.96
    assert surface.roughness.min() >= 0.05
    assert surface.roughness.max() <= 1
    assert surface.specular.min() >= 0
    assert surface.specular.max() <= 1
    assert np.abs(surface.bump).max() < 0.2


@pytest.mark.parametrize("seed", range(6))
def test_everything_stays_in_range(seed: int, marks: np.ndarray) -> None:
    skin, points = sample_skin(np.random.default_rng(seed)), grid()
    assert_in_range(skin_at(skin, points, marks), len(points))
    assert_in_range(eye_at(skin, points, marks), len(points))
    assert_in_range(mouth_at(skin, points, "teeth"), len(points))
    assert_in_range(mouth_at(skin, points, "gums"), len(points))


def test_the_same_person_twice(marks: np.ndarray) -> None:
    one, two = (sample_skin(np.random.default_rng(5)) for _ in range(2))
    assert one == two
    assert np.array_equal(skin_at(one, grid(), marks).albedo, skin_at(two, grid(), marks).albedo)


def test_a_point_looks_the_same_whatever_else_is_asked(plain: Skin, marks: np.ndarray) -> None:
    skin, points = replace(plain, mottle=1.0, shadow=0.4, moles=3), grid()
    whole, part = skin_at(skin, points, marks), skin_at(skin, points[1000:1300], marks)
    assert np.allclose(whole.albedo[1000:1300], part.albedo, atol=1e-5)
    assert np.allclose(whole.bump[1000:1300], part.bump, atol=1e-5)


def test_brows_lips_and_lashes_are_where_the_landmarks_are(plain: Skin, marks: np.ndarray) -> None:
    cheek = colour(plain, marks, 4.3, 0.0)
    assert colour(plain, marks, 3.4, 6.2).sum() < 0.6 * cheek.sum()
    lip = colour(plain, marks, 0.8, -3.9)
    assert lip[0] / lip[1] > 1.15 * cheek[0] / cheek[1]
    assert np.allclose(colour(plain, marks, 4.3, 0.6), cheek, rtol=0.03)


def test_beard_and_hair_cover_only_their_places(plain: Skin, marks: np.ndarray) -> None:
    bearded = replace(plain, beard=0.9, moustache=0.9)
    assert colour(bearded, marks, 0.0, -6.5).sum() < 0.5 * colour(plain, marks, 0.0, -6.5).sum()
    assert np.allclose(colour(bearded, marks, 0.0, -3.9), colour(plain, marks, 0.0, -3.9))
    assert np.allclose(colour(bearded, marks, 3.0, 1.5), colour(plain, marks, 3.0, 1.5))
    crown = np.float32([[0, 14, 0], [3, 13, -3]])
    assert skin_at(replace(plain, scalp=0.9), crown, marks).albedo.max() < 0.12
    assert skin_at(plain, crown, marks).albedo.min() > 0.12


def test_wrinkles_come_with_age(plain: Skin, marks: np.ndarray) -> None:
    forehead = np.float32([front(0.2 * x, 7.2 + 0.05 * y) for x in range(-8, 8) for y in range(50)])
    young, old = (skin_at(replace(plain, age=age), forehead, marks).bump for age in (0.0, 1.0))
    assert old.std() > 1.5 * young.std()


def test_eye_has_pupil_iris_and_white(plain: Skin, marks: np.ndarray) -> None:
    middle = marks[42:48].mean(0)
    points = np.float32([(-0.05, 0.17, 0), (0.35, 0.17, 0), (-0.05, 1.07, 0), (-0.05, 0.27, -6)]) + middle
    pupil, iris, white, behind = eye_at(replace(plain, iris=(0.09, 0.13, 0.18)), points, marks).albedo
    assert pupil.max() < 0.01
    assert iris[2] > iris[0] > 0.02
    assert white.min() > 0.3
    assert behind.min() > 0.3


def test_other_kinds_of_mouth_are_refused(plain: Skin) -> None:
    with pytest.raises(ValueError, match="teeth or gums"):
        mouth_at(plain, grid(), "lips")
