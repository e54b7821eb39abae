"""The differentiable route. Without PyTorch3D (no wheel; 20 minutes to build) only the conversions and the messages
are tested, and the rest says what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from narrate_stream.errors import MissingExtra
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.colour import srgb_from_linear
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.ops.lighting import sh_shading
from offline.facemesh import vertex_normals
from offline.facemodel import LANDMARKS
from offline.fit_pytorch3d import command, perspective, pytorch3d, refine, render_mesh
from offline.softmesh import MapRenderer, screen_of

CAMERA = Camera(360.0, 127.5, 120.0)
TRUE = FaceFit(rotation_from_angles(12, -5, 3), np.array([1.0, 2.0, -60.0]), np.zeros((478, 3)), 0.0)


@pytest.fixture
def rasteriser() -> None:
    try:
        pytorch3d()
    except MissingExtra as error:
        pytest.skip(f"{error}; tried with the CPU part of 0.7.9 compiled alone, never with a full build")


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("pytorch3d.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pytorch3d", None)


def test_the_camera_means_the_same_pixels() -> None:
    points = np.random.default_rng(0).uniform([-12, -12, -90], [12, 12, -30], (50, 3))
    given = perspective(CAMERA, (300, 200))
    turn = np.array(given["R"][0])
    assert np.linalg.det(turn) == pytest.approx(1)  # a mirror would turn the triangles inside out
    view = points @ turn + np.array(given["T"][0])  # PyTorch3D: row vectors; x left, y up, z forward
    assert (view[:, 2] > 0).all()
    screen = np.array(given["principal_point"][0]) - np.array(given["focal_length"][0]) * view[:, :2] / view[:, 2:]
    assert screen - 0.5 == pytest.approx(CAMERA.project(points))
    assert given["image_size"] == ((200, 300),)
    assert given["in_ndc"] is False


@pytest.mark.usefixtures("absent")
def test_absence_names_the_extra_and_the_way_to_it(tmp_path: Path) -> None:
    image, marks = np.zeros((64, 64, 3), np.uint8), np.zeros((478, 3))
    with pytest.raises(MissingExtra, match=r"\[pytorch3d\].*pip install"):
        refine(image, CAMERA, TRUE, landmarks=marks)
    picture = tmp_path / "portrait.png"
    picture.write_bytes(b"never read")
    done = CliRunner().invoke(command, [str(picture), "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "[pytorch3d]" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("absent")
def test_a_broken_build_is_not_called_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pytorch3d"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "renderer.py").write_text("from pytorch3d import _C")
    monkeypatch.delitem(sys.modules, "pytorch3d")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"cannot be used.*_C"):
        pytorch3d()
    for name in ("pytorch3d", "pytorch3d.renderer"):
        sys.modules.pop(name, None)


def sphere(count: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Vertices on the unit sphere and its triangles."""
    polar, azimuth = np.linspace(0, np.pi, count + 1)[:, None], np.arange(2 * count) * np.pi / count
    height = np.broadcast_to(np.cos(polar), (count + 1, 2 * count))
    points = np.stack([np.sin(polar) * np.cos(azimuth), height, np.sin(polar) * np.sin(azimuth)], -1).reshape(-1, 3)
    i, j = (a.ravel() for a in np.meshgrid(np.arange(count), np.arange(2 * count), indexing="ij"))
    a, b, below = i * 2 * count + j, i * 2 * count + (j + 1) % (2 * count), 2 * count
    return points, np.concatenate([np.stack([a, a + below, b], 1), np.stack([b, a + below, b + below], 1)])


