"""The physical face: weights, holes, outline and normals of the refined tessellation."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.lips import LOWER_LIP, UPPER_LIP
from narrate_stream.ops.canonical import canonical
from narrate_stream.retarget import UPPER_LIDS
from offline.facemesh import LANDMARKS, boundary_edges, face_topology, subdivide, vertex_normals
from offline.preprocess import OVAL


def test_one_triangle_becomes_four() -> None:
    triangles, edges = subdivide(np.array([[0, 1, 2]], np.int32), 3)
    assert len(triangles) == 4
    assert sorted(map(tuple, edges)) == [(0, 1), (0, 2), (1, 2)]
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    points = np.concatenate([points, points[edges].mean(1)])
    a, b, c = (points[triangles[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)[:, 2] / 2
    assert area == pytest.approx(np.full(4, 0.125))  # equal, and all turned the same way


def test_weights_sum_to_one_and_landmarks_keep_their_place() -> None:
    topology = face_topology()
    count = int(topology.triangles.max()) + 1
    assert topology.smooth.shape == (count, LANDMARKS)
    assert np.asarray(topology.smooth.sum(1)).ravel() == pytest.approx(np.ones(count))
    assert (topology.smooth[:LANDMARKS].toarray() == np.eye(LANDMARKS)).all()


def test_new_vertices_lie_smoothly_between_their_landmarks() -> None:
    topology = face_topology()
    face = canonical().landmarks[:LANDMARKS]
    points = topology.smooth @ face
    _, edges = subdivide(canonical().triangles, LANDMARKS)
    away = np.linalg.norm(points[LANDMARKS:] - face[edges].mean(1), axis=1)
    length = np.linalg.norm(face[edges[:, 0]] - face[edges[:, 1]], axis=1)
    assert (away < 0.5 * length + 0.05).mean() > 0.98
    assert away.max() < 0.5  # cm: nowhere does the surface swing out
    assert topology.smooth @ (face @ np.diag([2.0, 1, 1])) == pytest.approx(points * [2, 1, 1])


def test_eyes_and_mouth_are_open_and_the_outline_is_the_oval() -> None:
    topology = face_topology()
    assert set(OVAL) == set(np.flatnonzero(topology.rim[:LANDMARKS]))
    holes = set(np.flatnonzero(topology.hole[:LANDMARKS]))
    assert {*UPPER_LIP, *LOWER_LIP, *UPPER_LIDS[0], *UPPER_LIDS[1]} <= holes
    assert not holes & set(OVAL)
    eyes = set(np.flatnonzero(topology.eye[:LANDMARKS]))
    assert {*UPPER_LIDS[0], *UPPER_LIDS[1]} <= eyes < holes
    assert not eyes & {*UPPER_LIP, *LOWER_LIP}
    assert not (topology.hole & topology.rim).any()


def test_the_face_has_one_outline_and_three_holes() -> None:
    triangles = face_topology().triangles
    count = int(triangles.max()) + 1
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, used = np.unique(edges, axis=0, return_counts=True)
    assert used.max() == 2
    assert count - len(unique) + len(triangles) == 1 - 3  # Euler: a disc with three holes
    ends, times = np.unique(boundary_edges(triangles), return_counts=True)
    assert (times == 2).all()  # every rim is a closed loop
    assert len(ends) > 100


def test_depth_counts_edges_from_the_rim() -> None:
    topology = face_topology()
    assert (topology.depth[topology.hole | topology.rim] == 0).all()
    assert (topology.depth[~(topology.hole | topology.rim)] > 0).all()
    a, b = topology.triangles[:, :2].T
    assert np.abs(topology.depth[a].clip(0, 6) - topology.depth[b].clip(0, 6)).max() <= 1


def test_normals_of_the_face_look_outward() -> None:
    face = canonical().landmarks[:LANDMARKS]
    normals = vertex_normals(face, canonical().triangles)
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(LANDMARKS), abs=1e-6)
    assert (normals[[10, 151, 9, 8, 4, 199]][:, 2] > 0.3).all()
    assert normals[234, 0] < -0.3  # the subject's right cheek looks to the image's left
    assert normals[454, 0] > 0.3
