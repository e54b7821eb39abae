"""The rig: the face's depth has no step where the fine one is not believed; however wide the lips part, the inside of
the mouth stays behind them and above the chin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.deformer import Deformer
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.drivers.mesh import neutral_motion
from narrate_stream.retarget import Retargeter
from offline.rig import FAR, NEAR, trust


@pytest.mark.parametrize("amount", [0.4, 1.0])
def test_the_inside_of_the_mouth_stays_above_the_chin(model: HybridModel, amount: float) -> None:
    retarget = Retargeter(model)
    retarget.calibrate(neutral_motion())
    shout = replace(neutral_motion(), landmarks=expressive_face({"jawOpen": amount}).astype(np.float32))
    for _ in range(30):
        motion = retarget(shout, 1 / 30)
    points = (Deformer(model)(motion) - model.translation) @ model.rotation
    inside = points[model.jaw_weight > 0]
    assert len(inside) > 50
    assert inside[:, 1].min() > points[152, 1] + 0.3
    assert inside[:, 2].max() < points[[13, 14, 0, 17], 2].max()


def test_fine_depth_is_believed_near_the_landmarks_only() -> None:
    middle = (NEAR + FAR) / 2
    apart = np.array([0.0, NEAR, -NEAR, middle, -middle, FAR, -9.0])
    assert trust(apart) == pytest.approx([1, 1, 1, 0.5, 0.5, 0, 0])


def test_depth_goes_over_from_one_to_the_other_without_a_step() -> None:
    apart = np.linspace(-4, 4, 801)
    assert np.abs(np.diff(apart * trust(apart))).max() < 1.5 * 0.01
