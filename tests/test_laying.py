"""Laying light on the atlas: the tone curve, which pixels are done, and that bytes are what plain arithmetic gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from narrate_stream.laying import HEADROOM, ROLL, Laying, blocks_of, kneed, roll_below
from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.renderer import BLOCKS
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


def test_blocks_hold_everything_that_is_seen() -> None:
    seen = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(BLOCKS, BLOCKS)), (0, 0), 3) > 0.08
    seen[8:16] = False
    done = np.zeros((150, 101), np.uint8)
    blocks = blocks_of(seen, done.shape)
    for block in blocks:
        done[block] = 1
    row, column = (np.arange(n) * BLOCKS // n for n in done.shape)
    assert done[seen[row[:, None], column]].all()
    assert done[20:36].sum() == 0  # nothing is seen there
    assert seen.mean() < done.mean() < 0.8
    assert blocks_of(seen & False, done.shape) == []


def test_what_is_laid_is_albedo_times_light() -> None:
    model = toy_model(*rectangle((-1, -1, -50), (2, 0, 0), (0, 2, 0)))
    y, x = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    picture = np.stack([40 + 200 * x, 40 + 200 * y, 255 * np.ones_like(x)], -1).astype(np.uint8)
    light = np.stack([0.2 + x, 0.5 + 0 * x, 1.4 * y], -1).astype(np.float32)
    laying, seen = Laying(model), np.ones((BLOCKS, BLOCKS), np.bool_)
    made = laying(picture, light, ROLL, seen)
    plain = srgb_from_linear(kneed(linear_table()[picture] * light)) * 255
    assert np.abs(made - plain).max() < 2.6  # two roundings to bytes, the darkest counting most
    assert np.abs(made - plain).mean() < 0.5
    assert laying(picture, light, ROLL, seen) is made
    darker = laying(picture, light * np.float32(0.25), ROLL, seen)
    assert darker.mean() < 0.7 * plain.mean()
    assert laying(picture, np.full_like(light, 50 * HEADROOM), 0.0, seen).min() == 255


def test_what_comes_into_view_is_laid_then() -> None:
    model = toy_model(*rectangle((-1, -1, -50), (2, 0, 0), (0, 2, 0)))
    picture = np.full((SIDE, SIDE, 3), 200, np.uint8)
    light, laying, half = np.ones((SIDE, SIDE, 3), np.float32), Laying(model), np.zeros((BLOCKS, BLOCKS), np.bool_)
    half[:, : BLOCKS // 2] = True
    left = laying(picture, light, ROLL, half).copy()
    assert (left[:, : SIDE // 2] > 150).all()
    assert (left[:, SIDE // 2 :] == 0).all()
    assert (laying(picture, light, ROLL, ~half)[:, SIDE // 2 :] > 150).all()
