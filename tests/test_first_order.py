"""The first-order driver: at rest, turned, with expression, and its fields against rendered truth (paper, 5.1)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.drivers.first_order import FACE, PARTS, FirstOrderRetargeter, PoseMatch, neighbourhoods
from narrate_stream.drivers.mesh import neutral_motion
from narrate_stream.fusion import head_framing
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import angles_from_rotation, rotation_from_angles
from narrate_stream.ops.motion import composed, occlusion, sampled
from narrate_stream.pipeline import still_motion
from narrate_stream.renderer import Renderer
from narrate_stream.retarget import Retargeter, gaze_of, lid_openings
from narrate_stream.types import AvatarMotion, Motion, MotionField, Pose
from offline.softmesh import MapRenderer, screen_of

STEP = 1 / 30
EYES = float(np.linalg.norm(canonical().landmarks[33] - canonical().landmarks[263]))
EXPRESSIONS = (
    {"jawOpen": 0.6},
    {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.6},
    {"mouthPucker": 0.8},
    {"browInnerUp": 1.0, "browOuterUpLeft": 0.7, "browOuterUpRight": 0.7},
)


def seen(
    weights: dict[str, float] | None = None,
    turn: tuple[float, float, float] = (0, 0, 0),
    face: np.ndarray | None = None,
) -> Motion:
    """A driver's frame: the canonical face, or another, with an expression and a pose."""
    made = expressive_face(weights or {}, (0, 0))
    points = made if face is None else face + made - canonical().landmarks
    rotation = rotation_from_angles(*turn).astype(np.float32)
    return replace(neutral_motion(), landmarks=points.astype(np.float32), rotation=rotation)


def other_face() -> np.ndarray:
    """(478, 3) somebody else."""
    return canonical().landmarks + np.tensordot([1.5, -1.2, 1.0, 0.8], canonical().identity[:4], 1)


def match(first: Motion | None = None, own: np.ndarray | None = None) -> PoseMatch:
    return PoseMatch(canonical().landmarks, first or seen(), own)


def test_ten_keypoints_and_every_landmark_near_something() -> None:
    fit, reach = neighbourhoods()
    assert len(PARTS) == 10
    assert fit.shape == (FACE, 10)
    assert reach.shape == (FACE, 11)
    assert fit.max(0) == pytest.approx(np.ones(10))
    assert (fit.sum(0) > 1).all()


def test_lips_that_touch_move_apart() -> None:
    _, reach = neighbourhoods()
    upper, lower = reach[13], reach[14]
    assert np.linalg.norm(canonical().landmarks[13] - canonical().landmarks[14]) < 0.5
    assert upper[7] / upper.sum() > 0.9
    assert lower[8] / lower.sum() > 0.9


@pytest.mark.parametrize("turn", [(0, 0, 0), (30, 0, 0), (-20, 12, 8)])
def test_in_the_reference_frame_the_portrait_rests_in_the_drivers_pose(turn: tuple[float, float, float]) -> None:
    first = seen({"jawOpen": 0.5}, turn, other_face())
    found = match(first).follow(first)
    assert found.landmarks[:FACE] == pytest.approx(canonical().landmarks[:FACE], abs=1e-5)
    assert found.rotation == pytest.approx(first.rotation, abs=1e-6)


@pytest.mark.parametrize("turn", [(40, 0, 0), (-25, 15, 0), (0, 0, 20)])
def test_a_turn_is_a_turn_and_no_expression(turn: tuple[float, float, float]) -> None:
    now = seen({}, turn, other_face())
    found = match(seen({}, (10, -5, 3), other_face())).follow(now)
    assert found.landmarks[:FACE] == pytest.approx(canonical().landmarks[:FACE], abs=1e-4)
    assert found.rotation == pytest.approx(now.rotation, abs=1e-6)


@pytest.mark.parametrize("weights", EXPRESSIONS, ids=lambda w: next(iter(w)))
@pytest.mark.parametrize("turn", [(0, 0, 0), (25, 5, 0)])
def test_ones_own_expression_comes_back(weights: dict[str, float], turn: tuple[float, float, float]) -> None:
    now, rest = seen(weights, turn), seen({}, turn)
    error = (match(rest).follow(now).landmarks - now.landmarks)[:FACE, :2]
    motion = (now.landmarks - rest.landmarks)[:FACE, :2]
    assert np.linalg.norm(error, axis=1).mean() < 0.02 * EYES
    assert (error**2).sum() < 0.4 * (motion**2).sum()


