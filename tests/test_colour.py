"""sRGB, linear light and colour temperature against the standard's own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.colour import blackbody, linear_from_srgb, linear_table, luminance, srgb_from_linear, srgb_table


def test_known_values_of_the_standard() -> None:
    assert linear_from_srgb(np.array([0.0, 0.04045, 0.5, 1.0])) == pytest.approx([0, 0.0031308, 0.2140411, 1], abs=2e-6)
    assert srgb_from_linear(np.array([0.18, 2.0, -1.0])) == pytest.approx([0.4613561, 1, 0], abs=2e-6)


def test_every_byte_comes_back() -> None:
    bytes_ = np.arange(256)
    assert np.array_equal(np.round(srgb_from_linear(linear_table()) * 255), bytes_)
    assert np.array_equal(srgb_table()[np.round(np.sqrt(linear_table()) * 4095).astype(int)], bytes_)


def test_the_curve_rises_without_a_jump() -> None:
    curve = srgb_from_linear(np.linspace(0, 1, 5000))
    step = np.diff(curve)
    assert (step >= 0).all()
    assert step.max() < 0.0035


def test_luminance_weighs_green_most() -> None:
    assert luminance(np.ones(3)) == pytest.approx(1)
    red, green, blue = luminance(np.eye(3))
    assert green > red > blue


def test_warm_lights_are_red_and_cool_ones_blue() -> None:
    for kelvin in (1500, 2600, 5000, 6600, 9500, 14000):
        assert luminance(blackbody(kelvin)) == pytest.approx(1, abs=1e-5)
    ratio = [blackbody(k)[2] / blackbody(k)[0] for k in (1500, 2600, 4000, 5500, 6600, 8000, 12000)]
    assert (np.diff(ratio) > 0).all()
    assert blackbody(6600) == pytest.approx([1, 1, 1], abs=0.06)
