"""The anchor: a driver in the portrait's own camera, pixel for pixel, whatever its own fit believes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.anchor import SAME, Anchor
from narrate_stream.bundle import HybridModel
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.types import Motion


def shown(model: HybridModel, turn: tuple[float, float, float], larger: float = 1.0) -> Motion:
    """The portrait's face turned, in a frame `larger` times the portrait's."""
    rotation = rotation_from_angles(*turn) @ model.rotation
    x0, y0, scale = model.crop
    pixels = (model.camera.project(model.neutral @ rotation.T + model.translation) + 0.5) / scale + [x0, y0]
    pixels = pixels * larger - 0.5
    w, h = model.frame_size
    arrays = (np.eye(3), np.array([0, 0, -60]), model.neutral, pixels)
    return Motion(*(a.astype(np.float32) for a in arrays), (int(w * larger), int(h * larger)))


def test_the_portrait_itself_lies_on_itself(model: HybridModel) -> None:
    own = shown(model, (0, 0, 0))
    anchor = Anchor(model)
    assert anchor.distance(own) < 1e-3
    held = anchor.hold(own)
    assert held.rotation == pytest.approx(model.rotation, abs=1e-4)
    assert held.landmarks == pytest.approx(model.neutral, abs=0.02)
    assert held.pixels is own.pixels


def test_the_noise_of_the_detector_is_no_pose(model: HybridModel) -> None:
    """The same picture seen again gives other landmarks; the pose at rest stays the portrait's all the same."""
    own = shown(model, (0, 0, 0))
    noise = np.random.default_rng(5).normal((1.0, 0.5), 1.0, own.pixels.shape)
    again = replace(own, pixels=(own.pixels + noise * 0.01 * np.ptp(own.pixels[:468, 0])).astype(np.float32))
    anchor = Anchor(model)
    assert 0 < anchor.distance(again) < SAME
    assert anchor.hold(again).rotation == pytest.approx(model.rotation, abs=0.01)


@pytest.mark.parametrize("larger", [1.0, 2.0])
def test_a_turn_is_found_in_frames_of_any_size(model: HybridModel, larger: float) -> None:
    anchor = Anchor(model)
    anchor.hold(shown(model, (0, 0, 0), larger))
    found = anchor(shown(model, (15, -6, 4), larger))
    assert found.rotation == pytest.approx(rotation_from_angles(15, -6, 4) @ model.rotation, abs=5e-3)
    assert found.landmarks[:468] == pytest.approx(model.neutral[:468], abs=0.05)


def test_a_driver_elsewhere_has_a_pose_of_its_own(model: HybridModel) -> None:
    turned = shown(model, (20, 0, 0))
    anchor = Anchor(model)
    assert anchor.distance(turned) > SAME
    held = anchor.hold(turned)
    assert held.rotation == pytest.approx(rotation_from_angles(20, 0, 0) @ model.rotation, abs=0.01)
