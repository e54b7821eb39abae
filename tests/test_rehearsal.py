"""A clip gone through before it plays: an avatar of one of its frames comes nearer to the film, to the eye."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from narrate_stream import rehearsal
from narrate_stream.anchor import Anchor
from narrate_stream.bundle import HybridModel
from narrate_stream.ops.lift import lifted
from narrate_stream.rehearsal import WAY, places, rehearsed, spread, to_the_eye
from narrate_stream.renderer import Framing
from narrate_stream.retarget import Retargeter
from narrate_stream.types import Image, Motion

F64 = NDArray[np.float64]
FRAMING = Framing(0.5, -20.0, 7.0, (64, 64))


def own_moment(model: HybridModel) -> Motion:
    """The portrait's face, filmed: in its own picture."""
    anchor = Anchor(model)
    camera, place = model.camera, (model.rotation.astype(np.float64), model.translation.astype(np.float64))
    canvas = camera.project(model.neutral @ place[0].T + place[1])
    blank = Motion(*place, model.neutral, canvas, size=model.frame_size, measured=True)  # type: ignore[arg-type]
    pixels = anchor.in_frame(canvas, blank)
    face = lifted(model.neutral.astype(np.float64), canvas, camera, place)
    arrays = (a.astype(np.float32) for a in (*place, face, pixels))
    return Motion(*arrays, size=model.frame_size, measured=True)


def test_a_place_on_the_canvas_is_found_again(model: HybridModel) -> None:
    anchor, moment = Anchor(model), own_moment(model)
    there = anchor.in_frame(anchor.pixels(moment), moment)
    np.testing.assert_allclose(there, moment.pixels, atol=1e-3)
    assert anchor.is_portrait(moment)
    assert not anchor.is_portrait(replace(moment, pixels=moment.pixels * 1.1))


def test_an_avatar_that_seems_too_low_goes_a_part_of_the_way_up(model: HybridModel) -> None:
    moment, low = own_moment(model), np.array([0.0, 5.0])
    stranger = replace(moment, person=7)
    motions = [moment, moment, None, stranger, moment]
    seen: list[F64 | None] = [None if m is None else m.pixels.astype(np.float64) for m in motions]
    out = to_the_eye(lambda _, m: m.pixels + low, motions, moment, seen)
    for k in (0, 1, 4):
        moved = out[k]
        assert moved is not None
        np.testing.assert_allclose(moved.pixels, moment.pixels - WAY * low, atol=1e-3)
    assert out[2] is None
    assert out[3] is stranger


def test_a_face_that_no_look_finds_is_left_where_it_is(model: HybridModel) -> None:
    moment = own_moment(model)
    at = moment.pixels.astype(np.float64)
    for seen, found in (([None, None], at + 5.0), ([at, at], None)):
        out = to_the_eye(lambda _, __, found=found: found, [moment, moment], moment, seen)  # type: ignore[misc]
        for moved in out:
            assert moved is not None
            np.testing.assert_allclose(moved.pixels, moment.pixels, atol=1e-3)


def test_what_one_landmark_alone_errs_bends_no_feature() -> None:
    errs = np.zeros((478, 2))
    errs[61] = 10.0  # a corner of the mouth
    assert np.abs(spread() @ errs).max() < 1.0
    np.testing.assert_allclose(spread() @ np.ones((478, 2)), 1.0)


class Looks:
    """In place of the detector: sees every face where it is expected, a little to the right."""

    def around(self, image: Image, near: F64) -> F64 | None:
        return np.concatenate([near + np.array([3.0, 0.0]), near[:, :1]], -1) if image.any() else None


def test_the_avatars_landmarks_are_told_in_pixels_of_the_film(model: HybridModel) -> None:
    anchor, moment = Anchor(model), own_moment(model)
    white, black = np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64, 3), np.uint8)
    looks: Any = Looks()
    there = places(anchor, FRAMING, lambda _: white, looks, moment)
    assert there is not None
    larger = max(model.frame_size) / max(moment.size)
    np.testing.assert_allclose(
        (there - moment.pixels).mean(0), [3.0 / FRAMING.scale / model.crop[2] / larger, 0], atol=1e-3
    )
    assert places(anchor, FRAMING, lambda _: black, looks, moment) is None


@pytest.mark.parametrize(("mode", "factor"), [("relative", 1.0), ("absolute", 1.15)])
def test_who_is_not_the_portrait_plays_nothing_to_themselves(
    model: HybridModel, mode: Any, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    retarget, moment = Retargeter(model, mode), own_moment(model)
    moment = replace(moment, pixels=moment.pixels * np.float32(factor))
    monkeypatch.setattr(rehearsal, "aligned", lambda _, motions, __: [m.pixels for m in motions])
    monkeypatch.setattr(rehearsal, "looked_at", lambda _, marks: marks)
    out = rehearsed(retarget, FRAMING, lambda _: pytest.fail("plays to itself"), [], [moment, moment], 30)
    assert retarget.reference is not None
    assert all(m is not None and not m.measured for m in out)
