"""Thumbnails: the face itself, in the light that was asked for, made once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.errors import LightError, NarrateError
from narrate_stream.lights import parse_light
from narrate_stream.ops.grading import Grade, graded
from narrate_stream.thumbnails import SIZE, Thumbnails


@pytest.fixture(scope="module")
def thumbnails(model: HybridModel) -> Thumbnails:
    return Thumbnails({"anna": model})


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(float)


def test_a_face_in_its_lights(thumbnails: Thumbnails) -> None:
    pictures = {light: decoded(thumbnails("anna", light)) for light in ("original", "neon", "sun:-70,10")}
    assert {p.shape for p in pictures.values()} == {(SIZE, SIZE, 3)}
    middle, third = SIZE // 2, SIZE // 3
    lit = pictures["sun:-70,10"][third : 2 * third].mean((0, 2))
    assert lit[third:middle].mean() > 1.3 * lit[middle : 2 * third].mean()
    assert np.abs(pictures["neon"] - pictures["original"]).mean() > 20


def test_named_lights_are_made_once_and_small(thumbnails: Thumbnails) -> None:
    first = thumbnails(None, "rim")
    assert thumbnails("anna", "rim") is first
    assert len(first) < 12_000


def test_a_light_made_elsewhere(thumbnails: Thumbnails) -> None:
    dim, bright = (
        decoded(thumbnails("anna", graded(parse_light("flat"), Grade(stops)))).mean() for stops in (-2.0, 0.5)
    )
    assert bright > 1.5 * dim


def test_what_is_not_there(thumbnails: Thumbnails) -> None:
    with pytest.raises(NarrateError, match="no model 'bob'"):
        thumbnails("bob", "rim")
    with pytest.raises(LightError):
        thumbnails("anna", "noir")
