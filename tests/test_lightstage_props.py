"""Props on a toy kit."""

from __future__ import annotations

import numpy as np
import pytest
from toy_kit import bust_surface, toy_kit, toy_marks

from offline.facekit import FaceKit
from offline.lightstage import garments, hair, shells
from offline.lightstage.props import beard_prop, glasses_prop, regions, sample_props, vertex_normals


@pytest.fixture(scope="module")
def kit() -> FaceKit:
    return toy_kit()


@pytest.fixture(scope="module")
def marks(kit: FaceKit) -> np.ndarray:
    return toy_marks(kit)


def signed_volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = vertices[triangles].astype(np.float64).transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def test_grid_normals_and_triangles_look_outward() -> None:
    vertices, triangles = bust_surface()
    normal = shells.grid_normals(vertices.reshape(120, 96, 3).astype(np.float64))[40]
    radial = vertices.reshape(120, 96, 3)[40] - [0, 0, 1]
    assert (np.einsum("ij,ij->i", normal[:, [0, 2]], radial[:, [0, 2]]) > 0).all()
    assert signed_volume(vertices, triangles) > 0
    assert (
        np.einsum("ij,ij->i", vertex_normals(vertices.astype(np.float64), triangles)[40 * 96 : 41 * 96], radial).min()
        > 0
    )


def test_polar_grid_lies_on_the_surface_and_follows_it(kit: FaceKit) -> None:
    scalp = regions(kit).scalp
    points = scalp.points(kit.neutral)
    np.testing.assert_allclose(points, scalp.neutral, atol=1e-3)
    top = points[(points[..., 1] > 0) & (points[..., 1] < 8)]
    radius = np.hypot(top[:, 0], (top[:, 2] - 1) / 1.15)
    # Where the FaceKit has its ears the grid is filled in from around them, here too.
    assert np.abs(radius - np.interp(top[:, 1], [-2, 2, 6, 10], [7.4, 8, 8, 7])).max() < 0.35
    np.testing.assert_allclose(scalp.points(kit.neutral + np.float32(2)), points + 2, atol=1e-3)


def test_regions_are_found_once(kit: FaceKit) -> None:
    assert regions(kit) is regions(kit)


def test_ring_noise_has_no_seam() -> None:
    a = np.array([0.0, 2 * np.pi, -2 * np.pi])
    value = shells.ring_noise(np.random.default_rng(1), a, 13)
    np.testing.assert_allclose(value, value[0], atol=1e-9)


def test_around_is_even_and_passes_its_values() -> None:
    value = shells.around([0, 90, 180], [1, 3, 3], np.deg2rad([-45.0, 45, 150]))
    np.testing.assert_allclose(value, [2, 2, 3], atol=1e-6)


@pytest.mark.parametrize("closed", [True, False])
def test_tube_is_as_thick_as_asked_and_looks_outward(closed: bool) -> None:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    path = np.stack([5 * np.cos(t), 5 * np.sin(t), 0 * t], -1)
    if not closed:
        path = np.stack([t, 0 * t, 0 * t], -1)
    vertices, triangles = shells.tube(path, 0.5, closed=closed)
    np.testing.assert_allclose(np.linalg.norm(vertices.reshape(9, 60, 3) - path, axis=-1), 0.5, atol=1e-5)
    corner = vertices[triangles]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    away = corner.mean(1) - np.tile(path, (9, 1))[triangles].mean(1)
    assert (np.einsum("ij,ij->i", normal, away) > 0).mean() > 0.99


def test_props_are_sound_meshes(kit: FaceKit, marks: np.ndarray) -> None:
    names = set()
    for seed in range(30):
        props = sample_props(np.random.default_rng(seed), kit, kit.neutral, marks)
        names |= {p.name for p in props}
        assert sum(len(p.triangles) for p in props) < 36000
        for p in props:
            assert p.vertices.dtype == np.float32
            assert p.triangles.dtype == np.int32
            assert p.albedo.shape == p.vertices.shape
            assert p.triangles.min() == 0
            assert p.triangles.max() == len(p.vertices) - 1
            assert np.isfinite(p.vertices).all()
            assert np.isnan(p.albedo).all() == (p.label == "skin")
            if p.label != "skin":
                assert (p.albedo > 0).all()
                assert (p.albedo <= 0.95).all()
    assert {"hair", "shoulders", "collar"} <= names


