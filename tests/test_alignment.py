"""Landmarks laid on the skin: known displacements of a painted face are found again, shut eyes and all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from narrate_stream.drivers.alignment import EYES, FACE, Aligner, Chart, barycentric, spread
from narrate_stream.ops.canonical import canonical
from narrate_stream.types import Image

F64 = NDArray[np.float64]
SIZE = 360


def marks_of_a_face() -> F64:
    """(478, 2) pixels, frontal, the eyes 120 pixels apart."""
    face = canonical().landmarks
    scale = 120 / np.linalg.norm(face[33] - face[263])
    return np.asarray(face[:, :2] * [scale, -scale] + [SIZE / 2, 0.42 * SIZE])


def skin() -> Image:
    """Spots of several sizes."""
    rng = np.random.default_rng(3)
    picture = sum(cv2.GaussianBlur(rng.normal(0, 12 * s, (SIZE, SIZE, 3)), (0, 0), s) for s in (2.0, 5.0, 12.0))
    return np.asarray(np.clip(150 + picture, 0, 255), np.uint8)


def bent(at: F64) -> F64:
    """(..., 2) where a smooth move takes places (..., 2): a shift, and a swelling cheek."""
    away = at - [SIZE * 0.65, SIZE * 0.6]
    return np.asarray(at + [4, -3] + 6 * np.exp(-((away / 50) ** 2).sum(-1, keepdims=True)) * [1, 0.5])


def moved(picture: Image) -> Image:
    """The picture after that move (its inverse by a few steps back)."""
    goal = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float64)
    at = goal.copy()
    for _ in range(20):
        at -= bent(at) - goal
    return np.asarray(cv2.remap(picture, at.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def far(a: F64, b: F64) -> F64:
    return np.asarray(np.linalg.norm(a - b, axis=-1))


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner(skin(), marks_of_a_face())


def still() -> NDArray[np.bool_]:
    """(468,) landmarks that the skin, not an eye, carries."""
    out = np.ones(FACE, np.bool_)
    out[list(EYES[0] + EYES[1])] = False
    return out


def test_noise_of_a_detector_is_taken_out(aligner: Aligner) -> None:
    marks = marks_of_a_face()
    rng, noise = np.random.default_rng(1), np.zeros_like(marks)
    for k in range(6):  # smooth over the face, as a detector's errors are
        middle = marks[rng.integers(FACE)]
        noise += np.exp(-((marks - middle) ** 2).sum(1, keepdims=True) / 2 / 50**2) * rng.normal(0, 3, 2) * (k < 6)
    found = aligner(skin(), marks + noise)
    before, after = (np.median(far(m[:FACE], marks[:FACE])[still()]) for m in (marks + noise, found))
    assert before > 1.5
    assert after < 0.3 * before


def test_a_move_that_the_detector_missed_is_found(aligner: Aligner) -> None:
    marks, frame = marks_of_a_face(), moved(skin())
    found = aligner(frame, marks)
    assert np.median(far(bent(marks), marks)[:FACE]) > 4
    assert np.median(far(found, bent(marks))[:FACE][still()]) < 0.6


def test_lids_keep_their_opening_and_go_with_the_skin(aligner: Aligner) -> None:
    marks, frame = marks_of_a_face(), moved(skin())
    seen = marks.copy()
    upper, lower = (386, 159), (374, 145)
    seen[list(upper)] = seen[list(lower)]  # shut, says the detector
    found = aligner(frame, seen)
    assert far(found[list(upper)], found[list(lower)]) == pytest.approx([0, 0], abs=1e-6)
    assert np.abs(found[33] - marks[33] - [4, -3]).max() < 1.0


def test_a_frame_without_any_likeness_keeps_the_detected_landmarks(aligner: Aligner) -> None:
    marks = marks_of_a_face()
    found = aligner(np.full((SIZE, SIZE, 3), 90, np.uint8), marks)
    assert far(found, marks).max() < 1  # of 120 between the eyes


def test_a_chart_lays_its_landmarks_where_the_frame_has_them() -> None:
    marks = marks_of_a_face()
    chart = Chart(skin(), marks, 144)
    turned = (marks - SIZE / 2) @ np.array([[0.9, 0.1], [-0.1, 0.9]]) + SIZE / 2
    places, smooth, _ = chart.places(turned)
    assert np.abs(smooth - turned[:FACE]).max() < 1e-6  # an affine move is smooth already
    seen = cv2.remap(places, chart.at.astype(np.float32)[:, None], None, cv2.INTER_LINEAR)[:, 0]
    assert np.abs(seen - turned[:FACE]).max() < 0.1


def test_barycentric_weights_give_the_point_back() -> None:
    corners = np.array([[[0.0, 0], [4, 0], [0, 4]]])
    weights = barycentric(np.array([[1.0, 2.0]]), corners)
    assert weights @ corners[0] == pytest.approx(np.array([[1.0, 2.0]]))


def test_doubted_places_go_with_their_neighbours() -> None:
    away, sure = np.tile([2.0, -1.0], (FACE, 1)), np.ones(FACE)
    away[50], sure[50] = [30, 30], 0
    assert spread(away, sure)[50] == pytest.approx([2, -1], abs=0.15)
