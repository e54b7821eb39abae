"""Lips at rest are the portrait's; a driver who speaks closes them, and no mouth opens wider than its face has room."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.lips import (
    GIVES_WAY,
    LEAST_RISE,
    LIP_RISE,
    LOWER_LIP_INDEX,
    NARROWEST,
    NEARLY_MET,
    OVERLAP,
    SLIT,
    UPPER_LIP_INDEX,
    Lips,
    arch_of,
    composed,
    gaps,
    met_fully,
    mouth_opening,
    mouth_width,
    relaxed,
    speech,
)
from narrate_stream.ops.canonical import canonical

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


def set_by(lips: Lips, face: np.ndarray, offsets: np.ndarray | None = None) -> np.ndarray:
    """What the lips make of `offsets` (none at all) while a driver of the canonical face shows this one."""
    return lips(np.zeros((468, 3)) if offsets is None else offsets, face, driver(0), STEP)


def talked(lips: Lips, seconds: float = 1.0) -> np.ndarray:
    """What is left of no offsets at all once a driver has spoken, and just closed the mouth."""
    for k in range(round(seconds / STEP)):
        set_by(lips, driver(0.6 * abs(np.sin(9 * k * STEP))))
    return set_by(lips, driver(0))


def speaking(model: HybridModel, face: np.ndarray) -> Lips:
    """Lips that know that the driver speaks when showing this face."""
    lips = Lips(model, relative=True)
    lips.rehearse([driver(0), driver(0.5), face, driver(0), driver(0.5)], 1 / STEP)
    return lips


def test_a_silent_driver_leaves_the_portraits_mouth(smiling: HybridModel) -> None:
    lips = Lips(smiling, relative=True)
    for _ in range(40):
        out = set_by(lips, driver(0))
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
    steps = [set_by(lips, driver(0)) for _ in range(300)]
    assert np.abs(steps[-1]).max() < 0.05 * np.abs(met).max()
    assert np.abs(np.diff([s[13, 1] for s in steps])).max() < 0.05  # cm a frame: nobody sees it go


def clip(*seconds: float) -> list[np.ndarray]:
    """Faces at 30 fps: silent, speaking, silent ..., so many seconds each."""
    jaws = [0.5 * (k % 4 > 1) if i % 2 else 0.0 for i, s in enumerate(seconds) for k in range(round(s / STEP))]
    return [driver(jaw) for jaw in jaws]


def opened(model: HybridModel, faces: list[np.ndarray]) -> np.ndarray:
    """(N,) openings of the avatar's mouth in a rehearsed clip, whose driver's face alone changes."""
    lips = Lips(model, relative=True)
    lips.rehearse(faces, 1 / STEP)
    return np.array([mouth_opening(shown(model, set_by(lips, face))) for face in faces])


def test_a_rehearsed_clip_is_the_speakers_while_he_speaks(smiling: HybridModel) -> None:
    own = mouth_opening(smiling.neutral)
    faces = clip(4, 2, 4)
    open_ = opened(smiling, faces)
    assert open_[[0, -1]] == pytest.approx(own, rel=0.02)  # a smile with teeth as long as he is silent
    before_first_sound, pause = round(3.7 / STEP), round(4.9 / STEP)
    assert open_[before_first_sound] < 0.05
    assert min(open_[pause : pause + 4]) < 0.05
    assert np.abs(np.diff(open_[: round(3.9 / STEP)])).max() < 0.1 * own  # nothing pops


def test_a_pause_of_a_speaker_is_no_silence(smiling: HybridModel) -> None:
    assert opened(smiling, clip(0, 2, 2, 2))[round(3 / STEP)] < 0.05


def test_speech_is_known_over_frames_without_a_face() -> None:
    openings = np.array([0.0, 0.3] * 30 + [np.nan] * 30 + [0.0, 0.3] * 30)
    assert speech(openings, 30) == pytest.approx(np.ones(150))
    assert speech(np.full(5, np.nan), 30) == pytest.approx(np.zeros(5))
    assert speech(np.full(90, 0.2), 30) == pytest.approx(np.zeros(90))  # parted, but silent


def test_of_two_openings_the_larger_counts(smiling: HybridModel) -> None:
    """A silent driver whose lips are as far apart as the portrait's does not open them to twice as much."""
    own = mouth_opening(smiling.neutral)
    jaw = min(np.linspace(0, 1, 50), key=lambda j: abs(mouth_opening(driver(j)) - own))
    still = [driver(float(jaw))] * 60
    moved = (still[0] - driver(0))[:468].astype(np.float64)
    lips = Lips(smiling, relative=True)
    lips.rehearse(still, 1 / STEP)
    assert own < mouth_opening(shown(smiling, set_by(lips, still[0], moved))) < 1.3 * own


