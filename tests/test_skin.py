"""What beside the face is skin: known pictures."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.types import Image
from offline import skin

SKIN, HAIR = (205, 150, 120), (60, 38, 25)
UNIT = 0.1


def picture(left: tuple[int, int, int], right: tuple[int, int, int]) -> tuple[Image, np.ndarray, np.ndarray]:
    """A face between two pictures of what is beside it; its outline; the matte."""
    colours = np.full((120, 160, 3), SKIN, np.uint8)
    colours[:, :40], colours[:, 120:] = left, right
    face = np.zeros((120, 160), np.bool_)
    face[10:110, 40:120] = True
    return colours, face, np.ones((120, 160), np.float32)


def test_an_ear_is_skin_and_hair_is_not() -> None:
    bare = skin.bare_skin(*picture(SKIN, HAIR), UNIT)
    assert (bare[40:80, 20:38] > 0.95).all()
    assert (bare[40:80, 122:140] < 0.05).all()


def test_an_ear_in_shadow_is_skin_all_the_same() -> None:
    bare = skin.bare_skin(*picture((150, 108, 86), (255, 200, 165)), UNIT)
    assert bare[60, 30] > 0.9
    assert bare[60, 130] > 0.9


def test_hair_over_the_cheek_does_not_pass_for_skin() -> None:
    colours, face, cover = picture(SKIN, HAIR)
    colours[:, 105:120] = HAIR
    assert skin.bare_skin(colours, face, cover, UNIT)[60, 130] < 0.05


def test_the_answer_is_the_same_straight_outward() -> None:
    colours, face, cover = picture(SKIN, SKIN)
    colours[55:65, 20:30] = HAIR  # the hollow of an ear
    bare = skin.bare_skin(colours, face, cover, UNIT)
    assert np.ptp(bare[60, 20:38]) == pytest.approx(0, abs=0.05)


def test_the_background_beside_a_cheek_is_not_counted() -> None:
    colours, face, cover = picture(SKIN, HAIR)
    cover[:, 120:] = 0
    assert not skin.bare_skin(colours, face, cover, UNIT)[60, 130] > 0.5


def test_where_there_is_no_cheek_nothing_is_like_it() -> None:
    colours, _, _ = picture(SKIN, SKIN)
    assert not skin.like_cheek(colours, np.zeros((120, 160), np.bool_), UNIT).any()