def test_ones_own_blink_and_open_mouth_keep_their_size() -> None:
    shut = match().follow(seen({"eyeBlinkLeft": 1.0})).landmarks
    truth = seen({"eyeBlinkLeft": 1.0}).landmarks
    assert lid_openings(shut) == pytest.approx(lid_openings(truth), abs=0.15 * lid_openings(canonical().landmarks)[0])
    jaw = {"jawOpen": 0.7}
    gap, wanted = (float(f[13, 1] - f[14, 1]) for f in (match().follow(seen(jaw)).landmarks, seen(jaw).landmarks))
    assert gap == pytest.approx(wanted, rel=0.12)


def test_gaze_is_passed_on() -> None:
    looking = replace(seen(), landmarks=expressive_face({"jawOpen": 0.3}, (0.8, -0.5)).astype(np.float32))
    found = match(seen(face=other_face())).follow(looking)
    assert gaze_of(found.landmarks) == pytest.approx(gaze_of(looking.landmarks), abs=1e-4)


def test_the_size_of_the_driving_picture_does_not_matter() -> None:
    weights = {"jawOpen": 0.4, "browInnerUp": 0.5}
    large = match().follow(seen(weights)).landmarks
    small = match(replace(seen(), size=(192, 108))).follow(replace(seen(weights), size=(1920, 1080))).landmarks
    assert small == pytest.approx(large, abs=1e-4)


def test_without_the_matched_pose_a_turn_tears_at_the_face() -> None:
    """Figure 11: the driver's first frame is turned by 30 degrees, then the head comes to the front."""
    first, now = seen({}, (30, 0, 0)), seen()
    own = np.eye(3)
    assert match(first, own).follow(first).rotation == pytest.approx(own, abs=1e-6)
    errors = [
        np.abs(m.follow(now).landmarks - canonical().landmarks)[:FACE].max() for m in (match(first), match(first, own))
    ]
    assert errors[0] < 1e-3
    assert errors[1] > 0.5


def settled(retarget: Retargeter, motion: Motion) -> AvatarMotion:
    for _ in range(40):
        out = retarget(motion, STEP)
    return out


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_the_head_goes_where_the_mesh_takes_it(model: HybridModel, mode: str) -> None:
    plain, first_order = Retargeter(model, mode), FirstOrderRetargeter(model, mode)
    now = seen({"mouthSmileLeft": 0.5}, (18, -8, 5))
    for retarget in (plain, first_order):
        retarget.calibrate(seen({}, (4, 2, 0)))
    a, b = (settled(retarget, now).pose for retarget in (plain, first_order))
    assert b.rotation == pytest.approx(a.rotation, abs=1e-4)
    assert b.translation == pytest.approx(a.translation, abs=1e-3)


def test_a_neutral_moves_nothing_and_another_one_can_be_chosen(model: HybridModel) -> None:
    retarget = FirstOrderRetargeter(model)
    for neutral in (seen(), seen({"browInnerUp": 0.6}, (8, 0, 0))):
        retarget.calibrate(neutral)
        out = settled(retarget, neutral)
        assert np.abs(out.offsets).max() < 0.02
        assert out.pose.rotation == pytest.approx(np.eye(3), abs=1e-3)
    assert np.abs(settled(retarget, seen()).offsets[[105, 334], 1]).min() > 0.1


def test_absolute_motion_shows_the_first_frames_pose_only_when_it_is_matched(model: HybridModel) -> None:
    first = seen({}, (30, 0, 0))
    yaw = []
    for matched in (True, False):
        retarget = FirstOrderRetargeter(model, "absolute", matched=matched)
        retarget.calibrate(first)
        turned = retarget(first, STEP).pose.rotation @ model.rotation
        yaw.append(float(angles_from_rotation(turned)[0]))
    assert yaw[0] == pytest.approx(30, abs=1)
    assert yaw[1] == pytest.approx(float(angles_from_rotation(model.rotation)[0]), abs=1)


# ---- the fields against rendered truth

SIZE = 512


