"""The measures, on pictures whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from narrate_stream.ops.geometry import rotation_from_angles
from offline.evaluate import metrics


@pytest.mark.parametrize("angle", [0.0, 0.001, 7.0, 90.0, 179.0])
def test_angles_between(angle: float) -> None:
    a = np.array([[0, 0, 2.0], [1.0, 0, 1.0]])
    b = a @ rotation_from_angles(angle, 0, 0).T * 3
    assert metrics.angles_between(a, b) == pytest.approx([angle, angle], abs=1e-6)


def test_angle_table() -> None:
    row = metrics.angle_table(np.array([1.0, 10, 20, 26, 43]))
    assert row == {"<5": 20, "<15": 40, "<25": 60, "<30": 80, "mean": 20, "median": 20}


def test_psnr_and_rmse_count_only_the_mask() -> None:
    a, b, mask = np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 8), bool)
    mask[:4] = True
    a[:4], a[4:] = 0.1, 1.0
    assert metrics.rmse(a, b, mask) == pytest.approx(0.1)
    assert metrics.psnr(a, b, mask) == pytest.approx(20)
    assert metrics.psnr(b, b, mask) == 100


def test_ssim() -> None:
    rng = np.random.default_rng(0)
    a, mask = rng.random((40, 40)), np.ones((40, 40), bool)
    assert metrics.ssim(a, a, mask) == pytest.approx(1)
    assert metrics.ssim(a, 1 - a, mask) < -0.5
    noisy = [metrics.ssim(a, a + rng.normal(0, s, a.shape), mask) for s in (0.05, 0.2)]
    assert 1 > noisy[0] > noisy[1] > 0


def test_ssim_agrees_with_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(1)
    a = rng.random((64, 64))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    mask = np.zeros((64, 64), bool)
    mask[8:-8, 8:-8] = True
    full = structural_similarity(
        a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1]
    assert metrics.ssim(a, b, mask) == pytest.approx(float(full[mask].mean()), abs=2e-3)


def test_likeness_allows_one_gain() -> None:
    rng = np.random.default_rng(2)
    real, mask = rng.uniform(0.1, 0.5, (30, 30)), np.ones((30, 30), bool)
    row = metrics.likeness(real * 1.7, real, mask)
    assert row["rmse"] < 1e-9
    assert row["ssim"] == pytest.approx(1)
    assert metrics.best_gain(np.zeros((3, 3)), np.ones((3, 3)), np.ones((3, 3), bool)) == 1


def test_mean_row_skips_what_is_missing() -> None:
    row = metrics.mean_row([{"a": 1.0, "b": 2.0}, {"a": 3.0}, {"a": math.nan, "c": math.nan}])
    assert (row["a"], row["b"]) == (2, 2)
    assert math.isnan(row["c"])


def test_text_table() -> None:
    text = metrics.text_table(
        {"flat": {"mean": 37.25}, "x": {"mean": 1.0, "<5": 99.96}}, {"<5": "5.1f", "mean": "5.1f"}
    )
    assert text.splitlines() == ["         <5   mean", "flat      -   37.2", "x     100.0    1.0"]
