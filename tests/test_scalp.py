"""Hair: told from skin, continued round the back, with strands of its own."""

from __future__ import annotations

import numpy as np
import pytest

from offline import scalp

UNIT = 0.2
SKIN, HAIR, EAR = (190, 140, 112), (60, 38, 25), (150, 90, 70)


def head() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A face under a head of hair, with ears beside it: colours, where the matte is sure, face, height in cm."""
    y, x = np.mgrid[:120, :100]
    colours = np.full((120, 100, 3), SKIN, np.uint8)
    solid = ((x - 50) / 40) ** 2 + ((y - 60) / 55) ** 2 < 1
    face = ((x - 50) / 24) ** 2 + ((y - 65) / 35) ** 2 < 1
    height = (60.0 - y) * UNIT
    colours[solid & ~face & (height > 2)] = HAIR
    colours[58:76, 16:22] = EAR
    return colours, solid, face, height


def seen() -> scalp.SeenHair:
    colours, solid, face, height = head()
    albedo = (colours / 255.0) ** 2.2
    return scalp.seen_hair(albedo.astype(np.float32), colours, solid, face, height, UNIT)


def test_skin_is_told_from_hair() -> None:
    skin = np.array([0.5, 0.3, 0.2]) * np.random.default_rng(2).uniform(0.9, 1.1, (500, 1))
    found = scalp.like_skin(np.array([[[0.48, 0.29, 0.2], [0.05, 0.04, 0.03]]]), skin)
    assert found.tolist() == [[True, False]]


def test_hair_is_above_and_neither_face_nor_ear() -> None:
    hair = seen()
    assert hair.there[10, 50] > 0.9
    assert hair.there[30, 20] > 0.9
    assert hair.there[85, 20] < 0.1
    dark = (np.array(HAIR) / 255.0) ** 2.2
    assert hair.mean[:3] == pytest.approx(dark, rel=0.3)
    assert hair.both[30, 20, :3] == pytest.approx(dark, rel=0.2)


def test_a_bald_head_has_none() -> None:
    colours, solid, face, height = head()
    plain = np.full_like(colours, SKIN)
    bald = scalp.seen_hair(((plain / 255.0) ** 2.2).astype(np.float32), plain, solid, face, height, UNIT)
    assert bald.there.max() < 0.05


def test_pieces_that_do_not_reach_the_outline_are_shine() -> None:
    solid = np.ones((60, 60), np.bool_)
    solid[:4] = False
    mask = np.zeros_like(solid)
    mask[4:20, 10:50] = True
    mask[40:48, 20:30] = True
    kept = scalp.at_outline(mask, solid)
    assert kept[12, 30]
    assert not kept[44, 25]


def test_rows_end_where_they_turn_away_and_what_is_there_goes_round() -> None:
    period, rows = 64, 9
    angle = np.arange(period + 4) % period * 2 * np.pi / period
    facing = np.tile(np.cos(angle), (rows, 1))  # the front is column 0
    ends = scalp.ends_of(facing, period)
    limit = np.arccos(scalp.EDGE) / (2 * np.pi) * period
    assert ends.column[4] == pytest.approx([limit, period - limit], abs=1.2)
    assert ends.back[4, 0] == 0
    assert ends.back[4, period // 2] == pytest.approx(0.5, abs=0.05)
    at = np.stack(np.broadcast_arrays(50 + 40 * np.sin(angle), np.arange(rows)[:, None] * 1.0), -1)
    picture = np.zeros((rows, 101, 1), np.float32)
    picture[:, :50], picture[:, 50:] = 0.2, 0.8
    there = scalp.continued(picture, at, ends)[4, :, 0]
    assert there[int(limit) + 4] == pytest.approx(0.8, abs=0.02)
    assert there[period - int(limit) - 4] == pytest.approx(0.2, abs=0.02)
    assert there[period // 2] == pytest.approx(0.5, abs=0.08)


def test_colour_hangs_down_where_none_is_known() -> None:
    colour = np.full((80, 6, 3), 0.9, np.float32)
    colour[:40] = 0.1
    sure = np.zeros((80, 6), np.float32)
    sure[:40] = 1
    assert scalp.hanging(colour, sure, np.full(3, 0.1, np.float32)) == pytest.approx(np.full((80, 6, 3), 0.1))
    late = scalp.hanging(colour, np.ones((80, 6), np.float32), np.full(3, 0.1, np.float32))
    assert late[79] == pytest.approx(np.full((6, 3), 0.9), abs=0.02)


def test_strands_run_down_close_round_and_are_the_same_for_everyone() -> None:
    made = scalp.strands((96, 132), 128)
    assert np.array_equal(made, scalp.strands((96, 132), 128))
    assert abs(made.mean()) < 0.15
    assert made.std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.diff(made, axis=1)).mean() > 2 * np.abs(np.diff(made, axis=0)).mean()
    assert made[:, 128:] == pytest.approx(made[:, :4], abs=1e-4)


def test_what_was_not_seen_turns_no_farther_away_than_its_outline() -> None:
    normal = np.array([[[0.0, 0.0, 1.0], [0.8, 0.0, 0.6], [0.8, 0.0, -0.6], [0.6, 0.0, -0.8]]])
    made = scalp.dipped(normal, np.ones((1, 4)))
    assert np.linalg.norm(made, axis=-1) == pytest.approx(np.ones((1, 4)))
    assert made[0, :2] == pytest.approx(normal[0, :2])
    assert (made[0, 2:, 2] > 0).all()
    assert scalp.dipped(normal, np.zeros((1, 4))) == pytest.approx(normal)
