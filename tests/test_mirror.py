"""The unseen half of a turned face: one piece, softly laid over what is seen, in its colours."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from offline import mirror
from offline.facemesh import LANDMARKS, face_topology

CAMERA = Camera(700.0, 199.5, 199.5)
STRIP = np.array([[k, k + 1, k + 2] for k in range(8)])  # triangles in a row, each beside the next


def turned(yaw: float) -> FaceFit:
    """The canonical face, its head turned."""
    rotation, away = rotation_from_angles(yaw, 0, 0), np.array([0.0, 0.0, -60.0])
    return FaceFit(rotation, away, canonical().landmarks @ rotation.T + away, 0.0)


@pytest.mark.parametrize("yaw", [-40.0, 40.0])
def test_the_unseen_half_is_one_piece_on_the_far_side(yaw: float) -> None:
    topology = face_topology()
    vertices = np.asarray(topology.smooth @ turned(yaw).points[:LANDMARKS])
    noise = np.random.default_rng(1).normal(0, 0.05, vertices.shape)
    inside = np.ones(len(topology.triangles), np.bool_)
    hidden = mirror.unseen_triangles(vertices + noise, topology.triangles, yaw, inside)
    assert 0.03 < hidden.mean() < 0.4
    x = np.asarray(topology.smooth @ canonical().landmarks[:LANDMARKS])[:, 0]
    assert (x[topology.triangles[hidden]].mean(1) * yaw > 0).all()
    one = hidden & (np.arange(len(hidden)) == np.flatnonzero(hidden)[0])
    assert (mirror.connected(hidden, np.isin(np.arange(len(vertices)), topology.triangles[one]), topology.triangles)
            == hidden).all()  # fmt: skip


def test_a_face_from_the_front_shows_both_halves() -> None:
    topology = face_topology()
    vertices = np.asarray(topology.smooth @ turned(4.0).points[:LANDMARKS])
    assert not mirror.unseen_triangles(vertices, topology.triangles, 4.0, np.ones(len(topology.triangles), bool)).any()


def test_what_hangs_on_no_seed_is_left_out() -> None:
    chosen = np.array([1, 1, 0, 0, 0, 1, 1, 1], np.bool_)
    seed = np.arange(10) == 0
    assert mirror.connected(chosen, seed, STRIP).tolist() == [True, True] + [False] * 6


def test_the_mirror_image_fades_over_what_is_solid_and_ends_sharply_elsewhere() -> None:
    chosen = np.arange(8) >= 3
    solid = np.ones(8, np.bool_)
    rise = mirror.fading(chosen, solid, STRIP)
    assert (rise[3:5] == 0).all()
    assert (np.diff(rise[4:]) >= 0).all()
    assert rise[-1] >= 1
    assert (mirror.fading(chosen, solid & (np.arange(8) > 4), STRIP)[3:5] >= 1).all()


def test_a_field_goes_on_evenly_from_where_it_is_sure() -> None:
    sure = np.array([1.0] + [0.0] * 9)
    found = mirror.spread_evenly(np.full((10, 1), 5.0) * sure[:, None], sure, STRIP)
    assert found == pytest.approx(np.full((10, 1), 5.0), abs=0.1)


def test_a_mirror_image_takes_on_the_colours_of_the_half_it_stands_for() -> None:
    fit = turned(-40.0)
    marks = np.concatenate([CAMERA.project(fit.points), fit.points[:, 2:]], 1)
    seen, other = np.full((400, 400, 3), 0.2, np.float32), np.full((160, 160, 3), 0.4, np.float32)
    gain = mirror.likening(fit, marks, np.ones((400, 400), np.float32), seen, other, (120, 120), -40.0)
    assert gain == pytest.approx(np.full((160, 160, 3), 0.21 / 0.41), rel=0.02)
