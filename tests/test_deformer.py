"""What moves the vertices: expression, the head's pose, eyes on their balls, shoulders that lean and breathe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.deformer import FLANK, LEAN, Ball, Deformer, flank_weight
from narrate_stream.ops.geometry import partial_rotations, rotation_from_angles
from narrate_stream.ops.lift import CORNERS
from narrate_stream.pipeline import still_motion
from narrate_stream.types import Pose


def test_the_rest_pose_leaves_the_mesh_alone(model: HybridModel) -> None:
    assert Deformer(model)(still_motion()) == pytest.approx(model.vertices, abs=1e-4)


def posed(points: np.ndarray, weight: np.ndarray, pivot: np.ndarray, pose: Pose) -> np.ndarray:
    """Plain reference: every point turns about the pivot by its weight's share of the angle."""
    turn = partial_rotations(pose.rotation.astype(float), weight.astype(float))
    return np.einsum("nij,nj->ni", turn, points - pivot) + pivot + weight[:, None] * pose.translation


@pytest.mark.parametrize("angles", [(25, 0, 0), (-30, 12, 8), (0, -20, 0)])
def test_a_turn_moves_head_and_not_shoulders(model: HybridModel, angles: tuple[float, float, float]) -> None:
    pose = Pose(rotation_from_angles(*angles).astype(np.float32), np.array([1, -0.5, 2], np.float32))
    moved = Deformer(model)(replace(still_motion(), pose=pose))
    wanted = posed(model.vertices.astype(float), model.head_weight, model.pivot, pose)
    wanted[:, 0] += LEAN * flank_weight(model) * pose.translation[0]
    assert moved == pytest.approx(wanted, abs=0.08)  # cm; weights next to 0 and 1 are taken for whole
    still = model.head_weight < 0.004
    assert moved[still, 1:] == pytest.approx(model.vertices[still, 1:], abs=0.08)
    assert still.any()


def test_shoulders_lean_with_the_head_and_stay_at_the_borders(model: HybridModel) -> None:
    pose = Pose(np.eye(3, dtype=np.float32), np.array([2, 0, 0], np.float32))
    lean = (Deformer(model)(replace(still_motion(), pose=pose)) - model.vertices)[:, 0]
    column = model.camera.project(model.vertices)[:, 0]
    body = model.head_weight < 0.001
    middle = body & (np.abs(column / model.canvas[0] - 0.5) < 0.5 - FLANK)
    border = body & ((column < 1) | (column > model.canvas[0] - 1))
    assert lean[middle] == pytest.approx(2 * LEAN, abs=0.01)
    assert np.abs(lean[border]).max() < 0.02
    assert middle.any()
    assert border.any()
    around = rotation_from_angles(90, 0, 0).astype(np.float32)  # seen from the side, the head moves along the view
    seen = Pose(around, around @ pose.translation)
    sideways = Deformer(model)(replace(still_motion(), pose=seen, view=around)) - model.vertices
    assert sideways[middle, 0] == pytest.approx(2 * LEAN, abs=0.01)


def test_a_breath_lifts_the_shoulders_and_neither_head_nor_border(model: HybridModel) -> None:
    lift = Deformer(model)(replace(still_motion(), breath=0.2)) - model.vertices
    assert np.abs(lift[:, [0, 2]]).max() < 1e-5
    assert np.abs(lift[model.head_weight > 0.999]).max() < 1e-5
    row = model.camera.project(model.vertices)[:, 1]
    assert np.abs(lift[row > 0.99 * model.canvas[1]]).max() < 0.005
    body = (model.head_weight < 0.01) & (row < 0.75 * model.canvas[1])
    assert lift[body, 1] == pytest.approx(0.2, abs=0.01)
    assert body.any()


def test_expression_moves_only_what_it_should(model: HybridModel) -> None:
    offsets = np.zeros((468, 3), np.float32)
    offsets[[61, 291], 1] = 0.5
    moved = Deformer(model)(replace(still_motion(), offsets=offsets)) - model.vertices
    assert np.linalg.norm(moved[[61, 291]], axis=1) == pytest.approx([0.5, 0.5], abs=1e-3)
    assert np.abs(moved[[10, 33, 263]]).max() < 1e-4
    assert np.linalg.norm(moved, axis=1).max() < 0.75


def test_gaze_rolls_the_irises_and_nothing_else(model: HybridModel) -> None:
    looks = np.array([[0.3, 0], [0, 0.2]], np.float32)
    points = Deformer(model)(replace(still_motion(), gaze=looks))
    for side, look in ((1, looks[0]), (2, looks[1])):
        eye = np.flatnonzero(model.eye == side)
        moved = points[eye] - model.vertices[eye]
        ball = Ball(model, eye, CORNERS[side - 1])
        after = ball.points + moved - np.outer(moved[:, 0], [0, 0, ball.lean])
        assert np.linalg.norm(after, axis=1) == pytest.approx(np.linalg.norm(ball.points, axis=1), abs=1e-3)
        front = int(np.argmin(np.linalg.norm(ball.points[:, :2], axis=1)))
        assert moved[front, :2] == pytest.approx(model.rotation[:2, :2] @ look, abs=0.08)
    assert np.abs(points - model.vertices)[model.eye == 0].max() < 1e-4


def test_an_iris_stays_before_its_ball_on_a_turned_head(model: HybridModel) -> None:
    """A portrait at three quarters has leaning eyes: the mesh of a look is the mesh at rest, moved along itself."""
    eye = np.flatnonzero(model.eye == 1)
    upright, leaning = Ball(model, eye, CORNERS[0]), model.vertices.copy()
    leaning[eye, 2] += 0.6 * upright.points[:, 0]
    ball = Ball(replace(model, vertices=leaning), eye, CORNERS[0])
    assert ball.lean == pytest.approx(upright.lean + 0.6, abs=0.01)
    straight = upright.rolled(np.array([0.5, 0.0]))
    assert ball.rolled(np.array([0.5, 0.0]))[:, 2] - straight[:, 2] == pytest.approx(0.6 * straight[:, 0], abs=0.02)
