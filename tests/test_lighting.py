"""Light: spherical harmonics against brute force, the normal table, presets and directions of maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.ops import lighting as light
from narrate_stream.ops.gloss import SIDE
from narrate_stream.ops.lighting import (
    PRESETS,
    Lighting,
    ambient,
    directedness,
    direction,
    dominant,
    sh_basis,
    sh_shading,
    shade_normals,
    sun,
)

UP, RIGHT, FRONT = np.eye(3)[1], np.eye(3)[0], np.eye(3)[2]


def sphere(count: int = 60_000) -> np.ndarray:
    return light.stage_directions(count)


def projected(radiance: np.ndarray, d: np.ndarray) -> np.ndarray:
    """(9, 3) coefficients of radiance (N,) in evenly spread directions (N, 3)."""
    c = sh_basis(d).T @ radiance * 4 * np.pi / len(d)
    return np.repeat(c[:, None], 3, 1)


def half_ball(side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Normals (side, side, 3) of a ball as a viewer sees it, and where it is."""
    y, x = np.mgrid[1 : -1 : side * 1j, -1 : 1 : side * 1j]
    inside = x * x + y * y < 0.95
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    return np.stack([x, y, z], -1), inside


# ------------------------------------------------------------------ axes


def test_directions_follow_the_contract() -> None:
    assert direction(0, 0) == pytest.approx(FRONT)
    assert direction(90, 0) == pytest.approx(RIGHT)
    assert direction(0, 90) == pytest.approx(UP)
    a, e = np.radians([37, -21])
    assert direction(37, -21) == pytest.approx([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])


def test_stage_lights_are_even() -> None:
    d = light.stage_directions(114)
    assert np.linalg.norm(d, axis=1) == pytest.approx(np.ones(114))
    nearest = np.sort(d @ d.T, axis=1)[:, -2]
    assert np.degrees(np.arccos(nearest)).min() > 10
    assert np.abs(d.mean(0)).max() < 0.01


# ------------------------------------------------------------------ spherical harmonics


def test_the_basis_is_orthonormal() -> None:
    d = sphere()
    gram = sh_basis(d).T @ sh_basis(d) * 4 * np.pi / len(d)
    assert gram == pytest.approx(np.eye(9), abs=2e-3)


def test_an_even_environment_shades_everything_alike() -> None:
    d = sphere(2000)
    assert sh_shading(projected(np.full(60_000, 0.7), sphere()), d) == pytest.approx(np.full((2000, 3), 0.7), abs=1e-3)
    assert sh_shading(light.ambient(0.7), d) == pytest.approx(np.full((2000, 3), 0.7), abs=1e-5)


def test_a_smooth_environment_matches_brute_force() -> None:
    d = sphere(20_000)
    radiance = 0.6 + 0.3 * d[:, 1] + 0.2 * d[:, 0] * d[:, 2] - 0.1 * d[:, 0]
    normals = light.stage_directions(40)
    brute = np.array([(np.clip(d @ n, 0, None) * radiance).sum() * 4 / len(d) for n in normals])
    assert sh_shading(projected(radiance, d), normals)[:, 0] == pytest.approx(brute, abs=2e-3)


def test_one_direction_is_the_clamped_cosine_to_second_order() -> None:
    d = direction(30, 20)
    shading = sh_shading(np.repeat(sh_basis(d)[:, None], 3, 1) * np.pi, sphere(3000))[:, 0]
    cosine = np.clip(sphere(3000) @ d, 0, None)
    assert np.abs(shading - cosine).max() < 0.13  # what nine coefficients leave, Ramamoorthi 2001
    assert np.sqrt(((shading - cosine) ** 2).mean()) < 0.06
    assert shading.max() == pytest.approx(1.0625, abs=0.01)


def test_sky_brightens_what_looks_up() -> None:
    up, down = sh_shading(light.ambient(0.5, 0.6), np.stack([UP, -UP]))[:, 0]
    assert up > 0.55
    assert down < 0.45


def test_the_light_is_found_in_spite_of_outliers() -> None:
    chance = np.random.default_rng(3)
    normals = light.stage_directions(6000)
    normals = normals[normals[:, 2] > 0.2]
    truth = np.array([1.2, 0.5, 0.6, -0.5, 0, 0, 0, 0, 0]) / 0.2820948 * 0.3
    level = (sh_basis(normals) * light.COSINE) @ truth
    level[chance.random(len(level)) < 0.15] *= 0.2  # brows and cast shadows
    found = light.fit_sh(level, normals)
    shading = (sh_basis(normals) * light.COSINE) @ found
    wanted = (sh_basis(normals) * light.COSINE) @ truth
    assert np.corrcoef(shading, wanted)[0, 1] > 0.995
    assert shading.mean() == pytest.approx(1, abs=1e-6)
    assert shading / shading.mean() == pytest.approx(wanted / wanted.mean(), abs=0.1)


# ------------------------------------------------------------------ the table of normals


def test_normals_survive_the_table() -> None:
    d = sphere(5000)
    d = d[d[:, 2] > np.cos(np.radians(103))]
    assert light.decode_normals(light.encode_normals(d)) == pytest.approx(d, abs=1e-6)


def test_the_encoding_has_equal_areas() -> None:
    e = np.random.default_rng(0).uniform(-1, 1, (200_000, 2))
    z = light.decode_normals(e[(e**2).sum(1) < 1])[:, 2]
    assert np.histogram(z, np.linspace(0, 1, 6))[0] / len(z) == pytest.approx(np.full(5, 0.2), abs=0.01)


