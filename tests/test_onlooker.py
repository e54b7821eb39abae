"""To the eye the portrait moves as its driver does, whatever part of it is shown."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.fusion import exact_framing, guessed_camera, head_framing, portrait_framing
from narrate_stream.onlooker import SHIFT_LIMIT, Onlooker
from narrate_stream.ops.geometry import rotation_from_angles


def test_the_whole_photograph_is_taken_for_what_it_is(model: HybridModel) -> None:
    guessed = guessed_camera(portrait_framing(model, None))
    whole = guessed_camera(exact_framing(model, (256, 256)))  # at any size
    assert (whole.focal, whole.cx, whole.cy) == pytest.approx((guessed.focal, guessed.cx, guessed.cy), abs=0.6)
    middle = (np.array(model.frame_size) - 1) / 2
    x0, y0, scale = model.crop
    assert (guessed.cx, guessed.cy) == pytest.approx((middle - [x0, y0]) * scale, abs=0.6)


def test_a_part_seems_nearer_than_it_is(model: HybridModel) -> None:
    whole, head = (guessed_camera(f) for f in (portrait_framing(model, None), head_framing(model, 256)))
    assert head.focal < whole.focal
    onlooker = Onlooker(model, head_framing(model, 256))
    turn = onlooker.asked(rotation_from_angles(10, 0, 0))
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) > 10.5


def test_a_driver_who_comes_nearer_grows_the_portrait_by_as_much(model: HybridModel) -> None:
    onlooker = Onlooker(model, None)
    for distance in (45.0, 90.0):  # whatever the distance
        shift = onlooker.carried(np.array([0.0, 0, 0.06 * distance]), distance, 1.0)
        assert shift[2] == pytest.approx(0.06 * -model.translation[2], rel=0.01)


def test_a_move_is_softly_limited(model: HybridModel) -> None:
    moved = Onlooker(model, None).carried(np.array([50.0, 1.0, 0.0]), 55.0, 1.2)
    assert 1.2 * 0.9 * SHIFT_LIMIT[0] < moved[0] < 1.2 * SHIFT_LIMIT[0] + 1e-9
    assert moved[1] == pytest.approx(1.2)
