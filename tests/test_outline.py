"""Strips behind the rims of the face: where they begin, where they end, what they show."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from offline import mouth, outline
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


def test_only_a_turned_head_has_a_far_side_and_it_faces_away() -> None:
    for yaw, far in ((5.0, None), (35.0, 454), (-35.0, 234)):
        hidden = outline.far_side(FaceFit(rotation_from_angles(yaw, 0, 0), HERE, canonical().landmarks + HERE, 0.0))
        assert hidden[[234, 454]].tolist() == [far == 234, far == 454]


def test_a_strip_fades_toward_its_ends_only() -> None:
    line = np.array([[k, k + 1] for k in range(15)], np.int32)
    found = outline.fading_ends((np.arange(16) >= 5) * 1.0, line)
    assert (found[:6] < 0.5).all()
    assert (np.diff(found) >= 0).all()
    assert (found[5 + outline.FADING :] == 1).all()


def test_spreading_goes_one_step_along_a_line() -> None:
    line = np.array([[0, 1], [1, 2], [2, 3]], np.int32)
    assert outline.spread(np.array([1.0, 0, 0, 0]), line) == pytest.approx([0.5, 1 / 3, 0, 0])
    assert outline.spread(np.full(4, 2.0), line) == pytest.approx(np.full(4, 2.0))


def test_a_strip_hangs_on_its_edges_ring_behind_ring() -> None:
    at = pixels()
    edges = outline.rim_edges()[0]
    edges = edges[outline.jaw_rim()[edges].all(1)]
    z = np.full(len(at), -60.0)
    rings = [
        outline.Ring(at, at, z),
        outline.Ring(at + 3, at, z - 1, follow=0.5),
        outline.Ring(at + 6, at, z - 4, follow=0.0, head=0.2 * np.ones(len(at)), feather=0.0),
    ]
    parts = MeshParts()
    outline.add_strip(parts, edges, rings, CAMERA)
    mesh = parts.finish()
    n = len(np.unique(edges))
    assert mesh["vertices"].shape == (3 * n, 3)
    assert mesh["vertices"][:n, 2] == pytest.approx(-60)
    assert mesh["vertices"][-n:, 2] == pytest.approx(-64)
    assert len(mesh["triangles"]) == 4 * len(edges)
    assert mesh["head_weight"][-n:] == pytest.approx(0.2)
    assert mesh["source"][-n:, 2] == pytest.approx(0)
    assert not mesh["rig_indptr"][-1] - mesh["rig_indptr"][-n - 1]  # the last ring stays with the neck


def test_closed_lips_hang_inward_and_follow_their_own_lip() -> None:
    points = canonical().landmarks + HERE
    marks = np.column_stack([CAMERA.project(points), points[:, 2]])
    parts = MeshParts()
    mouth.add_lip_insides(parts, FaceFit(np.eye(3), HERE, points, 0.0), marks, CAMERA)
    mesh = parts.finish()
    n = len(mesh["vertices"]) // 3
    deep = mesh["vertices"][:n, 2] - mesh["vertices"][2 * n :, 2]
    assert deep == pytest.approx(np.full(n, mouth.LIP_DEEP[2] - mouth.LIP_DEEP[0]), abs=0.01)
    rig = sp.csr_matrix((mesh["rig_value"], mesh["rig_index"], mesh["rig_indptr"]), (3 * n, 468))
    assert np.asarray(rig.sum(1)).ravel() == pytest.approx(np.ones(3 * n), abs=0.05)


def test_what_is_beside_the_cheek_is_skin_or_hair_and_under_the_chin_nothing() -> None:
    at = pixels()
    rim = outline.Rim(at, np.full(len(at), -60.0), outline.outward(at) * 15.0)
    colours = np.full((512, 512, 3), (200, 150, 120), np.uint8)
    x, y = at[454, 0], at[152, 1]
    colours[:, int(x) :] = (20, 30, 160)
    colours[int(y) :] = (20, 30, 160)
    bare, hair = outline.beside_side(rim, colours, np.ones((512, 512), np.float32))
    assert bare[[234, 454, 152]].tolist() == [1, 0, 0]
    assert hair[[234, 454, 152]].tolist() == [0, 1, 0]
    nothing, none = outline.beside_side(rim, colours, np.zeros((512, 512), np.float32))
    assert not nothing.any()
    assert not none.any()
