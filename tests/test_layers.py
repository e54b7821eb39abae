"""Cells of the mouth: mouths that fade sideways."""

from __future__ import annotations

import numpy as np
import pytest

from offline.layers import gap_from


def test_distances_of_columns() -> None:
    assert gap_from(np.array([False, False, True, False, True, False])) == pytest.approx([2, 1, 0, 1, 0, 1])
    assert gap_from(np.zeros(3, np.bool_)) == pytest.approx([0, 0, 0])
