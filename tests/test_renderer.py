"""The renderer on the built-in portrait: the resting portrait, turns, edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.fusion import coverage, head_framing, portrait_framing
from narrate_stream.ops.geometry import partial_rotations, rotation_from_angles
from narrate_stream.ops.lift import CORNERS
from narrate_stream.pipeline import seen_from, still_motion
from narrate_stream.renderer import FLANK, LEAN, Ball, Deformer, Renderer, flank_weight
from narrate_stream.types import Pose, View
from offline.build import build_model
from offline.picture import load_builtin_portrait
from offline.stills import Studio, photograph_framing, render_view


@pytest.fixture(scope="module")
def studio(model: HybridModel) -> Studio:
    return Studio(model, head_framing(model, 256))


def nose_offset(picture: np.ndarray) -> np.ndarray:
    """(2,) the nose's tip from the middle of the face's sides, in face widths; x right, y up."""
    with FaceMesh(video=False) as mesh:
        marks = mesh(picture)
    assert marks is not None, "no face is seen in the rendered picture"
    middle, width = (marks[234, :2] + marks[454, :2]) / 2, np.linalg.norm(marks[234, :2] - marks[454, :2])
    return (marks[4, :2] - middle) / width * [1, -1]


@pytest.mark.parametrize(("size", "least"), [(512, 30), (1024, 35)])
def test_the_original_at_rest_is_the_photograph(model: HybridModel, size: int, least: float) -> None:
    model = model if size == 512 else build_model(None, size=size)
    photograph = load_builtin_portrait().image
    shown = render_view(model, light="original", view=View())
    assert shown.shape == photograph.shape
    matte = coverage(Studio(model, photograph_framing(model)).buffer(View(), albedo=False))
    inside = matte > 0.5
    error = (shown.astype(float) - photograph)[inside]
    assert 10 * np.log10(255**2 / (error**2).mean()) >= least
    outside = np.abs(shown.astype(int) - photograph)[matte <= 0.004]
    assert outside.mean() < 0.5
    assert (outside > 8).mean() < 1e-3


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


@pytest.mark.parametrize("yaw", [-20, 20])
def test_yaw_turns_the_face_to_its_side(studio: Studio, yaw: float) -> None:
    rest, turned = (nose_offset(studio.shoot("original", View(y, 0))) for y in (0.0, yaw))
    assert (turned - rest)[0] * np.sign(yaw) > 0.06


@pytest.mark.parametrize("pitch", [-12, 12])
def test_pitch_lifts_and_lowers_the_face(studio: Studio, pitch: float) -> None:
    rest, turned = (nose_offset(studio.shoot("original", View(0, p))) for p in (0.0, pitch))
    assert (turned - rest)[1] * np.sign(pitch) > 0.03


@pytest.mark.parametrize("view", [View(), View(25, 0), View(-25, 10), View(0, -15)])
def test_the_face_has_no_holes(studio: Studio, view: View) -> None:
    gbuffer = studio.buffer(view, albedo=True)
    face = studio.model.neutral[:468] @ studio.model.rotation.T + studio.model.translation
    face = posed(face, np.ones(468), studio.model.pivot, seen_from(still_motion(), view).pose)
    at = np.round(studio.renderer.camera.project(face)).astype(int)
    middle = at[:, :2].mean(0)
    inner = np.round(middle + 0.8 * (at - middle)).astype(int)
    cover = coverage(gbuffer)[inner[:, 1].clip(0, 255), inner[:, 0].clip(0, 255)]
    assert (cover > 0.9).mean() > 0.99


def test_the_edge_is_a_thin_fringe_with_partial_cover(studio: Studio) -> None:
    gbuffer = studio.buffer(View(12, 0), albedo=True)
    share = len(gbuffer.fringe_at) / gbuffer.covered.size
    assert 0.002 < share < 0.12
    assert gbuffer.fringe_alpha.min() >= 0
    assert gbuffer.fringe_alpha.max() <= 1
    assert ((gbuffer.fringe_alpha > 0.1) & (gbuffer.fringe_alpha < 0.9)).mean() > 0.2
    rows, columns = gbuffer.fringe_at.T
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == len(rows)
    assert (gbuffer.map_x[gbuffer.covered] >= -0.5).all()


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


def test_framings_keep_their_promise(model: HybridModel) -> None:
    face = model.camera.project(model.neutral[:468] @ model.rotation.T + model.translation)
    head = head_framing(model, 300)
    at = face * head.scale + [head.dx, head.dy]
    assert head.size == (300, 300)
    assert at.min() > 20
    assert at.max() < 280
    assert portrait_framing(model, None).size == model.frame_size
    assert max(portrait_framing(model, 301).size) == 300  # even, as video wants it


def test_the_same_view_twice_is_the_same_picture(model: HybridModel) -> None:
    renderer = Renderer(model, head_framing(model, 128))
    first = renderer(seen_from(still_motion(), View(17, -5)))
    base, alpha = first.base.copy(), first.fringe_alpha.copy()
    renderer(seen_from(still_motion(), View(-20, 5)))
    again = renderer(seen_from(still_motion(), View(17, -5)))
    assert np.array_equal(base[again.covered], again.base[again.covered])
    assert np.array_equal(alpha, again.fringe_alpha)
