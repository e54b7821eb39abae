"""The colour of skin from melanin and blood."""

from __future__ import annotations

import numpy as np
import pytest

from offline.lightstage.tone import BLOOD, MELANIN, melanin_for, tone


def test_melanin_darkens_and_blood_reddens() -> None:
    melanin = np.geomspace(0.005, 0.5, 20).astype(np.float32)
    assert (np.diff(tone(melanin, np.full(20, 0.02, np.float32)), axis=0) < 1e-6).all()
    pale, flushed = tone(np.float32([0.02, 0.02]), np.float32([0.01, 0.05]))
    assert flushed[0] / flushed[1] > 1.2 * pale[0] / pale[1]


@pytest.mark.parametrize(("star", "red", "green"), [(71.0, 0.57, 0.39), (40.0, 0.19, 0.095), (60.0, 0.42, 0.25)])
def test_skin_of_a_measured_lightness_has_the_measured_colour(star: float, red: float, green: float) -> None:
    # L* with the a*, b* of spectrophotometer surveys (about 8, 15 pale; 11, 18 middle; 12, 17 dark).
    rgb = tone(np.float32([melanin_for(star, 0.03)]), np.float32([0.03]))[0]
    assert rgb[0] == pytest.approx(red, rel=0.06)
    assert rgb[1] == pytest.approx(green, rel=0.06)


def test_lightness_and_melanin_are_inverse() -> None:
    wanted = np.linspace(26, 72, 8)
    rgb = tone(np.float32([melanin_for(star, 0.03) for star in wanted]), np.full(8, 0.03, np.float32))
    assert np.allclose(116 * np.cbrt(rgb @ [0.2126, 0.7152, 0.0722]) - 16, wanted, atol=0.1)


def test_beyond_the_table_its_ends_are_taken() -> None:
    beyond = tone(np.float32([0.0, 5.0]), np.float32([0.0, 1.0]))
    assert np.allclose(beyond, tone(np.float32(MELANIN), np.float32(BLOOD)), atol=1e-6)
