"""Lips at rest are the portrait's; a driver who speaks closes them, and no mouth opens wider than its face has room."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.lips import LOWER_LIP_INDEX, OVERLAP, UPPER_LIP_INDEX, Lips, mouth_opening

STEP = 1 / 30


@pytest.fixture(scope="module")
def smiling(model: HybridModel) -> HybridModel:
    """The built-in portrait: lips parted over the teeth."""
    assert mouth_opening(model.neutral) > 0.1
    return model


def driver(jaw: float) -> np.ndarray:
    return expressive_face({"jawOpen": jaw}, (0, 0))


def shown(model: HybridModel, offsets: np.ndarray) -> np.ndarray:
    out = model.neutral.copy()
    out[:468] += offsets
    return out


def talked(lips: Lips, seconds: float = 1.0) -> np.ndarray:
    """What is left of no offsets at all once a driver has spoken, and just closed the mouth."""
    for k in range(round(seconds / STEP)):
        lips(np.zeros((468, 3)), driver(0.6 * abs(np.sin(9 * k * STEP))), STEP)
    return lips(np.zeros((468, 3)), driver(0), STEP)


def test_a_silent_driver_leaves_the_portraits_mouth(smiling: HybridModel) -> None:
    lips = Lips(smiling, relative=True)
    for _ in range(40):
        out = lips(np.zeros((468, 3)), driver(0), STEP)
    assert np.abs(out).max() < 1e-9


def test_lips_meet_when_a_speaking_drivers_do(smiling: HybridModel) -> None:
    out = talked(Lips(smiling, relative=True))
    gap = (smiling.neutral[:468] + out)[UPPER_LIP_INDEX, 1] - (smiling.neutral[:468] + out)[LOWER_LIP_INDEX, 1]
    before = smiling.neutral[UPPER_LIP_INDEX, 1] - smiling.neutral[LOWER_LIP_INDEX, 1]
    assert gap.max() < 0.25 * before.max()
    assert gap.min() > -2 * OVERLAP
    assert (out[UPPER_LIP_INDEX, 1] <= 0.03).all()
    assert out[152, 1] > 0.02  # the chin comes along
    assert np.abs(out[[4, 33, 263, 10]]).max() == 0


def test_then_they_are_the_portraits_again(smiling: HybridModel) -> None:
    lips = Lips(smiling, relative=True)
    met = talked(lips)
    steps = [lips(np.zeros((468, 3)), driver(0), STEP) for _ in range(300)]
    assert np.abs(steps[-1]).max() < 0.05 * np.abs(met).max()
    assert np.abs(np.diff([s[13, 1] for s in steps])).max() < 0.05  # cm a frame: nobody sees it go


def test_a_rehearsed_clip_is_the_speakers_from_its_first_frame(smiling: HybridModel) -> None:
    lips = Lips(smiling, relative=True)
    lips.rehearse([driver(0.5 * (k % 2)) for k in range(20)])
    assert mouth_opening(shown(smiling, lips(np.zeros((468, 3)), driver(0), STEP))) < 0.05
    silent = Lips(smiling, relative=True)
    silent.rehearse([driver(0.0)] * 20)
    assert np.abs(silent(np.zeros((468, 3)), driver(0), STEP)).max() < 1e-9


def test_a_shout_in_the_portrait_is_not_forced_shut(smiling: HybridModel) -> None:
    neutral = smiling.neutral.copy()
    neutral[:468] += 2.2 * (driver(1.0) - driver(0.0))[:468].astype(np.float32)
    shouting = replace(smiling, neutral=neutral)
    before = mouth_opening(neutral)
    after = mouth_opening(shown(shouting, talked(Lips(shouting, relative=True))))
    assert before > 0.4
    assert 0.1 < after < before


def test_absolute_motion_is_the_drivers_as_it_is(smiling: HybridModel) -> None:
    assert np.abs(talked(Lips(smiling, relative=False))).max() < 1e-9
