"""One-Euro: calm at rest, prompt in motion, reset by gaps."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.smoothing import OneEuro, smoothing_factor

STEP = 1 / 30


def test_the_first_sample_passes_and_a_constant_stays() -> None:
    f = OneEuro(1.0, 0.1)
    for _ in range(20):
        assert f(np.array([3.0, -2.0]), STEP) == pytest.approx([3, -2])


def test_noise_at_rest_is_calmed() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (300, 1, 3))
    f = OneEuro(1.0, 0.0)
    out = np.array([f(x, STEP) for x in noise])
    assert out[60:].std() < 0.4 * noise.std()


def test_speed_opens_the_filter() -> None:
    ramp = np.arange(60)[:, None] * 0.5
    lag = {}
    for beta in (0.0, 1.0):
        f = OneEuro(1.0, beta)
        lag[beta] = float((ramp[-1] - [f(x, STEP) for x in ramp][-1])[0])
    assert lag[1.0] < 0.25 * lag[0.0]
    assert lag[1.0] >= 0


def test_each_row_has_its_own_cutoff() -> None:
    f = OneEuro(1.0, 1.0)
    f(np.zeros((2, 3)), STEP)
    for i in range(1, 30):
        out = f(np.array([[i * 1.0, 0, 0], [0.01 * (-1) ** i, 0, 0]]), STEP)
    assert out[0, 0] > 28.5
    assert abs(out[1, 0]) < 0.005


@pytest.mark.parametrize("gap", [0.0, -1.0, 0.6])
def test_a_gap_forgets_the_past(gap: float) -> None:
    f = OneEuro(0.5, 0.0)
    f(np.zeros(2), STEP)
    assert f(np.ones(2), gap) == pytest.approx([1, 1])


def test_reset_forgets_the_past() -> None:
    f = OneEuro(0.5, 0.0)
    f(np.zeros(2), STEP)
    f.reset()
    assert f(np.ones(2), STEP) == pytest.approx([1, 1])


def test_a_first_order_low_pass_reaches_two_thirds_in_one_time_constant() -> None:
    cutoff, step = 2.0, 1e-4
    tau = 1 / (2 * np.pi * cutoff)
    left = (1 - smoothing_factor(cutoff, step)) ** round(tau / step)
    assert left == pytest.approx(np.exp(-1), rel=1e-2)