def test_a_slit_that_a_detector_sees_between_shut_lips_is_none(smiling: HybridModel) -> None:
    seen = np.array([-0.01, 0, SLIT / 2, SLIT, NEARLY_MET, 0.5])
    assert met_fully(seen) == pytest.approx([0, 0, 0, 0, NEARLY_MET, 0.5])
    assert (np.diff(met_fully(np.linspace(SLIT, 0.2, 50))) > 0).all()
    face = driver(0)
    apart = 0.9 * SLIT * np.linalg.norm(face[78] - face[308]) - gaps(face)
    face[LOWER_LIP_INDEX, 1] -= apart.astype(face.dtype)
    after = shown(smiling, set_by(speaking(smiling, face), face, (face - driver(0))[:468].astype(np.float64)))
    assert gaps(after).max() < 0.04  # cm


def test_a_pursed_mouth_shows_no_teeth_though_nobody_speaks(smiling: HybridModel) -> None:
    pursed = expressive_face({"mouthPucker": 1}, (0, 0))
    moved = (pursed - driver(0))[:468].astype(np.float64)
    after = shown(smiling, set_by(Lips(smiling, relative=True), pursed, moved))
    assert gaps(after).max() < 0.4 * gaps(smiling.neutral).max()


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


@pytest.mark.parametrize("jaw", [0.2, 0.35, 0.5])
def test_lips_of_a_speaker_part_as_far_as_the_drivers_in_the_mouths_proportions(
    smiling: HybridModel, jaw: float
) -> None:
    moved = (driver(jaw) - driver(0))[:468].astype(np.float64)
    after = shown(smiling, set_by(speaking(smiling, face := driver(jaw)), face, moved))
    assert mouth_opening(after) == pytest.approx(mouth_opening(driver(jaw)), rel=0.12)


def test_a_mouth_is_pursed_with_the_drivers_and_a_smile_has_little_way_left(smiling: HybridModel) -> None:
    def width(pucker: float, smile: float) -> float:
        face = expressive_face({"mouthPucker": pucker, "mouthSmileLeft": smile, "mouthSmileRight": smile}, (0, 0))
        moved = (face - driver(0))[:468].astype(np.float64)
        return mouth_width(shown(smiling, set_by(Lips(smiling, relative=True), face, moved))) - mouth_width(face)

    own = mouth_width(smiling.neutral) - mouth_width(driver(0))
    assert own > 0.05
    assert width(0, 0) == pytest.approx(own, abs=1e-3)
    assert width(1, 0) < 0.9 * own  # nearer to the driver's
    assert width(0, 1) < 0.9 * own


def test_a_smile_is_pursed_no_narrower_than_its_skin_allows(smiling: HybridModel) -> None:
    lips, own, none = Lips(smiling, relative=True), mouth_width(smiling.neutral), np.zeros((468, 3))
    for wanted in (0.1, 0.4):
        narrow = mouth_width(shown(smiling, lips._widened(none, wanted * own, 0.0))) / own
        assert NARROWEST - 0.02 < narrow < NARROWEST + 0.08
    assert mouth_width(shown(smiling, lips._widened(none, 0.9 * own, 0.0))) == pytest.approx(0.9 * own, rel=0.01)
    assert mouth_width(shown(smiling, lips._widened(none, 1.2 * own, 0.0))) == pytest.approx(1.2 * own, rel=0.01)


