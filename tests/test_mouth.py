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
from offline.layers import Cell
from offline.parts import MeshParts

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
