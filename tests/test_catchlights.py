"""Catchlights: where they lie, how they move, and that lids and darkness hide them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.catchlights import Catchlights, eye_boxes, reflection, shown, spot
from narrate_stream.fusion import head_framing
from narrate_stream.ops.horizon import encoded, seen
from narrate_stream.ops.lighting import Lighting, direction, sun
from narrate_stream.presence import still_motion
from narrate_stream.renderer import GBuffer, Renderer

AHEAD = np.array([0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def renderer(model: HybridModel) -> Renderer:
    return Renderer(model, head_framing(model, 768))


def added(model: HybridModel, gbuffer: GBuffer, lighting: Lighting) -> np.ndarray:
    """(H, W) what catchlights bring to a dark picture."""
    picture = np.full((*gbuffer.covered.shape, 3), 20, np.uint8)
    Catchlights(model)(picture, gbuffer, lighting)
    return picture.astype(int).sum(-1) - 60


def middle(light: np.ndarray) -> np.ndarray:
    """(2,) x and y of its centre."""
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum()


def test_a_lamp_is_mirrored_half_way_to_it() -> None:
    assert reflection(AHEAD, AHEAD) == pytest.approx([0, 0])
    right = reflection(direction(60, 0), AHEAD)
    assert right == pytest.approx([0.78 * 0.5, 0])
    above = reflection(direction(0, 40), AHEAD)
    assert above is not None
    assert above[1] > 0.2
    assert reflection(direction(180, 0), AHEAD) is None


def test_it_stays_with_the_light_when_the_eye_turns() -> None:
    """The eye's middle moves by its whole radius' share, the reflection by that of the cornea's centre only."""
    still, turned = (reflection(direction(30, 20), direction(angle, 0)) for angle in (0, 20))
    assert still is not None
    assert turned is not None
    assert turned[0] < still[0] - 0.1  # seen from the iris it stays behind


def test_one_place_sees_what_a_map_of_horizons_sees() -> None:
    partly = 0
    for az, el, radius in ((20, 10, 0.1), (-100, 40, 0.2), (170, -5, 0.02)):
        d = direction(az, el)
        around = int(encoded(np.array(np.arctan2(d[2], np.hypot(d[0], d[1])))))
        for level in range(max(0, around - 20), min(255, around + 20)):
            planes = np.full((32, 1, 1), level, np.uint8)
            expected = float(seen(planes, d, radius)[0, 0])
            assert shown(planes.ravel().tolist(), d, radius) == pytest.approx(expected, abs=1e-5)
            partly += 0.1 < expected < 0.4
    assert partly > 3


def test_a_softer_lamp_is_a_larger_and_dimmer_spot() -> None:
    sizes, levels = zip(*(spot(s) for s in (0.0, 0.2, 0.4, 0.7)), strict=True)
    assert list(sizes) == sorted(sizes)
    assert sizes[3] > 2 * sizes[0]
    assert levels[3] < levels[1]


def test_both_eyes_show_the_lamp_on_its_side(model: HybridModel, renderer: Renderer) -> None:
    gbuffer = renderer(still_motion())
    assert all(len(eye_boxes(model, side)) == 2 for side in (1, 2))
    places = []
    for az in (-35, 35):
        light = added(model, gbuffer, sun(az, 10))
        assert light.sum() > 100
        places.append(middle(light))
        for x, y, unit in gbuffer.eyes[:, :3]:
            around = light[int(y - unit) : int(y + unit), int(x - unit) : int(x + unit)]
            assert around.sum() > 30
    assert places[1][0] > places[0][0] + 2


def test_it_takes_the_lamps_colour_and_none_from_the_portraits_own_light(
    model: HybridModel, renderer: Renderer
) -> None:
    gbuffer = renderer(still_motion())
    red = replace(sun(20, 10), colours=np.array([[1, 0, 0]], np.float32))
    picture = np.full((*gbuffer.covered.shape, 3), 20, np.uint8)
    Catchlights(model)(picture, gbuffer, red)
    assert picture[..., 0].max() > 60
    assert picture[..., 1].max() == 20
    assert not added(model, gbuffer, Lighting("original", original=True)).any()
    assert not added(model, gbuffer, replace(sun(20, 10), softness=np.ones(1, np.float32))).any()  # a large one is sky


def test_shut_lids_hide_it(model: HybridModel, renderer: Renderer) -> None:
    from narrate_stream.drivers.channels import expressive_face
    from narrate_stream.drivers.mesh import neutral_motion
    from narrate_stream.retarget import Retargeter

    retarget = Retargeter(model)
    retarget.calibrate(neutral_motion())
    shut = replace(
        neutral_motion(), landmarks=expressive_face({"eyeBlinkLeft": 1, "eyeBlinkRight": 1}, (0, 0)).astype(np.float32)
    )
    for _ in range(40):
        motion = retarget(shut, 1 / 30)
    open_light, shut_light = (added(model, renderer(m), sun(0, 5)).sum() for m in (still_motion(), motion))
    assert shut_light < 0.1 * open_light


def test_an_eye_mirrors_nothing_but_its_catchlights(model: HybridModel) -> None:
    for side in (1, 2):
        for x, y, w, h in eye_boxes(model, side)[:, :4].astype(int):
            assert (model.surface[y : y + h, x : x + w, 3] == 0).all()  # with a lobe of skin's width irises turn grey
