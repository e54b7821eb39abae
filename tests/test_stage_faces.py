"""Photographs of a toy head: what is under a landmark, what is left out, and what the seed decides."""

from __future__ import annotations

import numpy as np
import pytest
from toy_kit import toy_kit

from offline.facekit import FaceKit
from offline.stage_faces import FAR, NEAR, SIZE, Shot, Studio


class Marker:
    """In the detector's place: landmarks at given pixels; keeps the pictures."""

    def __init__(self, pixels: np.ndarray | None) -> None:
        self.pixels = pixels
        self.pictures: list[np.ndarray] = []

    def __call__(self, picture: np.ndarray) -> np.ndarray | None:
        self.pictures.append(picture)
        return self.pixels


def spread_out() -> np.ndarray:
    """(478, 3) landmarks all over the picture."""
    return np.random.default_rng(0).uniform([0, 0, -1], [SIZE - 1, SIZE - 1, 1], (478, 3))


@pytest.fixture(scope="module")
def kit() -> FaceKit:
    return toy_kit()


@pytest.fixture(scope="module")
def studio(kit: FaceKit) -> Studio:
    return Studio(kit)


def shot(studio: Studio, seed: int) -> tuple[Shot, np.ndarray]:
    marker = Marker(spread_out())
    found = studio.shoot(np.random.default_rng(seed), marker)  # type: ignore[arg-type]
    assert found is not None
    return found, marker.pictures[0]


@pytest.mark.parametrize("seed", range(4))
def test_depth_lies_on_the_head(studio: Studio, seed: int) -> None:
    found, _ = shot(studio, seed)
    known = ~np.isnan(found.depth)
    assert known.sum() > 60
    at = np.clip(np.round(found.landmarks[:468, :2]), 1, SIZE - 2)[known]
    point = (found.camera.unproject(at, found.depth[known]) - found.place) @ found.rotation  # kit space
    assert point[:, 1].min() > found.vertices[:, 1].min() - 0.1
    # the toy is turned on a lathe about (x, z) = (0, 1): a point's radius there is the vertices' at its height
    radius = np.hypot(point[:, 0], (point[:, 2] - 1) / 1.15)
    ring = found.vertices.reshape(120, 96, 3)[:, 0]
    wanted = np.interp(-point[:, 1], -ring[:, 1], (ring[:, 2] - 1) / 1.15)
    assert np.abs(radius - wanted)[np.abs(point[:, 1]) < 9].max() < 0.15


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_known_beside_the_head_or_behind_it(studio: Studio, seed: int) -> None:
    found, _ = shot(studio, seed)
    assert np.isnan(found.depth).any()
    middle = found.place + found.rotation @ [0, 0, 1]
    assert np.nanmin(found.depth) > middle[2] - 14  # the near side, chest included
    assert NEAR <= -found.place[2] <= FAR


def test_the_picture_shows_the_head_before_one_grey(studio: Studio) -> None:
    found, picture = shot(studio, 1)
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8
    x, y = np.clip(np.round(found.camera.project(found.place[None] + [0, 0, 8])[0]).astype(int), 0, SIZE - 1)
    assert (picture[y, x] != picture[2, 2]).any()
    assert (picture[2, 2:-2:40] == picture[2, 2]).all()


def test_the_seed_decides_everything(studio: Studio) -> None:
    (first, picture), (again, same), (other, _) = shot(studio, 5), shot(studio, 5), shot(studio, 6)
    assert (picture == same).all()
    assert (first.vertices == again.vertices).all()
    assert first.camera == again.camera
    assert first.camera != other.camera


def test_without_a_face_there_is_no_shot(studio: Studio) -> None:
    assert studio.shoot(np.random.default_rng(0), Marker(None)) is None  # type: ignore[arg-type]


def test_heads_differ_along_the_kits_identities_only(studio: Studio, kit: FaceKit) -> None:
    heads = np.array([studio.head(np.random.default_rng(seed)) for seed in range(12)])
    offset = heads - kit.neutral
    taller = kit.identity[0].astype(np.float64)
    weight = (offset * taller).sum((1, 2)) / (taller**2).sum()
    np.testing.assert_allclose(offset, weight[:, None, None] * taller, atol=1e-4)
    assert 0.4 < weight.std() < 1.6


def test_what_covers_the_eyes_is_not_drawn(kit: FaceKit) -> None:
    names = ("M_Face", "M_EyeOcclusion")
    material = np.zeros(len(kit.triangles), np.int32)
    material[::3] = 1
    veiled = FaceKit(kit.neutral, kit.identity, kit.expression, kit.expression_names, kit.triangles, material, names)
    renderer = Studio(veiled).renderer
    assert (material[renderer.kept] == 0).all()
    assert len(renderer.triangles) == (material == 0).sum()
