"""Measures of following: known answers for lag, amplitude, distances and pictures."""

from __future__ import annotations

import numpy as np
import pytest
from toy_face import SIZE, seen

from narrate_stream.ops.geometry import rotation_from_angles
from offline.evaluate.following import (
    Pair,
    acceleration,
    aligned,
    compare,
    following,
    head_box,
    lag_of,
    likeness,
)

T = np.arange(120) / 30
WAVE = np.sin(2 * np.pi * 0.9 * T) + 0.4 * np.sin(2 * np.pi * 2.3 * T)


def shifted(frames: float) -> np.ndarray:
    t = T - frames / 30
    return np.sin(2 * np.pi * 0.9 * t) + 0.4 * np.sin(2 * np.pi * 2.3 * t)


def clip(count: int = 60) -> np.ndarray:
    """(N, 478, 3) somebody who talks, blinks, looks about and turns."""
    frames = []
    for i in range(count):
        t = i / 30
        lid = max(0.0, 1 - abs((t % 1.0) - 0.5) / 0.1)
        face = {"jawOpen": 0.3 - 0.3 * np.cos(9 * t), "eyeBlinkLeft": lid, "eyeBlinkRight": lid}
        frames.append(seen(face, (10 * np.sin(2 * t), 4 * np.sin(3 * t), 3 * np.sin(t)), (0.8 * np.sin(4 * t), 0.0)))
    return np.stack(frames)


def pair(driver: np.ndarray, avatar: np.ndarray) -> Pair:
    return Pair(driver, avatar, SIZE, SIZE, 30.0)


@pytest.mark.parametrize("late", [-2.0, -0.4, 0.0, 0.3, 1.0, 3.5])
def test_lag_to_a_fraction_of_a_frame(late: float) -> None:
    assert lag_of(WAVE, shifted(late)) == pytest.approx(late, abs=0.07)


def test_correlation_and_amplitude() -> None:
    assert following(WAVE, 0.5 * WAVE + 3) == pytest.approx((1, 0.5, 0), abs=1e-6)
    assert following(WAVE, -WAVE)[0] == pytest.approx(-1)
    assert np.isnan(following(WAVE, -WAVE)[2])  # no shift makes that alike
    faint = following(WAVE, 0.01 * WAVE)
    assert faint[0] == 0
    assert faint[1] == pytest.approx(0.01)
    assert np.isnan(following(0.01 * WAVE, WAVE, enough=0.1)).all()
    gappy = WAVE.copy()
    gappy[10:20] = np.nan
    assert following(gappy, WAVE)[0] == pytest.approx(1)
    assert np.isnan(following(np.full(50, np.nan), WAVE[:50])).all()


def test_one_who_does_the_same_scores_full_marks() -> None:
    marks = clip()
    for own in (True, False):
        row = compare(pair(marks, marks), own=own, portrait=marks[0])
        assert row["akd"] == pytest.approx(0, abs=1e-6)
        assert row["apd"] == pytest.approx(0, abs=1e-6)
        assert row["jitter"] == pytest.approx(1)
        assert row["failed"] == 0
        for name in ("blink", "mouth", "gaze"):
            assert (row[name], row["x_" + name]) == pytest.approx((1, 1))


def test_places_and_poses_apart() -> None:
    marks = clip()
    eyes = float(np.linalg.norm(marks[0, 33] - marks[0, 263]))
    still = marks[:1].repeat(20, 0)
    row = compare(pair(still, still + np.array([3, 4, 0])), own=True, portrait=marks[0])
    assert row["akd"] == pytest.approx(100 * 5 / eyes)
    turned = np.stack([seen(angles=(6, 3, 0))] * 20)
    assert compare(pair(np.stack([seen()] * 20), turned), own=True, portrait=marks[0])["apd"] == pytest.approx(
        3, abs=0.05
    )


def test_across_people_head_and_size_do_not_count() -> None:
    marks = clip()
    other = marks * 0.6 + np.array([200, 10, 0])  # farther away and elsewhere
    row = compare(pair(marks, other), own=False, portrait=other[0])
    assert row["akd"] == pytest.approx(0, abs=1e-6)
    still = compare(pair(marks, other[:1].repeat(len(other), 0)), own=False, portrait=other[0])
    assert still["akd_rel"] == pytest.approx(1, abs=1e-6)
    assert still["blink"] == 0


def test_alignment_takes_out_any_similarity() -> None:
    face = seen({"jawOpen": 0.5})
    turn = rotation_from_angles(12, -7, 20)
    moved = (1.7 * face @ turn.T + [5, -9, 2])[None]
    assert aligned(moved, face)[0] == pytest.approx(face, abs=1e-6)
    stretched = face * [1.2, 1, 1]
    row = compare(pair(face[None].repeat(20, 0), stretched[None].repeat(20, 0)), own=True, portrait=face)
    assert row["shape"] > 2


def test_trembling_counts_as_jitter_and_smoothing_as_its_lack() -> None:
    marks = clip(90)
    rng = np.random.default_rng(0)
    rough = marks + rng.normal(0, 1, marks.shape)
    assert compare(pair(rough, marks), own=True, portrait=marks[0])["jitter"] < 0.2
    assert compare(pair(marks, rough), own=True, portrait=marks[0])["jitter"] > 5
    assert np.isnan(acceleration(marks[:20], 30))
    assert np.isnan(acceleration(marks, 8))


def test_missing_faces_are_counted_and_left_out() -> None:
    marks = clip()
    gone = marks.copy()
    gone[30:45] = np.nan
    row = compare(pair(marks, gone), own=True, portrait=marks[0])
    assert row["failed"] == pytest.approx(0.25)
    assert row["akd"] == pytest.approx(0, abs=1e-6)
    assert compare(pair(marks, np.full_like(marks, np.nan)), own=True, portrait=marks[0]) == {"failed": 1.0}
    unseen = marks.copy()
    unseen[:15] = np.nan
    assert compare(pair(unseen, marks), own=True, portrait=marks[0])["failed"] == 0


def test_pictures_are_compared_around_the_head() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(40, 200, (SIZE[1], SIZE[0], 3), np.uint8)
    face = seen()
    rows, columns = head_box(face, SIZE)
    assert face[:, 0].min() > columns.start
    assert face[:, 1].max() < rows.stop
    elsewhere = image.copy()
    elsewhere[:, : columns.start] = 0
    assert likeness(image, elsewhere, face) == {"l1": 0.0, "psnr": 100.0, "ssim": pytest.approx(1)}
    brighter = likeness(image, image + np.uint8(10), face)
    assert brighter["l1"] == pytest.approx(10 / 255)
    assert brighter["psnr"] == pytest.approx(20 * np.log10(25.5), abs=0.01)
    high = seen(shift=(-18, 14, 0))
    rows, columns = head_box(high, SIZE)
    assert rows.start == 0
    assert columns.start == 0
