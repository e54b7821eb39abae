"""A head turned and moved before one lens is seen as the same head before another."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera, angles_from_rotation, rotation_from_angles
from narrate_stream.ops.lift import solved_pose
from narrate_stream.ops.sightline import seeming, seeming_share, shown_turn, toward_camera

USUAL, FAR = Camera(768.0, 255.5, 255.5), Camera(2 * 768.0, 255.5, 255.5)
PLACE = np.array([0.0, 0.0, -110.0])
SHAPE = canonical().landmarks


@pytest.mark.parametrize("place", [(0, 0, -50), (12, 0, -50), (-4, 9, -80)])
def test_the_sightline_points_at_the_camera(place: tuple[float, float, float]) -> None:
    turn = toward_camera(np.array(place))
    assert turn[:, 2] == pytest.approx(-np.array(place) / np.linalg.norm(place))
    assert turn @ turn.T == pytest.approx(np.eye(3))
    assert turn @ [-place[1], place[0], 0] == pytest.approx([-place[1], place[0], 0])  # no roll


def test_a_known_lens_changes_nothing() -> None:
    assert seeming(np.array([5.0, -3, -60]), USUAL, USUAL) == pytest.approx(np.eye(3))
    turn = rotation_from_angles(10, -4, 3)
    assert shown_turn(turn, PLACE, PLACE + np.array([6, 2, 0]), FAR, FAR) == pytest.approx(turn)
    assert seeming_share(SHAPE, (np.eye(3), PLACE), FAR, FAR) == pytest.approx(np.ones(3), abs=1e-3)


def perceived(turn: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll that one measures who takes the far camera's picture for one by the usual lens."""
    pixels = FAR.project(SHAPE @ turn.T + place)
    start = solved_pose(SHAPE, FAR.project(SHAPE + PLACE), USUAL)[0]
    return angles_from_rotation(solved_pose(SHAPE, pixels, USUAL)[0] @ start.T)


@pytest.mark.parametrize("shift", [(9.0, 0, 0), (0, 7.0, 0), (-6.0, 4.0, 0)])
def test_a_head_that_only_moves_is_not_seen_to_turn(shift: tuple[float, float, float]) -> None:
    place = PLACE + shift
    before = np.abs(perceived(np.eye(3), place)).max()
    after = np.abs(perceived(shown_turn(np.eye(3), PLACE, place, FAR, USUAL), place)).max()
    assert before > 1.5
    assert after < 0.25 * before


@pytest.mark.parametrize("angles", [(15, 0, 0), (0, -10, 0), (-20, 8, 5)])
def test_a_head_that_turns_is_seen_to_turn_as_far(angles: tuple[float, float, float]) -> None:
    share = seeming_share(SHAPE, (np.eye(3), PLACE), FAR, USUAL)
    assert share[1] < 0.95  # yaw: the far side of a head far away does not shrink
    wanted = rotation_from_angles(*angles)
    asked = Rotation.from_rotvec(Rotation.from_matrix(wanted).as_rotvec() / share).as_matrix()
    plain, better = (np.abs(perceived(turn, PLACE) - angles).max() for turn in (wanted, asked))
    assert better < max(0.4, 0.3 * plain)
