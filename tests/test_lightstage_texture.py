"""Noise, masks and looks."""

from __future__ import annotations

import numpy as np
import pytest

from offline.lightstage.texture import blob, look, mix, noise, smoothstep


def test_look_is_bilinear_and_held_at_the_edges() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    at = np.array([[0, 1.5, 2, -5, 9], [0, 2, 2.5, 1, 9]])
    assert look(image, at)[:, 0] == pytest.approx([0, 8, 10.5, 1, 11])


def test_look_takes_more_points_than_opencv_in_one_row() -> None:
    image = np.arange(4, dtype=np.float32)[:, None, None]
    rows = np.arange(40001) % 4
    assert np.array_equal(look(image, np.stack([rows, 0 * rows]))[:, 0], rows)


@pytest.mark.parametrize("fine", [False, True])
def test_noise_repeats_and_has_unit_variance(fine: bool) -> None:
    points = np.random.default_rng(0).uniform(-20, 20, (20000, 3)).astype(np.float32)
    values = noise(3, points, 8.0, 1, fine=fine)
    moved = noise(3, points + np.float32([8, -16, 0]), 8.0, 1, fine=fine)
    assert np.abs(values - moved).max() < 0.1  # OpenCV looks in steps of 1/32 of a sample
    assert np.abs(values - moved).mean() < 1e-4
    assert values.mean() == pytest.approx(0, abs=0.05)
    assert 0.5 < values.std() < 1.05  # looking between the samples flattens the fine one


def test_people_and_layers_have_noise_of_their_own() -> None:
    points = np.random.default_rng(0).uniform(-20, 20, (20000, 3)).astype(np.float32)
    values, person, layer = (noise(seed, points, 8.0, n, fine=True) for seed, n in ((3, 1), (4, 1), (3, 2)))
    assert abs(np.corrcoef(values, person)[0, 1]) < 0.05
    assert abs(np.corrcoef(values, layer)[0, 1]) < 0.05


def test_masks() -> None:
    assert smoothstep(np.array([-3.0, 1.0, 2.0, 3.0, 9.0]), 1, 3) == pytest.approx([0, 0, 0.5, 1, 1])
    points = np.float32([(2, 1, 0), (-2, 1, 0), (2, 1, 3)])
    assert blob(points, (2, 1, 0), (1, 1, 3)) == pytest.approx([1, 1, np.exp(-0.5)])
    mixed = mix(np.zeros((2, 3), np.float32), (1.0, 0.5, 0.0), np.float32([0, 0.5]))
    assert mixed == pytest.approx(np.array([(0, 0, 0), (0.5, 0.25, 0)]))
