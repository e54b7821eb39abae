"""Photometric stereo on a sphere whose normals are known."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.errors import NarrateError
from narrate_stream.ops.lighting import direction
from offline.evaluate.metrics import angles_between
from offline.evaluate.stereo import photometric_stereo, powers

SIZE = 48
ANGLES = [(az, el) for az in range(-75, 76, 25) for el in (-40, -15, 10, 40)]


def sphere() -> tuple[np.ndarray, np.ndarray]:
    """Normals (S, S, 3) and where the sphere is seen less than 65 degrees from its side."""
    y, x = np.mgrid[1 : -1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    return np.stack([x, y, z], -1), z > np.cos(np.radians(65))


def photographs(gain: np.ndarray, spoil: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lambert pictures (K, S, S) of the sphere, its albedo, and the lights; `spoil`: share of blackouts and glare."""
    rng = np.random.default_rng(seed)
    lights = np.stack([direction(*a) for a in ANGLES])
    normal, _ = sphere()
    albedo = 0.55 + 0.2 * np.sin(np.arange(SIZE) / 5)[None] * np.ones((SIZE, 1))
    shade = np.einsum("hwc,kc->khw", normal, lights).clip(0) * albedo * gain[:, None, None]
    shade = shade + rng.normal(0, 0.004, shade.shape)
    at = rng.random(shade.shape)
    shade[at < spoil] = 0.01  # cast shadow
    shade[at > 1 - spoil / 2] += 0.5  # highlight
    return np.clip(shade, 0, 1), albedo, lights


def test_a_clean_sphere() -> None:
    pictures, albedo, lights = photographs(np.ones(len(ANGLES)), 0)
    normal, seen = sphere()
    found = photometric_stereo(pictures, lights)
    error = angles_between(found.normal, normal)[seen]
    assert error.mean() < 0.5
    assert error.max() < 2.5  # at the rim few lights are left, and the pictures have noise
    assert found.albedo[seen] == pytest.approx(albedo[seen], rel=0.02)
    assert found.support[seen].min() > 5


def test_shadow_glare_saturation_and_strobes() -> None:
    rng = np.random.default_rng(0)
    gain = rng.uniform(0.88, 1.12, len(ANGLES))
    gain /= np.median(gain)
    pictures, _, lights = photographs(gain, 0.15)
    pictures = np.clip(pictures * 1.5, 0, 1)  # the brightest places saturate
    assert (pictures >= 1).mean() > 0.03
    normal, seen = sphere()
    found = photometric_stereo(pictures, lights)
    error = angles_between(found.normal, normal)
    assert np.median(error[seen]) < 1
    trusted = seen & (found.support > 8) & (found.residual < 0.07)
    assert trusted.sum() > 0.6 * seen.sum()
    assert error[trusted].mean() < 1.2
    assert (error[trusted] < 5).mean() > 0.985
    assert found.gain == pytest.approx(gain, abs=0.05)


def test_plain_least_squares_would_fail_there() -> None:
    pictures, _, lights = photographs(np.ones(len(ANGLES)), 0.2)
    flat = np.linalg.lstsq(lights, np.clip(pictures, 0, 1).reshape(len(lights), -1), rcond=None)[0].T
    normal, seen = sphere()
    assert angles_between(flat.reshape(SIZE, SIZE, 3), normal)[seen].mean() > 5


def test_powers_ignore_what_has_no_weight() -> None:
    cosine = np.full((3, 100), 0.8)
    level = cosine * np.array([1, 2, 1])[:, None]
    weight = np.ones((3, 100))
    level[1, :50], weight[1, :50] = 0.0, 0.0
    weight[2] = 0.0
    assert powers(level, cosine, weight).tolist() == pytest.approx([1, 2, 1])


def test_too_few_lights() -> None:
    with pytest.raises(NarrateError, match="six photographs"):
        photometric_stereo(np.ones((5, 4, 4)), np.ones((5, 3)))
