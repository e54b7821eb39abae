"""The rig's inside of the mouth: however wide the lips part, it stays behind them and above the chin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.deformer import Deformer
from narrate_stream.drivers.channels import expressive_face
from narrate_stream.drivers.mesh import neutral_motion
from narrate_stream.retarget import Retargeter


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
