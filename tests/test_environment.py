"""Environment maps as lights: exposure, lamps where the map is bright and as large, and nothing lost in between."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.environment import environment
from narrate_stream.ops.lighting import direction, map_directions, shade_normals

FRONT, RIGHT = direction(0, 0), direction(90, 0)


def lamp(column: int, value: float = 60.0) -> np.ndarray:
    image = np.full((64, 128, 3), 0.3)
    image[28:34, column - 2 : column + 3] = value
    return image


def test_an_environment_is_exposed_for_the_face() -> None:
    around = np.stack([direction(a, e) for a in (-40, 0, 40) for e in (-20, 10, 35)])
    for brightness in (0.01, 1, 300):
        lighting = environment(lamp(80) * brightness, "x")
        assert shade_normals(lighting, around).mean() == pytest.approx(0.95, abs=0.02)
    fixed = environment(np.full((64, 128, 3), 0.4), "x", exposure=1.0)
    assert shade_normals(fixed, FRONT) == pytest.approx(np.full(3, 0.4), abs=0.01)


def test_a_lamp_becomes_a_light_of_its_own_on_its_side() -> None:
    lighting = environment(lamp(96), "x", exposure=1.0)
    assert 1 <= len(lighting.directions) <= 2
    assert (lighting.directions @ RIGHT > 0.98).all()
    left, right = shade_normals(lighting, np.stack([-RIGHT, RIGHT])).mean(-1)
    assert right > 3 * left


def test_splitting_off_lamps_keeps_the_light() -> None:
    image = lamp(84)
    d, solid = map_directions(64, 128)
    lighting = environment(image, "x", exposure=1.0)
    for n in (FRONT, direction(40, 10), direction(-60, 0)):
        brute = (np.clip(d @ n, 0, None) * solid * image[..., 0]).sum() / np.pi
        assert shade_normals(lighting, n)[0] == pytest.approx(brute, rel=0.1, abs=0.03)


@pytest.mark.parametrize("radius", [6.0, 14.0, 20.0])
def test_a_lamp_is_as_large_as_the_patch(radius: float) -> None:
    """A round softbox of `radius` degrees in the dark becomes one lamp whose half angle has the sine softness / 2."""
    d, _ = map_directions(64, 128)
    disc = d @ direction(50, 20) > np.cos(np.radians(radius))
    lighting = environment(np.where(disc, 50.0, 0.05)[..., None].repeat(3, -1), "x", exposure=1.0)
    assert len(lighting.directions) == 1
    assert lighting.directions[0] @ direction(50, 20) > np.cos(np.radians(1))
    assert np.degrees(np.arcsin(lighting.softness[0] / 2)) == pytest.approx(radius, abs=1)
