"""The canonical face in torch: the same numbers as in numpy, light and pose found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from narrate_stream.errors import NarrateError
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.ops.lighting import COSINE, sh_basis
from offline.facemesh import vertex_normals
from offline.facemodel import LANDMARKS, FaceModel, basis_of, face_target, settle, solve_light

CAMERA = Camera(360.0, 127.5, 120.0)
FIT = FaceFit(rotation_from_angles(12, -5, 3), np.array([1.0, 2.0, -60.0]), np.zeros((478, 3)), 0.0)


def normals(count: int = 400) -> np.ndarray:
    n = np.random.default_rng(1).normal(size=(count, 3))
    return n / np.linalg.norm(n, axis=1, keepdims=True)


def test_it_starts_as_the_canonical_face() -> None:
    model = FaceModel(FIT, None)
    vertices = model.vertices()
    wanted = FIT.camera(canonical().landmarks[:LANDMARKS])
    assert vertices.detach().numpy() == pytest.approx(wanted, abs=1e-4)
    assert model.project(vertices, CAMERA).detach().numpy() == pytest.approx(CAMERA.project(wanted), abs=1e-3)
    outward = vertex_normals(wanted, canonical().triangles)
    assert model.normals(vertices).detach().numpy() == pytest.approx(outward, abs=1e-4)


def test_coefficients_move_by_sigmas() -> None:
    model = FaceModel(FIT, None)
    with torch.no_grad():
        model.free["identity"][2] = 1.5
        model.free["expression"][0] = -1.0
    face = canonical()
    wanted = FIT.camera((face.landmarks + 1.5 * face.identity[2] - face.expression[0])[:LANDMARKS])
    assert model.vertices().detach().numpy() == pytest.approx(wanted, abs=1e-4)


def test_the_basis_is_the_one_of_lighting() -> None:
    n = normals()
    assert basis_of(torch.as_tensor(n, dtype=torch.float32)).numpy() == pytest.approx(sh_basis(n) * COSINE, abs=1e-6)


def test_light_is_found_in_spite_of_outliers() -> None:
    basis = basis_of(torch.as_tensor(normals(), dtype=torch.float32))
    light = torch.tensor([3.0, 0.8, 1.2, -0.9, 0.3, 0.0, -0.2, 0.1, 0.2])
    albedo = torch.rand(len(basis), 3, generator=torch.Generator().manual_seed(0)) + 0.3
    colour = albedo * (basis @ light)[:, None]
    colour[::10] = 3.0
    shading = basis @ solve_light(colour, albedo, basis, torch.ones(len(basis)))
    assert float((shading - basis @ light).abs().mean()) < 0.06
    dim = basis @ solve_light(colour, 0.2 * albedo, basis, torch.ones(len(basis)))
    assert dim.numpy() == pytest.approx(5 * shading.numpy(), rel=1e-3)  # the albedo's scale is a convention


def test_landmarks_alone_give_the_pose() -> None:
    marks = CAMERA.project(FIT.camera(canonical().landmarks))
    off = Rotation.from_rotvec(np.radians([4, -6, 3])).as_matrix() @ FIT.rotation
    model = FaceModel(FaceFit(off, FIT.translation + np.array([0.6, -0.5, 3.0]), FIT.points, 0.0), None)
    target = face_target(np.full((256, 256, 3), 128, np.uint8), marks[:LANDMARKS], marks[:LANDMARKS], CAMERA, 96)
    settle(model, target)
    found = model.fit(marks, CAMERA, 0.0)
    assert np.degrees(Rotation.from_matrix(found.rotation @ FIT.rotation.T).magnitude()) < 1.0
    assert CAMERA.project(found.points) == pytest.approx(marks, abs=1e-6)
    assert model.priors(target)[1] < 0.01


def test_the_cut_keeps_pixels_under_points() -> None:
    points = FIT.camera(canonical().landmarks[:LANDMARKS])
    marks = CAMERA.project(points)
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, :, 0] = np.arange(256)
    target = face_target(image, marks, marks, CAMERA, 100)
    assert max(target.size) == 100
    assert target.marks == pytest.approx(target.camera.project(points), abs=1e-6)
    with pytest.raises(NarrateError, match="outside"):
        face_target(image, marks + 400, None, CAMERA, 100)
