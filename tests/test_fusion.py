"""What lies over what, and the person alone."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.fusion import coverage, cut_out, fuse, head_framing
from narrate_stream.lights import parse_light
from narrate_stream.types import View
from offline.stills import Studio


@pytest.fixture(scope="module")
def studio(model: HybridModel) -> Studio:
    return Studio(model, head_framing(model, 160), "transparent")


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (0, 177, 64)])
def test_the_person_alone_laid_over_a_colour_is_the_person_before_it(studio: Studio, colour: tuple[int, ...]) -> None:
    gbuffer = studio.buffer(View(12, 0), albedo=True)
    core, fringe = studio.relighter(gbuffer, parse_light("loop"))
    alone = cut_out(core, fringe, gbuffer).astype(float)
    wall = np.broadcast_to(np.array(colour, np.uint8), core.shape).copy()
    over = alone[..., :3] * alone[..., 3:] / 255 + wall * (1 - alone[..., 3:] / 255)
    assert np.abs(over - fuse(core, fringe, gbuffer, wall)).max() <= 2


def test_a_transparent_still_has_straight_alpha(studio: Studio) -> None:
    shown = studio.shoot("loop", View())
    assert shown.shape == (160, 160, 4)
    alpha = shown[..., 3]
    assert np.array_equal(alpha > 0, np.asarray(coverage(studio.buffer(View(), albedo=True)) * 255 + 0.5, np.uint8) > 0)
    assert 0 < ((alpha > 0) & (alpha < 255)).mean() < 0.1
    assert (shown[alpha == 0] == 0).all()
    edge = (alpha > 20) & (alpha < 120)
    assert shown[edge][:, :3].mean() > 0.4 * shown[alpha == 255][:, :3].mean()  # not darkened by what is not there
