"""What another portrait lends: its light, found again in a relit picture, its pose and expression; what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.errors import LightError, PortraitError
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import direction, dominant
from narrate_stream.types import View
from offline.picture import Picture, load_builtin_portrait
from offline.stills import render_view
from offline.target import expression_of, features, light_of_picture, read_target, seen_rotation, target_of


def test_the_light_of_a_relit_portrait_is_found_again(model: HybridModel) -> None:
    target = target_of(Picture(render_view(model, light="sun:-50,20", view=View())))
    assert direction(*dominant(target.lighting)) @ direction(-50, 20) > np.cos(np.radians(12))
    assert len(target.lighting.directions) == 1


def test_pose_and_size_are_those_of_the_picture(model: HybridModel) -> None:
    target = target_of(load_builtin_portrait())
    own = seen_rotation(model.rotation, model.translation)
    assert np.trace(target.motion.rotation @ own.T) > 1 + 2 * np.cos(np.radians(2))
    assert target.motion.landmarks.shape == (478, 3)


def test_a_head_aside_of_the_camera_is_not_turned() -> None:
    turn = rotation_from_angles(20, 0, 0)
    assert seen_rotation(turn, turn @ np.array([0.0, 0, -60])) == pytest.approx(np.eye(3), abs=1e-9)


def test_files_that_lend_nothing_are_refused_in_a_sentence(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 128, np.uint8))
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    for name, words in (("wall.png", "no human face"), ("torn.jpg", "not a picture"), ("absent.jpg", "no such file")):
        with pytest.raises(PortraitError, match=f"{name}.*{words}"):
            read_target(tmp_path / name)
        with pytest.raises(LightError, match=f"{name}.*{words}.*light"):
            light_of_picture(tmp_path / name)


def test_a_picture_that_is_all_clipped_lends_no_light() -> None:
    image = load_builtin_portrait().image.copy()
    image[..., 0] = 255
    with pytest.raises(PortraitError, match=r"built-in portrait.*hardly any skin"):
        target_of(Picture(image))


def test_a_face_at_rest_has_no_expression_and_an_open_mouth_is_one() -> None:
    assert np.abs(expression_of(canonical().landmarks)).max() < 1e-6
    face = expressive_face({"jawOpen": 0.7})
    truth = (face - canonical().landmarks)[:468]
    found = expression_of(face)
    assert found[13, 1] - found[14, 1] == pytest.approx(truth[13, 1] - truth[14, 1], rel=0.1)
    assert (found * truth).sum() / np.linalg.norm(found) / np.linalg.norm(truth) > 0.95


def test_expression_does_not_depend_on_where_a_face_is() -> None:
    face = expressive_face({"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8})
    turn = rotation_from_angles(8, -5, 3)
    moved = 1.2 * face @ turn.T + [1, 2, 3]
    assert expression_of(moved) == pytest.approx(1.2 * expression_of(face) @ turn.T, abs=1e-3)


def test_eyes_brows_and_lips_are_no_skin() -> None:
    marks = canonical().landmarks[:, :2] * [14, -14] + 128
    mask = features(marks, (256, 256))
    for landmark, inside in ((13, True), (159, True), (105, True), (4, False), (205, False), (151, False)):
        x, y = np.round(marks[landmark]).astype(int)
        assert mask[y, x] == inside
