"""The networks on a portrait: what goes in is level, what comes out lies on the canvas again."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera
from offline import networks
from offline.networks import Estimate, Networks, border, estimate, load_networks

torch = pytest.importorskip("torch")

CAMERA = Camera(600.0, 199.5, 219.5)
SIZE = (400, 440)  # width, height


@pytest.fixture(scope="module")
def marks() -> np.ndarray:
    """Landmarks of the average face before CAMERA, the detector's depth with them."""
    points = canonical().landmarks + np.array([0, 0, -60])
    pixels = CAMERA.project(points)
    return np.concatenate([pixels, -(points[:, 2:] - points[:, 2].mean()) * 10], 1)


@pytest.fixture(scope="module")
def untrained() -> Networks:
    """Networks that add nothing: F_N gives the landmark surface back, F_A the photograph."""
    from narrate_stream.nets.unet import UNet, architecture_for

    made = []
    for task in ("normals", "albedo"):
        network = UNet(architecture_for(task)).eval()
        with torch.no_grad():
            network.last.weight.zero_()
        made.append(network)
    return Networks(*made)


@pytest.fixture(scope="module")
def seen(marks: np.ndarray, untrained: Networks) -> Estimate:
    image = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
    return estimate(untrained, image, np.ones(SIZE[::-1], np.float32), marks, CAMERA)


def test_normals_are_unit_and_lie_where_the_face_is(seen: Estimate, marks: np.ndarray) -> None:
    assert seen.normal.shape == (440, 400, 3)
    np.testing.assert_allclose(np.linalg.norm(seen.normal, axis=-1), 1, atol=1e-4)
    left, right = marks[50, :2].astype(int), marks[280, :2].astype(int)  # the cheeks
    assert seen.normal[left[1], left[0], 0] < -0.2
    assert seen.normal[right[1], right[0], 0] > 0.2
    assert seen.normal[int(marks[4, 1]) - 3, int(marks[4, 0]), 2] > 0.8
    uneven = np.abs(seen.normal[:, ::-1] * [-1, 1, 1] - seen.normal).max(-1)  # it is a symmetric face
    assert (uneven < 0.15).mean() > 0.975  # but for a pixel or two along its outline


def test_confidence_ends_with_the_window(seen: Estimate, marks: np.ndarray) -> None:
    x, y = marks[1, :2].astype(int)
    assert seen.confidence[y, x] > 0.9
    assert seen.confidence[0, 0] == 0
    assert seen.confidence.min() >= 0
    assert seen.confidence.max() <= 1
    assert seen.error[0, 0] == 90


def test_nothing_is_believed_where_there_is_no_person(marks: np.ndarray, untrained: Networks) -> None:
    cover = np.ones(SIZE[::-1], np.float32)
    cover[:, : SIZE[0] // 2] = 0
    out = estimate(untrained, np.full((SIZE[1], SIZE[0], 3), 120, np.uint8), cover, marks, CAMERA)
    assert out.confidence[:, : SIZE[0] // 2 - 4].max() == 0
    assert out.confidence.max() > 0.9


def test_a_photograph_taken_for_its_own_albedo_has_no_shading(seen: Estimate, marks: np.ndarray) -> None:
    x, y = marks[1, :2].astype(int)
    assert seen.shading is not None
    np.testing.assert_allclose(seen.shading[y - 20 : y + 20, x - 20 : x + 20], 1, atol=0.02)


def test_without_f_a_there_is_no_shading(marks: np.ndarray, untrained: Networks, seen: Estimate) -> None:
    image = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
    out = estimate(Networks(untrained.normals, None), image, np.ones(SIZE[::-1], np.float32), marks, CAMERA)
    assert out.shading is None
    np.testing.assert_array_equal(out.normal, seen.normal)


def test_the_window_fades_at_its_border() -> None:
    fade = border()
    assert fade[0].max() == 0
    assert fade[48, 48] == 1
    assert (np.diff(fade[48, :48]) >= 0).all()


def test_without_weights_there_are_no_networks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(networks, "weights_path", lambda task: tmp_path / f"{task}.safetensors")
    load_networks.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert load_networks() is None
    assert "geometry alone" in caplog.text
    load_networks.cache_clear()


def test_the_mouth_is_left_to_the_geometry(marks: np.ndarray) -> None:
    from offline.build import outside_mouth
    from offline.picture import load_builtin_portrait
    from offline.preprocess import prepare

    portrait = prepare(load_builtin_portrait(), 512)
    h, w = portrait.image.shape[:2]
    kept = outside_mouth(np.ones((h, w), np.float32), portrait)
    upper, lower = portrait.landmarks[13, :2], portrait.landmarks[14, :2]
    x, y = np.round((upper + lower) / 2).astype(int)
    assert kept[y, x] < 0.1
    nose = np.round(portrait.landmarks[4, :2]).astype(int)
    assert kept[nose[1], nose[0]] == 1
    assert kept.mean() > 0.98
