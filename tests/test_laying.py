"""Laying light on the atlas: the tone curve, which pixels are done, and that bytes are what plain arithmetic gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from narrate_stream.laying import HEADROOM, MARGIN, ROLL, Laying, blocks_of, kneed, roll_below, shared_out
from narrate_stream.ops.colour import linear_table, srgb_from_linear
from tests.toy_model import SIDE, rectangle, toy_model


def test_a_roll_off_ends_at_white_and_begins_with_none() -> None:
    x = np.linspace(0, 4, 400)
    assert kneed(x, roll_below(1.0)) == pytest.approx(x)
    assert kneed(x, roll_below(0.5)) == pytest.approx(x)
    assert kneed(np.array(4.0), roll_below(4.0)) == pytest.approx(1)
    assert (np.diff(kneed(x, roll_below(4.0))) > 0).all()
    assert kneed(x, roll_below(1e9)) == pytest.approx(kneed(x), abs=1e-6)


def test_highlights_roll_off_and_never_clip_early() -> None:
    x = np.linspace(0, 50, 2000)
    y = kneed(x)
    assert (np.diff(y) > 0).all()
    assert y.max() < 1
    assert y[x < 0.82] == pytest.approx(x[x < 0.82])
    assert np.diff(y).max() <= np.diff(x).max() * 1.001


def test_blocks_hold_everything_that_is_covered_and_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    alpha = cv2.GaussianBlur(rng.normal(size=(300, 200)), (0, 0), 20)
    seen = np.where(alpha > 0.02, 200, 0).astype(np.uint8)
    done = np.zeros((150, 100), np.uint8)
    blocks = blocks_of(seen, done.shape)
    for block in blocks:
        done[block] += 1
    wanted = cv2.dilate(seen[::2, ::2], np.ones((2 * MARGIN + 1,) * 2, np.uint8)) > 0
    assert (done[wanted] == 1).all()
    assert done.max() == 1
    assert [block for band in shared_out(blocks) for block in band] == blocks
    assert shared_out([]) == [[], []]


def test_what_is_laid_is_albedo_times_light() -> None:
    model = toy_model(*rectangle((-1, -1, -50), (2, 0, 0), (0, 2, 0)))
    y, x = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    picture = np.stack([40 + 200 * x, 40 + 200 * y, 255 * np.ones_like(x)], -1).astype(np.uint8)
    light = np.stack([0.2 + x, 0.5 + 0 * x, 1.4 * y], -1).astype(np.float32)
    laying = Laying(model)
    made = laying(picture, light, ROLL)
    plain = srgb_from_linear(kneed(linear_table()[picture] * light)) * 255
    assert np.abs(made - plain).max() < 2.6  # two roundings to bytes, the darkest counting most
    assert np.abs(made - plain).mean() < 0.5
    assert laying(picture, light, ROLL) is made
    darker = laying(picture, light * np.float32(0.25), ROLL)
    assert darker.mean() < 0.7 * plain.mean()
    assert laying(picture, np.full_like(light, 50 * HEADROOM), 0.0).min() == 255