def test_the_tables_entries_are_where_they_are_looked_up() -> None:
    table = light.table_normals(SIDE)
    n = table[SIDE // 3, 2 * SIDE // 3]
    at = (light.encode_normals(n) / light.EXTENT * 0.5 + 0.5) * (SIDE - 1)
    assert at == pytest.approx([2 * SIDE // 3, SIDE // 3], abs=1e-5)
    middle = SIDE // 2
    assert table[middle, -3, 0] > 0.9  # columns run to the image's right
    assert table[-3, middle, 1] > 0.9  # rows run up


# ------------------------------------------------------------------ lights on a ball


@pytest.mark.parametrize(("az", "el", "side"), [(60, 0, "right"), (-60, 0, "left"), (0, 60, "top"), (0, -60, "bottom")])
def test_a_sun_brightens_its_own_side(az: float, el: float, side: str) -> None:
    normals, inside = half_ball()
    shaded = np.where(inside, shade_normals(sun(az, el), normals)[..., 0], 0)
    half = {"left": np.s_[:, :32], "right": np.s_[:, 32:], "top": np.s_[:32], "bottom": np.s_[32:]}
    assert shaded[half[side]].sum() > 0.85 * shaded.sum()


def test_a_sun_squarely_on_a_surface_gives_its_gain() -> None:
    assert shade_normals(sun(25, 10, 0.8), direction(25, 10)) == pytest.approx(np.full(3, 0.8))
    assert shade_normals(sun(25, 10), -direction(25, 10)) == pytest.approx(np.zeros(3))


def test_skin_wraps_red_farther_than_blue() -> None:
    edge = shade_normals(sun(90, 0), FRONT)
    assert edge[0] > edge[1] > edge[2] > 0
    assert edge[0] < 0.04


@pytest.mark.parametrize("softness", [0.7, 1.0])
def test_a_large_lamp_as_harmonics_shades_alike(softness: float) -> None:
    d, colour = direction(40, 25), np.array([1.0, 0.8, 0.5])
    n = light.stage_directions(300)
    lamp, sky = light.shade_lamp(n @ d, colour, softness), sh_shading(light.area_sh(d, colour, softness), n)
    assert np.abs(lamp - sky).mean() < 0.025
    assert sky[np.argmax(n @ d)] == pytest.approx(lamp[np.argmax(n @ d)], abs=0.07)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_light_one_can_use(name: str) -> None:
    lighting = light.preset(name)
    assert lighting.name == name
    assert np.linalg.norm(lighting.directions, axis=1) == pytest.approx(np.ones(len(lighting.directions)), abs=1e-5)
    assert lighting.colours.min() >= 0
    assert ((lighting.softness >= 0) & (lighting.softness <= 1)).all()
    normals, inside = half_ball()
    shaded = shade_normals(lighting, normals)[inside]
    assert np.isfinite(shaded).all()
    assert 0.02 < shaded.mean() < 1.3
    assert PRESETS[name][2]


def test_presets_look_like_their_names() -> None:
    normals, inside = half_ball()

    def halves(name: str, turned: float = 0.0) -> tuple[float, float]:
        shaded = np.where(inside, shade_normals(light.preset(name, turned), normals).mean(-1), 0)
        return float(shaded[:, :32].sum()), float(shaded[:, 32:].sum())

    left, right = halves("rembrandt")
    assert left > 1.4 * right  # the key stands on the image's left
    left, right = halves("split")
    assert left > 3 * right
    left, right = halves("butterfly")
    assert left == pytest.approx(right, rel=0.01)
    front = {n: shade_normals(light.preset(n), FRONT).mean() for n in ("rim", "flat")}
    assert front["rim"] < 0.5 * front["flat"]
    assert halves("broad")[0] > halves("broad")[1]
    assert halves("broad", 20)[0] < halves("broad", 20)[1]  # follows the portrait's own turn
    neon = shade_normals(light.preset("neon"), np.stack([direction(-70, 0), direction(70, 0)]))
    assert neon[0, 0] > 2 * neon[0, 1]
    assert neon[1, 2] > 2 * neon[1, 0]


def test_an_unknown_preset_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        light.preset("noir")


# ------------------------------------------------------------------ maps


def test_a_maps_directions_cover_the_sphere() -> None:
    d, solid = light.map_directions(64, 128)
    assert solid.sum() == pytest.approx(4 * np.pi, rel=1e-3)
    assert d[32, 64] == pytest.approx(FRONT, abs=0.06)  # the middle of the map is toward the viewer
    assert d[32, 96] == pytest.approx(RIGHT, abs=0.06)
    assert d[0, 64, 1] > 0.99
    image = np.arange(64 * 128 * 3, dtype=float).reshape(64, 128, 3)
    assert light.sample_equirectangular(image, d) == pytest.approx(image)


@pytest.mark.parametrize(("az", "el"), [(0, 0), (-70, 20), (130, -45)])
def test_most_light_comes_from_where_the_lamp_is_in_any_form(az: float, el: float) -> None:
    lamp = sun(az, el)
    smooth = np.repeat((np.pi * sh_basis(direction(az, el)))[:, None], 3, 1)  # the same lamp in harmonics
    for shown in (lamp, Lighting("", smooth), replace(lamp, sh=ambient(0.5))):
        assert dominant(shown) == pytest.approx([az, el], abs=0.01)
    assert directedness(lamp) == pytest.approx(1)
    assert directedness(Lighting("", smooth)) == pytest.approx(1, abs=1e-3)
    assert directedness(Lighting("", ambient(0.5))) < 1e-6