@pytest.mark.usefixtures("rasteriser")
@pytest.mark.parametrize("size", [(160, 110), (96, 128)])
def test_both_rasterisers_draw_the_same(size: tuple[int, int]) -> None:
    import torch

    face, (ball, around) = canonical(), sphere()
    points = face.landmarks[:LANDMARKS] @ rotation_from_angles(28, -10, 8).T + [1.5, 2.0, -55.0]
    vertices = np.concatenate([points, ball * 5 + [4.0, -6.0, -42.0]])  # the ball hides a part of the face
    triangles = np.concatenate([face.triangles, around + LANDMARKS]).astype(np.int64)
    source = np.concatenate([face.landmarks[:LANDMARKS, :2], ball[:, :2] * 5]) * 10
    camera = Camera(1.4 * max(size), size[0] / 2 - 0.5 + 6.3, size[1] / 2 - 0.5 - 3.7)
    alpha, theirs = render_mesh(*(torch.as_tensor(a) for a in (vertices, triangles, source)), camera, size)
    ours = MapRenderer(triangles).map(screen_of(vertices, camera.project(vertices)), source, *size)
    a, b = alpha.numpy() > 0, ~np.isnan(ours[..., 0])
    assert a.shape == size[::-1]
    assert 0.1 < b.mean() < 0.6
    assert (a & b).sum() / (a | b).sum() >= 0.995
    off = np.abs(theirs.numpy() - ours)[a & b].max(-1)
    assert np.quantile(off, 0.99) < 0.01  # pixels of the source; beyond lie ties between two surfaces
    assert (off > 0.1).mean() < 0.001


def photograph() -> tuple[np.ndarray, np.ndarray]:
    """(256, 256, 3) sRGB of the canonical face under soft light from the upper right, by our own rasteriser, with
    dark brows and lips; and its albedo (468, 3)."""
    face = canonical()
    points = face.landmarks[:LANDMARKS]
    dark = sum(np.exp(-((points - points[k]) ** 2).sum(1) / r) for k, r in ((13, 6), (105, 2), (334, 2)))
    albedo = np.array([0.55, 0.38, 0.3]) * (1 - 0.6 * np.asarray(dark)[:, None] * [0.5, 1, 1])
    vertices = TRUE.camera(points)
    light = np.zeros((9, 3))
    light[:4] = np.array([2.2, 0.8, 1.2, 0.9])[:, None]
    values = np.concatenate([albedo, vertex_normals(vertices, face.triangles)], 1)
    drawn = MapRenderer(face.triangles).map(screen_of(vertices, CAMERA.project(vertices)), values, 256, 256)
    normal = drawn[..., 3:] / np.linalg.norm(drawn[..., 3:], axis=-1, keepdims=True)
    linear = drawn[..., :3] * np.maximum(sh_shading(light, normal), 0)
    return np.asarray(srgb_from_linear(np.nan_to_num(linear, nan=0.2)) * 255 + 0.5, np.uint8), albedo


def turned(degrees: list[float], shift: list[float]) -> FaceFit:
    off = Rotation.from_rotvec(np.radians(degrees)).as_matrix()
    return FaceFit(off @ TRUE.rotation, TRUE.translation + shift, TRUE.points, 0.0)


def apart(fit: FaceFit) -> float:
    """Degrees from the true pose."""
    return float(np.degrees(Rotation.from_matrix(fit.rotation @ TRUE.rotation.T).magnitude()))


@pytest.mark.usefixtures("rasteriser")
def test_the_picture_alone_gives_the_pose_back() -> None:
    image, albedo = photograph()
    start = turned([3, -5, 2], [0.5, -0.4, 1.5])
    found = refine(image, CAMERA, start, albedo=albedo, iterations=30, side=64)
    assert found.losses["photometric"][-1] < 0.25 * found.losses["photometric"][0]
    assert apart(found.fit) < 0.5 * apart(start)  # the rest is shape: 64 pixels do not tell them apart
    wanted = CAMERA.project(TRUE.camera(canonical().landmarks[:LANDMARKS]))
    assert np.abs(CAMERA.project(found.vertices) - wanted).mean() < 0.5  # 4 pixels at the start


@pytest.mark.usefixtures("rasteriser")
def test_refining_explains_the_picture_and_keeps_the_landmarks() -> None:
    image, _ = photograph()
    marks = CAMERA.project(TRUE.camera(canonical().landmarks))
    found = refine(image, CAMERA, turned([3, -5, 2], [0.5, -0.4, 1.5]), landmarks=marks, iterations=12, side=64)
    assert {len(line) for line in found.losses.values()} == {13}
    assert found.losses["photometric"][-1] < found.losses["photometric"][0]
    assert found.losses["total"][-1] < found.losses["total"][0]
    assert found.losses["landmarks"][-1] < 0.02
    assert apart(found.fit) < 1.5
    assert CAMERA.project(found.fit.points) == pytest.approx(marks, abs=1e-6)
