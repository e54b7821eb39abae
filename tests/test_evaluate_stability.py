"""Steadiness: known wobbles, noise that repeats, and lags that a filter is known to have."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream import retarget
from narrate_stream.bundle import HybridModel
from narrate_stream.fusion import head_framing
from narrate_stream.ops.smoothing import OneEuro
from narrate_stream.pipeline import Pipeline, still_motion
from narrate_stream.renderer import Renderer
from narrate_stream.types import Frame
from offline.evaluate.clips import Judge
from offline.evaluate.stability import lags, landmarks_on_screen, noisy, steadiness, wobble


def test_wobble_is_the_mean_distance_from_the_mean_place() -> None:
    still = np.zeros((20, 478, 2))
    assert wobble(still) == 0
    still[::2] += [3, 4]
    assert wobble(still) == pytest.approx(2.5)
    still[3] = np.nan
    assert np.isfinite(wobble(still))
    assert np.isnan(wobble(still[:1]))


def test_noise_is_a_webcams_and_repeats() -> None:
    grey = np.full((128, 128, 3), 120, np.uint8)
    first, again, other = noisy(grey, 3), noisy(grey, 3), noisy(grey, 4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert 0.5 < float((first.astype(float) - grey).std()) < 6
    assert float(first.mean()) == pytest.approx(120, abs=0.5)


def test_nothing_comes_later_than_a_frame(model: HybridModel, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lags(model)
    assert set(found) == {"lag_yaw", "lag_mouth", "lag_lids", "lag_gaze"}
    assert all(abs(lag) < 0.5 for lag in found.values())
    monkeypatch.setattr(retarget, "OneEuro", lambda *_: OneEuro(4.0, 0.0))  # 40 ms at rest and in haste
    assert lags(model)["lag_yaw"] > 0.8


def test_landmarks_are_where_the_picture_shows_them(model: HybridModel) -> None:
    renderer = Renderer(model, head_framing(model, 512))
    places = landmarks_on_screen(renderer, still_motion())
    judge = Judge()
    found = judge(Pipeline(model, size=512).step(Frame(np.zeros((8, 8, 3), np.uint8))).image)[:468, :2]
    judge.close()
    assert np.linalg.norm(places - found, axis=-1).mean() < 4


def test_a_still_driver_makes_a_still_avatar(model: HybridModel) -> None:
    """The aim of half a pixel, with the built-in portrait driving itself."""
    picture = Pipeline(model, size=512).step(Frame(np.zeros((8, 8, 3), np.uint8))).image
    judge = Judge()
    found = steadiness(model, picture, judge)
    judge.close()
    assert 0 < found["wobble_px"] < 0.5
    assert 0 < found["driver_px"] < 2
    assert found["seen_px"] < 0.7
