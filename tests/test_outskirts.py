"""Where the canvas ends inside the frame the person fades into the photograph behind, and the portrait is the same."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.outskirts import FADE, behind, faded
from narrate_stream.renderer import Framing

CANVAS = 200, 100


def across(framing: Framing) -> np.ndarray:
    return framing.staying(CANVAS, np.arange(200.0), np.arange(100.0))


def test_nothing_fades_where_the_canvas_fills_the_frame() -> None:
    assert (across(Framing(2.0, 0.5, 0.5, (400, 200))) == 1).all()
    assert (across(Framing(2.0, -60, -40, (200, 100))) == 1).all()


def test_the_border_that_is_seen_fades_and_no_other() -> None:
    found = across(Framing(1.0, 0.0, 0.0, (200, 160)))  # the frame goes on below
    assert (found[: int(100 - FADE * 200)] == 1).all()
    assert (np.diff(found[:, 7]) <= 0).all()
    assert found[99].max() < 0.01
    assert (found == found[:, :1]).all()


@pytest.mark.parametrize("cover", [0.0, 0.6, 1.0])
def test_person_over_what_is_behind_is_the_photograph(cover: float) -> None:
    person, plate = np.full((1, 5, 3), 200.0), np.full((1, 5, 3), 40.0)
    a, f = np.full((1, 5, 1), cover), np.linspace(0, 0.9, 5).reshape(1, 5, 1)
    seen = cover * person + (1 - cover) * plate
    again = a * f * person + (1 - a * f) * behind(plate, person, a, f)
    assert again == pytest.approx(seen, abs=1e-6)


def test_no_part_of_the_head_fades(model: HybridModel) -> None:
    """A frame that shows much more than the canvas, on all sides."""
    w, h = model.canvas
    staying = Framing(1.0, 50.0, 50.0, (w + 100, h + 100)).staying
    matte = faded(model.alpha, model.surface[..., 2], model.canvas, staying)[:h]
    head = (model.surface[:h, :, 2] == 255) & (model.alpha[:h] == 255)
    assert (matte[head] == 255).all()
    body = (model.surface[:h, :, 2] == 0) & (model.alpha[:h] == 255)
    assert (matte[-1][body[-1]] < 5).all()
    assert body[-1].any()
