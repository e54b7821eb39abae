"""Soft limits: the identity where a model is believable, smooth and bounded beyond."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.geometry import angles_from_rotation, rotation_from_angles
from narrate_stream.ops.limits import BELIEVABLE, MOST, eased, eased_turn


def test_easing_is_smooth_odd_and_bounded() -> None:
    x = np.linspace(-200, 200, 4001)
    y = eased(x, 35.0, 48.0)
    assert (np.diff(y) >= 0).all()
    assert y == pytest.approx(-y[::-1])
    assert y[np.abs(x) <= 35] == pytest.approx(x[np.abs(x) <= 35])
    assert np.abs(y).max() <= 48
    slope = np.gradient(y, x)
    assert np.abs(np.diff(slope)).max() < 0.01  # no corner: it eases, it does not clamp


@pytest.mark.parametrize("angles", [(0, 0, 0), (35, 0, 0), (-34, 19, -19), (0, -20, 20)])
def test_what_is_believable_is_followed_exactly(angles: tuple[float, float, float]) -> None:
    turn = rotation_from_angles(*(0.999 * a for a in angles))
    shown, held_back = eased_turn(turn)
    assert shown is turn
    assert not held_back.any()


@pytest.mark.parametrize("angles", [(50, 0, 0), (-80, 0, 0), (0, 40, 0), (10, -25, -50), (60, 30, 30)])
def test_what_is_not_is_held_back_and_told(angles: tuple[float, float, float]) -> None:
    shown, held_back = eased_turn(rotation_from_angles(*angles))
    found = angles_from_rotation(shown)
    assert (np.abs(found) <= MOST).all()
    assert found + held_back == pytest.approx(angles)
    inside = np.abs(angles) <= BELIEVABLE
    assert found[inside] == pytest.approx(np.array(angles)[inside])
    assert (np.abs(held_back[~inside]) > 0).all()
