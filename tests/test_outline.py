"""Strips behind the rims of the face: where they begin, where they end, what they show."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera
from offline import outline
from offline.facemesh import face_topology
from offline.parts import MeshParts

CAMERA = Camera(900.0, 255.5, 255.5)
HERE = np.array([0.0, 0.0, -60.0])


def pixels() -> np.ndarray:
    """(V, 2) the canonical face as CAMERA sees it."""
    return CAMERA.project(np.asarray(face_topology().smooth @ canonical().landmarks[:468]) + HERE)


def test_outward_points_away_from_the_face_and_into_its_holes() -> None:
    at = pixels()
    away = outline.outward(at)
    topology = face_topology()
    assert np.linalg.norm(away[topology.rim], axis=1) == pytest.approx(np.ones(topology.rim.sum()))
    from_middle = at - at[:468].mean(0)
    assert ((away * from_middle).sum(1)[topology.rim] > 0).all()
    assert away[152] == pytest.approx([0, 1], abs=0.1)
    assert away[13][1] > 0.9  # the upper lip's rim looks down
    assert away[14][1] < -0.9
    assert not away[~(topology.rim | topology.hole)].any()


def test_the_jaw_runs_from_ear_to_ear_under_the_chin() -> None:
    jaw = outline.jaw_rim()
    assert jaw[[152, 58, 288]].all()
    assert not jaw[[10, 127, 4]].any()


def test_skin_is_known_in_shadow_and_cloth_is_not() -> None:
    picture = np.full((60, 60, 3), (200, 150, 120), np.uint8)
    picture[30:45] = (100, 75, 60)
    picture[45:] = (20, 30, 160)
    skin = np.array([[30.0, 8.0], [20.0, 9.0], [40.0, 10.0]])
    places = np.array([[30.0, 10.0], [30.0, 37.0], [30.0, 56.0]])
    assert outline.of_skin(picture, places, skin).tolist() == [True, True, False]


def test_a_strip_hangs_on_its_edges_and_leaves_out_its_last_row_where_it_must() -> None:
    at = pixels()
    edges = outline.rim_edges()[0]
    edges = edges[outline.jaw_rim()[edges].all(1)]
    z = np.full(len(at), -60.0)
    last = at[:, 0] < 255
    parts = MeshParts()
    outline.add_strip(parts, edges, [at, at + 3, at + 6], [at, at, at], [z, z - 1, z - 4], CAMERA, [1, 1, 0], last=last)
    mesh = parts.finish()
    n = len(np.unique(edges))
    assert mesh["vertices"].shape == (3 * n, 3)
    assert mesh["vertices"][:n, 2] == pytest.approx(-60)
    assert mesh["vertices"][-n:, 2] == pytest.approx(-64)
    assert len(mesh["triangles"]) == 2 * len(edges) + 2 * int(last[edges].all(1).sum())
    assert not mesh["rig_indptr"][-1] - mesh["rig_indptr"][-n - 1]  # the last ring stays with the neck