def test_two_widths_make_one_that_a_face_can_have() -> None:
    assert composed(0.5, 0, 0) == (0.5, 0.5)
    assert composed(0.5, 0.5, 0) == (0.5, 0.75)
    assert composed(1.2, 0.5, 0) == (1.2, 1.2)  # no wider than it is already
    left = 0.5 * (1 - GIVES_WAY)
    assert composed(0.5, -1, 0) == pytest.approx((left, left - 1))
    assert composed(0.5, 0, 1) == pytest.approx((left, left))
    assert composed(0.5, 0.5, 1) == pytest.approx((0.5, 0.75))  # whoever laughs drops the jaw, too
    half = 0.5 * (1 - GIVES_WAY / 2)
    assert composed(0.5, 0.25, 1) == pytest.approx((half, half + 0.25 * (1 - half)))


def test_a_smile_that_gives_way_comes_down_and_slides_along_the_arch(smiling: HybridModel) -> None:
    lips, none = Lips(smiling, relative=True), np.zeros((468, 3))
    lost, width = lips._composed(expressive_face({"mouthPucker": 1}, (0, 0)), driver(0))
    moved = lips._widened(none, width, lost)
    rest, after = (shown(smiling, m).astype(np.float64) for m in (none, moved))
    assert lost == pytest.approx(GIVES_WAY, abs=0.1)
    assert mouth_width(after) < 0.8 * mouth_width(rest)
    assert moved[[61, 291], 1] == pytest.approx(-lost * lips._raised, rel=0.1)
    middle = (rest[61, 0] + rest[291, 0]) / 2
    square = ((after[[61, 291], 0] - middle) ** 2 - (rest[[61, 291], 0] - middle) ** 2).mean()
    assert moved[[61, 291], 2].mean() == pytest.approx(arch_of(rest) * square, rel=0.02)
    assert moved[[61, 291], 2].min() > 0.1  # cm forward: no tooth comes out beside a pursed mouth


def test_an_upper_lip_that_bares_the_teeth_rises_hardly_more(smiling: HybridModel) -> None:
    shut = replace(smiling, neutral=driver(0).astype(np.float32))
    assert gaps(smiling.neutral)[4] > LIP_RISE - LEAST_RISE
    assert Lips(smiling, relative=True)._rise == LEAST_RISE
    assert Lips(shut, relative=True)._rise == pytest.approx(LIP_RISE, abs=0.06)
    assert Lips(smiling, relative=False)._rise == LIP_RISE


def test_speech_opens_lips_by_the_jaw(smiling: HybridModel) -> None:
    """The upper lip of a smile comes down to where lips meet, and stays there when the jaw drops."""
    shut, wide = (
        set_by(speaking(smiling, face), face, (face - driver(0))[:468].astype(np.float64))
        for face in (driver(0), driver(0.5))
    )
    assert shut[13, 1] < -0.15
    assert wide[13, 1] == pytest.approx(shut[13, 1], abs=0.05)


def test_a_mouth_that_never_rests_is_put_to_rest() -> None:
    usual = canonical().landmarks
    grin = expressive_face({"mouthSmileLeft": 1, "mouthSmileRight": 1, "jawOpen": 0.2}, (0, 0))
    calm = relaxed(grin)
    assert gaps(calm).max() < 0.02 < gaps(grin).max()
    assert abs(mouth_width(calm) - mouth_width(usual)) < 0.4 * abs(mouth_width(grin) - mouth_width(usual))
    assert calm[[1, 2, 33, 263, 10]] == pytest.approx(grin[[1, 2, 33, 263, 10]], abs=1e-6)
    assert relaxed(usual) == pytest.approx(usual, abs=0.03)
