"""Light from skin: lamps and rooms that are known are found again, through beards, shadows and other people's skin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.ops.colour import blackbody, luminance
from narrate_stream.ops.lightfit import BRIGHT, SKIN, around, best_of, design, fitted_light
from narrate_stream.ops.lighting import Lighting, ambient, direction, dominant, shade_normals, sun

ALBEDO = 0.3 * np.exp(SKIN)


def face_normals(count: int = 600) -> np.ndarray:
    """(count, 3) normals such as a face shows: toward the viewer, up to 75 degrees aside."""
    i = np.arange(count) + 0.5
    z = 1 - i / count * (1 - np.cos(np.radians(75)))
    turn = i * np.pi * (1 + 5**0.5)
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], -1)


NORMALS = face_normals()


def lit(light: Lighting, albedo: np.ndarray = ALBEDO, noise: float = 0.08) -> np.ndarray:
    """(N, 3) uneven skin in a light."""
    uneven = np.exp(noise * np.random.default_rng(5).normal(size=(len(NORMALS), 1)))
    return shade_normals(light, NORMALS) * albedo * uneven


def in_a_room(az: float, el: float, room: float = 0.15) -> Lighting:
    return replace(sun(az, el), sh=ambient(room))


def angle(light: Lighting, az: float, el: float) -> float:
    return float(np.degrees(np.arccos(np.clip(direction(*dominant(light)) @ direction(az, el), -1, 1))))


def apart(light: Lighting, truth: Lighting) -> float:
    """Relative error of the shading of NORMALS, after one gain."""
    a, b = (luminance(shade_normals(one, NORMALS)) for one in (light, truth))
    return float(np.linalg.norm(a * ((a @ b) / (a @ a)) - b) / np.linalg.norm(b))


@pytest.mark.parametrize(("az", "el"), [(-70, 5), (-40, 40), (20, -30), (55, 20), (85, 10)])
def test_a_lamp_is_found_where_it_stands(az: float, el: float) -> None:
    found = fitted_light(lit(in_a_room(az, el)), NORMALS, "x")
    assert len(found.directions) == 1
    assert angle(found, az, el) < 4
    assert apart(found, in_a_room(az, el)) < 0.04


def test_neither_beard_nor_cast_shadow_moves_it() -> None:
    level = lit(in_a_room(-50, 20))
    level[(NORMALS[:, 1] < -0.35) & (np.abs(NORMALS[:, 0]) < 0.5)] *= 0.3
    level[(NORMALS[:, 0] > 0.1) & (NORMALS[:, 0] < 0.35)] *= 0.2
    assert angle(fitted_light(level, NORMALS, "x"), -50, 20) < 10


def test_light_from_everywhere_has_no_lamp() -> None:
    sh = ambient(0.8, sky=0.6)
    sh[6:9] = [[0.3], [-0.2], [0.3]]  # more than one lamp can say
    found = fitted_light(lit(Lighting("", sh)), NORMALS, "x")
    assert len(found.directions) == 0
    assert apart(found, Lighting("", sh)) < 0.06


def test_what_is_mirrored_is_lit_from_the_other_side() -> None:
    level, mirror = lit(in_a_room(45, 15)), np.array([-1, 1, 1])
    found = [dominant(fitted_light(level, normals, "x")) for normals in (NORMALS, NORMALS * mirror)]
    assert found[0] == pytest.approx(found[1] * [-1, 1], abs=1.5)


def test_a_dark_picture_of_dark_skin_gives_the_same_light() -> None:
    level = lit(in_a_room(45, 15))
    a, b = (fitted_light(k * level, NORMALS, "x") for k in (1.0, 0.1))
    assert a.colours == pytest.approx(b.colours, rel=1e-3)
    assert np.percentile(luminance(shade_normals(a, NORMALS)), BRIGHT) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kelvin", [2200, 12000])
def test_a_coloured_lamp_is_told_from_skin(kelvin: float) -> None:
    lamp = replace(in_a_room(40, 20), colours=blackbody(kelvin)[None], sh=ambient(0.1) * blackbody(kelvin))
    colour = fitted_light(lit(lamp), NORMALS, "x").colours[0]
    assert np.log(colour[0] / colour[2]) == pytest.approx(np.log(blackbody(kelvin)[0] / blackbody(kelvin)[2]), rel=0.2)


@pytest.mark.parametrize("skin", [(0.62, 0.42, 0.32), (0.13, 0.075, 0.05)])
def test_pale_and_dark_skin_in_white_light_leave_it_nearly_white(skin: tuple[float, float, float]) -> None:
    colour = fitted_light(lit(in_a_room(40, 20), np.array(skin)), NORMALS, "x").colours[0]
    assert colour / luminance(colour) == pytest.approx(np.ones(3), abs=0.12)


def test_black_and_white_has_white_light() -> None:
    grey = lit(in_a_room(40, 20), np.full(3, 0.4)).mean(-1, keepdims=True)
    found = fitted_light(np.repeat(grey, 3, -1), NORMALS, "x")
    assert found.colours == pytest.approx(np.repeat(found.colours[:, :1], 3, 1), rel=0.01)


def test_two_colours_from_two_sides_stay_two() -> None:
    lamps = Lighting(
        "",
        directions=np.stack([direction(-70, 10), direction(70, 10)]).astype(np.float32),
        colours=np.array([[1.0, 0.2, 0.6], [0.1, 0.5, 1.0]], np.float32),
        softness=np.full(2, 0.4, np.float32),
    )
    found = fitted_light(lit(lamps), NORMALS, "x")
    left, right = shade_normals(found, np.stack([direction(-60, 0), direction(60, 0)]))
    assert left[0] > 1.5 * left[2]
    assert right[2] > 1.5 * right[0]


def test_a_lamp_that_would_take_light_away_is_never_chosen() -> None:
    level = np.maximum(1 - NORMALS[:, 0], 0.1)
    assert best_of(level, NORMALS, np.array([[1.0, 0, 0]]), 0.3).fit.error[0] == np.inf


def test_a_design_shades_as_the_relighter_does() -> None:
    light = replace(sun(30, 10), softness=np.array([0.5], np.float32), sh=ambient(0.2, sky=0.4))
    columns = design(NORMALS, 4, light.directions.astype(np.float64), 0.5)[0]
    made = columns @ np.concatenate([[1.0], light.sh[:4, 0]])
    assert made == pytest.approx(shade_normals(light, NORMALS).mean(-1), abs=1e-5)


@pytest.mark.parametrize("middle", [direction(0, 0), direction(40, 89), direction(-120, 10)])
def test_a_ring_lies_round_its_middle(middle: np.ndarray) -> None:
    ring = around(middle, 5)
    assert ring[0] == pytest.approx(middle)
    assert np.degrees(np.arccos(ring[1:] @ middle)) == pytest.approx(np.full(6, 5), abs=1e-3)
    assert np.linalg.norm(ring[1:].mean(0) - middle) < 0.01
