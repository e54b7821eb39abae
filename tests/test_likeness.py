"""Another portrait's pose, light and expression on a model: one's own portrait changes nothing, limits hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel, save_model
from narrate_stream.cli import main
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.files import write_png
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.ops.lighting import Lighting
from narrate_stream.types import Image, Motion, View
from offline.likeness import MOST, following, retargeted, turn_between, wearing
from offline.picture import Picture
from offline.stills import render_view
from offline.target import Target, seen_rotation, target_of


def own_motion(model: HybridModel) -> Motion:
    """The model's portrait as a driver would report it."""
    rotation = seen_rotation(model.rotation, model.translation).astype(np.float32)
    return Motion(rotation, model.translation, model.neutral, model.neutral[:, :2] * 0, (512, 512))


def target(model: HybridModel, yaw: float = 0, pitch: float = 0) -> Target:
    """The model's own portrait, turned."""
    own = own_motion(model)
    turn = rotation_from_angles(yaw, pitch, 0).astype(np.float32)
    return Target(Lighting("original", original=True), replace(own, rotation=turn @ own.rotation))


@pytest.fixture(scope="module")
def shown(model: HybridModel) -> Image:
    """The portrait itself."""
    return render_view(model, light="original", view=View())


def test_ones_own_portrait_changes_nothing(model: HybridModel, shown: Image) -> None:
    made = retargeted(model, target(model), expression=True)
    assert np.abs(made.asked).max() < 0.01
    assert np.abs(made.image.astype(int) - shown).mean() < 0.3


def test_a_turn_is_taken_and_a_large_one_is_eased(model: HybridModel) -> None:
    assert retargeted(model, target(model, yaw=12)).shown == pytest.approx([12, 0, 0], abs=3)
    far = [retargeted(model, target(model, yaw=yaw)) for yaw in (30, 60, 90)]
    yaws = [float(made.shown[0]) for made in far]
    assert [round(float(made.asked[0])) for made in far] == pytest.approx([30, 60, 90], abs=4)
    assert 15 < yaws[0] < yaws[1] <= yaws[2] <= MOST[0]


def test_the_pose_of_a_turned_picture_is_found(model: HybridModel) -> None:
    found = target_of(Picture(render_view(model, light="original", view=View(18, 0))))
    assert retargeted(model, found, light=False).asked == pytest.approx([18, 0, 0], abs=4)


def test_turns_are_as_the_viewer_sees_them(model: HybridModel) -> None:
    aside = replace(model, translation=np.array([25, 0, -60], np.float32))
    own = seen_rotation(aside.rotation, aside.translation).astype(np.float32)
    assert turn_between(aside, replace(own_motion(model), rotation=own)) == pytest.approx(np.eye(3), abs=1e-5)


def test_light_is_the_targets_only_where_it_is_wanted(model: HybridModel, shown: Image) -> None:
    dark = replace(target(model), lighting=Lighting("night"))
    face = np.s_[90:160, 200:250]
    assert retargeted(model, dark, pose=False).image[face].mean() < 0.2 * shown[face].mean()
    assert np.array_equal(retargeted(model, dark, pose=False, light=False).image, shown)


def test_an_open_mouth_is_carried_and_a_neutral_one_is_the_portraits(model: HybridModel) -> None:
    own = own_motion(model)
    assert np.abs(following(model, own).offsets).max() < 0.08  # lids and lips are set apart by a hair
    talking = replace(own, landmarks=own.landmarks + (expressive_face({"jawOpen": 0.7}) - expressive_face({})))
    assert following(model, talking).offsets[152, 1] < -0.5
    begun = wearing(model, talking).landmarks - model.neutral
    assert np.linalg.norm(begun[[152, 14, 17]], axis=1).max() < 0.7  # of 2.2


def test_the_command_says_what_it_took(model: HybridModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(model, tmp_path / "m.narrate")
    write_png(tmp_path / "to.png", render_view(model, light="sun:-50,10", view=View(10, 0)))
    out = tmp_path / "out.png"
    assert main(["retarget", str(tmp_path / "m.narrate"), "--to", str(tmp_path / "to.png"), "-o", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == ["pose", "light"]
    assert "azimuth -" in said[1]
    assert out.is_file()
