"""Models posed for measuring: pixels and places are the same points."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.geometry import rotation_from_angles
from narrate_stream.pipeline import seen_from, still_motion
from narrate_stream.types import View
from offline.evaluate.posed import Sitting
from offline.evaluate.truth import model_normals


@pytest.fixture(scope="module")
def sitting(model: HybridModel) -> Sitting:
    return Sitting(model, 160)


@pytest.mark.parametrize("yaw", [0, 25])
def test_places_are_what_the_pixels_show(sitting: Sitting, yaw: float) -> None:
    pose = sitting.pose(seen_from(still_motion(), View(yaw, 0)))
    rows, columns = np.nonzero(pose.face)
    assert len(rows) == len(pose.places) > 1500
    at = pose.camera.project(pose.mesh.at(pose.places).position)
    assert np.abs(at - np.stack([columns, rows], -1)).max() < 0.05
    assert (pose.surface.viewer * pose.surface.outward).sum(-1).min() > 0.05
    assert not pose.face[pose.gbuffer.fringe_at[:, 0], pose.gbuffer.fringe_at[:, 1]].any()


def test_normals_are_the_portraits_turned_with_the_head(sitting: Sitting) -> None:
    rest = sitting.pose(still_motion())
    for normals, surface in ((model_normals(sitting.model, rest.places), rest.surface),):
        assert surface.normal == pytest.approx(normals, abs=1e-5)
    pose = sitting.pose(seen_from(still_motion(), View(20, -10)))
    wanted = model_normals(sitting.model, pose.places) @ rotation_from_angles(20, -10, 0).T
    stiff = sitting.model.head_weight[sitting.model.triangles[pose.places.face]].min(1) > 0.995
    assert stiff.mean() > 0.8
    assert pose.surface.normal[stiff] == pytest.approx(wanted[stiff], abs=1e-4)


def test_the_bounces_places_are_all_over_the_head(sitting: Sitting) -> None:
    at = sitting.skin.atlas
    assert len(at) > 50
    assert (np.ptp(at, axis=0) > 0.3 * np.array(sitting.model.canvas)).all()


def test_physics_is_compared_with_physics(model: HybridModel, sitting: Sitting) -> None:
    """What F_R adds is not traced, and so not in the light that is measured against it."""
    assert model.residual is not None
    assert sitting.model.residual is None
