"""`eval shading`: its numbers on made-up pictures, and once on the built-in portrait."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.errors import LightError
from narrate_stream.types import Image, View
from offline.evaluate.shading import TILE, Shot, evaluate_shading, fitted, summary, view_name


def test_a_row() -> None:
    truth = np.full((100, 3), 0.5)
    shadow = np.arange(100) < 40
    live = truth + np.where(shadow, 0.1, 0.01)[:, None]
    row = Shot(truth, truth + 0.2, live, truth, shadow).row()
    assert row["lit"] == pytest.approx(40)
    assert row["shadow"] == pytest.approx(20)
    assert row["live"] == pytest.approx(-10 * np.log10(0.4 * 0.01 + 0.6 * 0.0001))
    assert row["exact"] == 100
    assert row["unhidden"] == pytest.approx(-20 * np.log10(0.2))
    assert row["bias"] == pytest.approx(255 * 0.046)
    assert row["dark"] == 40


def test_too_few_pixels_get_no_number() -> None:
    truth = np.full((100, 3), 0.5)
    assert np.isnan(Shot(truth, truth, truth, truth, np.arange(100) < 5).row()["shadow"])


def test_means() -> None:
    rows = {
        ("a", "+0+0", "rim"): {"live": 30.0},
        ("a", "+0+0", "split"): {"live": 20.0},
        ("b", "+0+0", "rim"): {"live": 40.0},
    }
    found = summary(rows)
    assert found["lights"] == {"rim": {"live": 35.0}, "split": {"live": 20.0}, "mean": {"live": 30.0}}
    assert found["models"]["a"] == {"live": 25.0}
    assert found["shots"]["b, +0+0, rim"] == {"live": 40.0}
    assert view_name(View(25, -8)) == "+25-8"


def test_tiles_are_square_and_whole() -> None:
    tile = fitted(np.full((10, 20, 3), 200, np.uint8))
    assert tile.shape == (TILE, TILE, 3)
    assert (tile == 200).mean() == pytest.approx(0.5, abs=0.01)


def test_the_built_in_portrait(model: HybridModel) -> None:
    sheet: list[Image] = []
    found = evaluate_shading(
        {"astronaut": model},
        lights=("sun:30,20", "flat"),
        views=(View(), View(20, 0)),
        size=128,
        samples=16,
        sheet=sheet,
    )
    assert list(found["lights"]) == ["sun:30,20", "flat", "mean"]
    assert len(found["shots"]) == 4
    for row in found["shots"].values():
        assert row["exact"] > 20  # the same surface in the same light
        assert row["live"] > 18
        assert row["exact"] > row["live"] - 1
    assert [line.shape for line in sheet] == [(TILE, 6 * TILE, 3)] * 2


def test_a_light_that_is_none(model: HybridModel) -> None:
    with pytest.raises(LightError):
        evaluate_shading({"astronaut": model}, lights=("moon",))
