"""Small renders of the built-in portrait against pictures that a person has looked at.

After a change that is meant to change the picture: `pytest tests/test_golden.py --update-golden`, look at
tests/golden/*.png, commit them.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from narrate_stream.bundle import HybridModel
from narrate_stream.files import write_png
from narrate_stream.fusion import head_framing
from narrate_stream.types import View
from offline.stills import Studio

GOLDEN = Path(__file__).parent / "golden"
SIZE, TOLERANCE = 128, 3.0
SHOTS = {
    "rest-original": (View(), "original"),
    "right-rembrandt": (View(20, 0), "rembrandt"),
    "left-up-neon": (View(-18, 8), "neon"),
}


@pytest.fixture(scope="module")
def studio(model: HybridModel) -> Studio:
    return Studio(model, head_framing(model, SIZE), "original")  # backdrops have tests of their own


@pytest.mark.parametrize("name", SHOTS)
def test_the_picture_is_the_one_we_looked_at(studio: Studio, name: str, update_golden: bool) -> None:
    view, light = SHOTS[name]
    picture = studio.shoot(light, view)
    path = GOLDEN / f"{name}.png"
    if update_golden:
        GOLDEN.mkdir(exist_ok=True)
        write_png(path, picture)
        pytest.skip(f"{path.name} is written anew: look at it")
    golden = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert golden is not None, f"{path} is missing: make it with --update-golden"
    difference = np.abs(picture.astype(int) - golden[..., ::-1])
    assert difference.mean() < TOLERANCE


def test_the_goldens_tell_the_shots_apart() -> None:
    """A tolerance that another light or view would pass proves nothing."""
    pictures = [cv2.imread(str(GOLDEN / f"{name}.png")).astype(int) for name in SHOTS]
    for i, a in enumerate(pictures):
        for b in pictures[i + 1 :]:
            assert np.abs(a - b).mean() > 3 * TOLERANCE
