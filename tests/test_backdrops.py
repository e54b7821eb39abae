"""Backgrounds that follow the light: exactly the photograph where nothing changed, dim, tinted, turned where it did."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.backdrops import GREEN, Backdrop, check_background, relit
from narrate_stream.bundle import HybridModel
from narrate_stream.dimmer import SETTLED
from narrate_stream.errors import NarrateError
from narrate_stream.fusion import head_framing, over_backdrop
from narrate_stream.lights import light_of_map, parse_light
from narrate_stream.ops.colour import linear_table, luminance
from narrate_stream.ops.grading import Grade, graded
from narrate_stream.ops.lighting import Lighting
from narrate_stream.renderer import Framing
from narrate_stream.types import Image

OWN = Lighting("original", original=True)
STEP = 1 / 30


@pytest.fixture(scope="module")
def framing(model: HybridModel) -> Framing:
    return head_framing(model, 96)


@pytest.fixture(scope="module")
def photograph(model: HybridModel, framing: Framing) -> Image:
    return over_backdrop(model, framing)


def stripes(centre: float) -> Lighting:
    """A grey room with a red wall that is 40 degrees wide, its middle at that azimuth."""
    width = 256
    az = ((np.arange(width) + 0.5) / width - 0.5) * 360
    red = np.abs((az - centre + 180) % 360 - 180) < 20
    row = np.where(red[:, None], [1.5, 0.05, 0.05], [0.3, 0.3, 0.3]).astype(np.float32)
    return light_of_map(np.repeat(row[None], width // 2, 0), "stripes")


def level(picture: Image) -> float:
    return float(luminance(linear_table()[picture]).mean())


def redness(picture: Image) -> np.ndarray:
    """(W,) how much redder than blue each column is."""
    return (picture[..., 0].astype(float) - picture[..., 2]).mean(0)


def test_under_its_own_light_the_photograph_stays_to_the_byte(
    model: HybridModel, framing: Framing, photograph: Image
) -> None:
    for kind in ("original", "relit", "environment"):
        assert np.array_equal(Backdrop(model, framing, kind)(OWN), photograph)
    assert np.array_equal(Backdrop(model, framing, "original")(parse_light("neon")), photograph)


def test_relit_is_as_bright_and_as_warm_as_the_light(model: HybridModel, framing: Framing, photograph: Image) -> None:
    shown = {
        name: Backdrop(model, framing)(parse_light(name)) for name in ("flat", "rembrandt", "candle", "sun:0,0,0.2")
    }
    brightness = [level(shown[name]) for name in ("flat", "rembrandt", "sun:0,0,0.2")]
    assert level(photograph) > brightness[0] > 1.5 * brightness[1] > 3 * brightness[2] > 0
    tint = {name: np.divide(*linear_table()[picture].mean((0, 1))[[0, 2]]) for name, picture in shown.items()}
    assert tint["candle"] > 1.5 * tint["flat"]


def test_the_photographs_own_background_is_exposed_as_the_face_is(photograph: Image) -> None:
    darker = relit(photograph, graded(OWN, Grade(-1)))
    assert linear_table()[darker].mean() == pytest.approx(0.5 * linear_table()[photograph].mean(), rel=0.02)
    brighter = relit(photograph, graded(OWN, Grade(1)))
    assert (brighter.astype(int) >= photograph).all()
    assert (relit(np.full((1, 1, 3), 255, np.uint8), graded(OWN, Grade(1))) == 255).all()  # white stays white


def test_the_environment_stands_behind_the_head_and_turns_with_the_light(model: HybridModel, framing: Framing) -> None:
    backdrop = Backdrop(model, framing, "environment")
    middle = redness(backdrop(stripes(180)))
    assert middle.min() > 60  # what lies opposite the viewer fills the picture
    assert redness(backdrop(stripes(0))).max() < 5  # what lies behind the viewer is not seen
    left, right = (redness(backdrop(graded(stripes(180), Grade(turn=turn)))) for turn in (25, -25))
    assert left[0] > left[-1] + 40  # seen from the front, what is behind moves the other way
    assert right[-1] > right[0] + 40
    dim, dimmer = (level(backdrop(graded(stripes(180), Grade(stops)))) for stops in (-3, -4))
    assert dimmer == pytest.approx(0.5 * dim, rel=0.05)


def test_a_preset_lights_a_wall_of_its_own_colours(model: HybridModel, framing: Framing) -> None:
    wall = Backdrop(model, framing, "environment")(parse_light("neon"))
    left, right = redness(wall)[:20].mean(), redness(wall)[-20:].mean()
    assert right > left + 20  # magenta comes from the left and so falls on what is right of the person
    assert level(wall) < 0.2


def test_colours_and_green(model: HybridModel, framing: Framing) -> None:
    assert (Backdrop(model, framing, "green")(parse_light("candle")) == GREEN).all()
    assert (Backdrop(model, framing, "#0A0b0c")(OWN) == (10, 11, 12)).all()


@pytest.mark.parametrize("kind", ["forest", "#12345", "#gggggg", "", "Relit", "#rrggbb"])
def test_what_is_no_background(kind: str) -> None:
    with pytest.raises(NarrateError, match=r"no background|no colour"):
        check_background(kind)


def test_video_has_no_alpha() -> None:
    with pytest.raises(NarrateError, match="needs a PNG"):
        check_background("transparent")


def test_a_change_is_eased_and_then_rests(model: HybridModel, framing: Framing) -> None:
    backdrop = Backdrop(model, framing, "#000000")
    backdrop(OWN, STEP)
    backdrop.set("#ffffff")
    values = [int(backdrop(OWN, STEP)[0, 0, 0]) for _ in range(2 + int(SETTLED / STEP))]
    assert 60 < values[0] < 160
    assert values == sorted(values)
    assert values[-1] == 255
    assert backdrop(OWN, STEP) is backdrop(OWN, STEP)


def test_a_room_that_flickers_repaints_nothing(model: HybridModel, framing: Framing) -> None:
    backdrop, light = Backdrop(model, framing), parse_light("loop")
    first = backdrop(light)
    assert backdrop(graded(light, Grade(0.002))) is first
    assert backdrop(graded(light, Grade(0.2))) is not first
