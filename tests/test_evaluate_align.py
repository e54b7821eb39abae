"""Pictures laid onto others, on points and turns whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.geometry import rotation_from_angles
from offline.evaluate.align import flat_similarity, laid, rotation_angle


def test_flat_similarity() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(20, 2)) * 30
    turn = 1.2 * rotation_from_angles(0, 0, -20)[:2, :2]
    matrix = flat_similarity(source, source @ turn.T + [5, -3])
    assert matrix == pytest.approx(np.column_stack([turn, [5, -3]]))


def test_rotation_angle() -> None:
    assert rotation_angle(rotation_from_angles(0, 25, 0)) == pytest.approx(25)
    assert rotation_angle(np.eye(3)) == 0


def test_a_picture_is_moved_by_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    moved = laid(image, np.array([[1.0, 0, 3], [0, 1, -2]]))
    assert np.array_equal(moved[:10, 3:], image[2:, :13])
    assert np.array_equal(moved[:, 0], moved[:, 3])  # the border is held
