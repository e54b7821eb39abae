"""The bag of the mouth behind the lips."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera
from offline import mouth
from offline.facemesh import boundary_edges
from offline.layers import Cell, tongue_cell
from offline.parts import MeshParts
from offline.rig import NOSE_BASE, with_nose

CAMERA = Camera(900.0, 255.5, 255.5)
HERE = np.array([0.0, 0.0, -60.0])


def test_the_bag_behind_the_lips_is_closed_and_moves_with_them() -> None:
    camera, fit = CAMERA, FaceFit(np.eye(3), HERE, canonical().landmarks + HERE, 0.0)
    marks = np.column_stack([camera.project(fit.points), np.zeros(478)])
    cavity = Cell("mouth cavity", np.zeros((20, 30, 3), np.float32), np.ones((20, 30), np.float32), (0, 0), 0.1)
    parts = MeshParts()
    mouth.add_mouth_bag(parts, fit, marks, camera, cavity, (100, 200))
    mesh = parts.finish()
    edges = boundary_edges(mesh["triangles"])
    count = len(mesh["vertices"]) // len(mouth.BAG)
    last = np.arange(len(mesh["vertices"])) >= len(mesh["vertices"]) - count
    rim = edges[~last[edges].all(1)]
    assert (rim < count).all()  # open only at the lips; its end is nearly a point
    assert np.ptp(mesh["vertices"][last], axis=0).max() < 0.5
    assert (mesh["vertices"][last, 2] < mesh["vertices"][:count, 2].min() - 2).all()
    assert ((mesh["source"][:, :2] >= [100, 200]) & (mesh["source"][:, :2] <= [130, 220])).all()
    rows = sp.csr_matrix((mesh["rig_value"], mesh["rig_index"], mesh["rig_indptr"]), (len(mesh["vertices"]), 468))
    assert np.asarray(rows.sum(1)).ravel()[:count] == pytest.approx(np.ones(count), abs=0.02)


def test_the_bag_opens_away_from_lips_that_bow_where_they_meet() -> None:
    bowed = canonical().landmarks.copy()
    dip = 0.3 * np.exp(-((bowed[:468, 0] / 0.6) ** 2)) * (np.abs(bowed[:468, 1] - bowed[13, 1]) < 1.0)
    bowed[:468, 1] -= dip  # a cupid's bow
    fit = FaceFit(np.eye(3), HERE, bowed + HERE, 0.0)
    marks = np.column_stack([CAMERA.project(fit.points), np.zeros(478)])
    cavity = Cell("mouth cavity", np.zeros((20, 30, 3), np.float32), np.ones((20, 30), np.float32), (0, 0), 0.1)
    parts = MeshParts()
    mouth.add_mouth_bag(parts, fit, marks, CAMERA, cavity, (0, 0))
    rim, behind = np.split(np.asarray(parts.vertices[-1]), len(mouth.BAG))[:2]
    rows = np.asarray(parts.rig[-1].todense())[: len(rim)]
    upper = rows[:, [81, 82, 13, 312, 311]].sum(1) > 0.5
    assert upper.sum() >= 5
    assert (behind[upper, 1] > rim[upper, 1] + 0.15).all()


def test_what_the_jaw_does_not_move_stays_with_the_nose() -> None:
    weights = np.asarray(with_nose(np.array([1.0, 0.25, 0.0])).todense())
    moved = np.zeros((468, 3))
    moved[list(NOSE_BASE)] = [0.0, 0.3, 0.0]
    np.testing.assert_allclose(weights @ moved, [[0, 0.3, 0], [0, 0.075, 0], [0, 0, 0]], atol=1e-9)


def test_a_tongue_is_a_dome_without_an_edge() -> None:
    cover = tongue_cell(50.0, 200.0).alpha
    rows, columns = cover.shape
    assert cover[rows // 2, columns // 2] > 0.99
    assert cover[: rows // 3, [columns // 20, -columns // 20]].max() < 0.05
    steps = np.abs(np.diff(cover[: rows // 2], axis=0)).max(), np.abs(np.diff(cover[: rows // 2], axis=1)).max()
    assert max(steps) < 0.12
