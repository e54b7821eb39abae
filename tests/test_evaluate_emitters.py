"""Samples of light: they add up to what shines."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.lighting import Lighting, ambient, direction, map_directions, preset, sh_shading, sun
from offline.evaluate.emitters import Emitter, Environment, Lamp, Sky, lamps_of, shares, squares

NORMALS = np.array([direction(a, e) for a, e in ((0, 0), (70, 10), (-120, -35), (10, 88))])


def received(emitter: Emitter, normals: np.ndarray = NORMALS, samples: int = 256) -> np.ndarray:
    """(N, 3) shading by the plain cosine."""
    directions, weight = emitter.draw(normals, squares(len(normals), samples, np.random.default_rng(3)))
    cosine = np.clip(
        np.einsum("nkc,nc->nk", np.broadcast_to(directions, (len(normals), *directions.shape[1:])), normals), 0, None
    )
    return (weight * cosine[..., None]).sum(1)


def test_squares_are_even() -> None:
    drawn = squares(3, 256, np.random.default_rng(0))
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for point in drawn:
        count, _, _ = np.histogram2d(*point.T, bins=8, range=[[0, 1], [0, 1]])
        assert count.max() <= 8  # four each on average
        assert np.sort(point[:, 0])[::32] == pytest.approx(np.linspace(0, 1, 9)[:-1], abs=0.01)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1  # another shift for every point


@pytest.mark.parametrize("radius", [0.0, 0.125, 0.5])
def test_a_lamp_gives_its_colour_times_the_cosine(radius: float) -> None:
    colour = np.array([1.0, 0.5, 0.25])
    lamp = Lamp(direction(20, 10), colour, radius)
    tilted = np.array([direction(20 + turn, 10) for turn in (0, 20, 50)])
    cosine = tilted @ direction(20, 10)
    assert received(lamp, tilted) == pytest.approx(cosine[:, None] * colour, rel=0.01)
    assert received(lamp, -tilted[:1]) == pytest.approx(0, abs=1e-6)
    assert lamp.power == pytest.approx(colour.mean())


def test_lamps_are_as_large_as_they_are_soft() -> None:
    """Edge-on, a round light of half angle a = asin(s / 2) gives (a - sin a cos a) / (pi sin^2 a)."""
    one = Lighting("one", directions=direction(0, 0)[None], colours=np.ones((1, 3)), softness=np.array([0.8]))
    (lamp,) = lamps_of(one)
    a = np.arcsin(0.4)
    wanted = (a - np.sin(a) * np.cos(a)) / (np.pi * 0.4**2)
    assert received(lamp, np.array([[1.0, 0, 0]])) == pytest.approx(wanted, rel=0.02)
    assert received(lamp, direction(90 + 25, 0)[None])[0, 0] == 0  # beyond its rim


def test_a_sky_gives_what_its_harmonics_say() -> None:
    even = Sky(ambient(0.7))
    assert received(even) == pytest.approx(0.7, rel=1e-3)
    assert even.power == pytest.approx(0.7)
    upward = ambient(0.5, sky=0.6)
    assert received(Sky(upward)) == pytest.approx(sh_shading(upward, NORMALS), rel=0.02)


def test_an_even_map_is_an_even_sky() -> None:
    assert received(Environment(np.full((32, 64, 3), 0.4))) == pytest.approx(0.4, rel=0.02)


def test_one_bright_texel_is_a_lamp() -> None:
    radiance = np.zeros((32, 64, 3))
    radiance[9, 40] = [200.0, 100.0, 50.0]
    d, solid = map_directions(32, 64)
    lamp = Lamp(d[9, 40], radiance[9, 40] * solid[9, 40] / np.pi, 0.0)
    normals = np.array([d[9, 40], direction(*np.array([60.0, 30.0]))])
    assert received(Environment(radiance), normals) == pytest.approx(received(lamp, normals), rel=0.03)


def test_a_map_with_both_is_both() -> None:
    rng = np.random.default_rng(5)
    radiance = rng.random((32, 64, 3)) ** 8 * 20
    d, solid = map_directions(32, 64)
    cosine = np.clip(d @ NORMALS.T, 0, None)
    wanted = np.einsum("hwn,hwc,hw->nc", cosine, radiance, solid) / np.pi
    assert received(Environment(radiance), samples=4096) == pytest.approx(wanted, rel=0.03)


def test_what_is_mirrored_adds_up_to_the_mean_radiance_of_the_lobe() -> None:
    rng = np.random.default_rng(6)
    radiance = rng.random((32, 64, 3)) ** 4
    d, solid = map_directions(32, 64)
    lobe = np.clip(d @ NORMALS.T, 0, None) ** 24 * solid[..., None]
    wanted = np.einsum("hwn,hwc->nc", lobe, radiance) / lobe.sum((0, 1))[:, None]
    directions, weight = Environment(radiance).mirrored(NORMALS, 24.0, squares(4, 4096, rng))
    got = (weight * np.clip(np.einsum("nkc,nc->nk", directions, NORMALS), 0, 1)[..., None] ** 24).sum(1)
    assert got == pytest.approx(wanted, rel=0.03)


def test_samples_go_where_the_power_is() -> None:
    lamps = lamps_of(preset("rembrandt"))
    key, fill, sky = shares([*lamps, Sky(ambient(0.1))], 256)
    assert key > 2 * fill
    assert min(fill, sky) >= 32
    assert all(n % 2 == 0 for n in (key, fill, sky))
    assert shares([*lamps_of(sun(0, 0, 0))], 256) == [32]  # a lamp that is out