def posed(model: HybridModel, turn: tuple[float, float, float], weights: dict[str, float]) -> AvatarMotion:
    retarget = Retargeter(model)
    retarget.calibrate(neutral_motion())
    face = retarget(seen(weights), STEP)
    return replace(face, pose=Pose(rotation_from_angles(*turn).astype(np.float32)))


class Truth:
    """Fields of one model by rendering it: the renderer's own, and by plain interpolation over the same mesh."""

    def __init__(self, model: HybridModel) -> None:
        self.renderer = Renderer(model, head_framing(model, SIZE))
        self.scale = self.renderer.framing.scale / self.renderer.texture_scale  # screen px of one atlas px
        self.source = model.source[:, :2].astype(float)
        alpha = model.alpha[tuple(np.round(self.source[:, ::-1]).astype(int).T)]
        solid = (alpha >= 254) & (model.source[:, 2] >= 1)
        self.plain = MapRenderer(model.triangles[solid[model.triangles].all(1)])

    def shot(self, motion: AvatarMotion) -> tuple[MotionField, np.ndarray, np.ndarray]:
        """`T_{I<-view}`, the vertices on the screen (V, 3), and where plain interpolation sees the same surface."""
        field = self.renderer(motion).field
        kept = MotionField(field.src_from_dst.copy(), field.occlusion.copy())  # the renderer uses its buffers again
        points = self.renderer.deform(motion).astype(float)
        screen = screen_of(points, self.renderer.camera.project(points))
        again = self.between(screen, self.source, perspective=False)
        return kept, screen, np.linalg.norm(again - kept.src_from_dst, axis=-1) * self.scale < 0.5

    def between(self, screen: np.ndarray, values: np.ndarray, *, perspective: bool = True) -> np.ndarray:
        """(H, W, 2) what the vertices carry, far away where there is none."""
        return np.nan_to_num(self.plain.map(screen, values, SIZE, SIZE, perspective=perspective), nan=-1e4)


@pytest.mark.parametrize(
    ("reference", "turn", "weights"),
    [
        ((0, 0, 0), (0, 0, 0), {"jawOpen": 0.6}),
        ((30, 0, 0), (20, 0, 0), {}),
        ((30, 0, 0), (22, 5, 4), {"jawOpen": 0.5, "mouthSmileLeft": 0.6}),
        ((-25, 5, 0), (-10, 0, 5), {"browInnerUp": 1.0, "jawOpen": 0.3}),
    ],
)
def test_the_composed_field_is_the_rendered_one(
    model: HybridModel,
    reference: tuple[float, float, float],
    turn: tuple[float, float, float],
    weights: dict[str, float],
) -> None:
    """`T_{I<-D_t}` by `T_{I<-I_r}` after `T_{I_r<-D_t}`: endpoint error below 1 px at 512 where both views see it."""
    truth = Truth(model)
    portrait_from_reference, at_rest, known_before = truth.shot(posed(model, reference, {}))
    portrait_from_driving, moved, known = truth.shot(posed(model, turn, weights))
    there, back = truth.between(moved, at_rest[:, :2]), truth.between(at_rest, moved[:, :2])
    inner = MotionField(there.astype(np.float32), occlusion(there, back))
    found = composed(portrait_from_reference, inner)
    visible = (found.occlusion == 0) & known & (sampled(known_before, there) > 0.999)
    error = np.linalg.norm(found.src_from_dst - portrait_from_driving.src_from_dst, axis=-1)[visible] * truth.scale
    assert visible.sum() > 0.75 * (portrait_from_driving.occlusion == 0).sum()
    assert error.mean() < 0.05
    assert np.quantile(error, 0.999) < 1


def test_the_portrait_at_rest_is_its_own_field(model: HybridModel) -> None:
    truth = Truth(model)
    field, screen, known = truth.shot(still_motion())
    framing = truth.renderer.framing
    face = screen[: len(model.vertices)]
    at = np.round(face[(face[:, :2] > 2).all(1) & (face[:, :2] < SIZE - 3).all(1), :2]).astype(int)
    inside = known[at[:, 1], at[:, 0]] & (field.src_from_dst[at[:, 1], at[:, 0], 1] < model.canvas[1])
    canvas = (at[inside] - [framing.dx, framing.dy]) / truth.scale
    error = np.linalg.norm(field.src_from_dst[at[inside, 1], at[inside, 0]] - canvas, axis=1) * truth.scale
    assert np.quantile(error, 0.98) < 1