def test_the_same_seed_gives_the_same_props(kit: FaceKit, marks: np.ndarray) -> None:
    one, two = (sample_props(np.random.default_rng(7), kit, kit.neutral, marks) for _ in range(2))
    assert [p.name for p in one] == [p.name for p in two]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.vertices, b.vertices)


def test_hair_leaves_the_face_free_and_stands_off_the_crown(kit: FaceKit) -> None:
    scalp = regions(kit).scalp
    line = shells.around(hair.EAR_DEGREES, hair.HAIRLINE, scalp.azimuth)
    style = hair.Hair(line, top=2.0, side=1.0)
    prop = hair.hair_prop(np.random.default_rng(0), scalp, scalp.points(kit.neutral), style, np.full(3, 0.1), None)
    front = np.abs(prop.vertices[:, 0]) < 4
    assert prop.vertices[front & (prop.vertices[:, 2] > 5), 1].min() > 7
    assert 15.2 < prop.vertices[:, 1].max() < 18


def test_long_hair_hangs_to_its_tip(kit: FaceKit) -> None:
    scalp = regions(kit).scalp
    line = shells.around(hair.EAR_DEGREES, hair.HAIRLINE, scalp.azimuth)
    style = hair.Hair(line, top=1.5, side=1.0, tip=-20.0)
    prop = hair.hair_prop(np.random.default_rng(0), scalp, scalp.points(kit.neutral), style, np.full(3, 0.1), None)
    assert -25 < prop.vertices[:, 1].min() < -17
    low = prop.vertices[prop.vertices[:, 1] < -3]
    assert low[np.abs(low[:, 0]) < 3, 2].max() < 4  # nothing hangs before the face


def test_a_cap_presses_the_hair_and_its_brim_shades_the_brow(kit: FaceKit) -> None:
    scalp = regions(kit).scalp
    head = scalp.points(kit.neutral)
    props, press = garments.hat_prop(np.random.default_rng(0), scalp, head, "cap")
    assert [p.name for p in props] == ["cap", "brim"]
    assert press.min() == 0
    assert press.max() == 1
    assert props[1].vertices[:, 2].max() > head[..., 2].max() + 3


def test_the_body_is_as_wide_as_shoulders_and_reaches_down(kit: FaceKit) -> None:
    props = {p.name: p for p in garments.body_props(np.random.default_rng(3), regions(kit).bust, kit.neutral)}
    body = props["shoulders"].vertices
    assert 34 < np.ptp(body[:, 0]) < 48
    assert body[:, 1].min() < -33


def test_glasses_sit_before_the_eyes(kit: FaceKit, marks: np.ndarray) -> None:
    prop = glasses_prop(np.random.default_rng(0), kit.neutral.astype(np.float64), marks)
    eyes = kit.neutral[marks[36:48]]
    near = prop.vertices[(np.abs(prop.vertices[:, 1] - eyes[:, 1].mean()) < 1) & (np.abs(prop.vertices[:, 0]) < 5)]
    assert near[:, 2].min() > eyes[:, 2].min()
    assert signed_volume(prop.vertices, prop.triangles) > 0


def test_a_beard_leaves_the_lips_free(kit: FaceKit, marks: np.ndarray) -> None:
    mouth = kit.neutral[marks[60:68]].mean(0)
    for seed in range(6):
        prop = beard_prop(
            np.random.default_rng(seed), regions(kit), kit.neutral.astype(np.float64), marks, np.full(3, 0.05)
        )
        assert len(prop.triangles) > 20
        assert np.linalg.norm(prop.vertices - mouth, axis=1).min() > 0.3
