"""Means over sitters and the lines of the sheet."""

from __future__ import annotations

import numpy as np
import pytest

from offline.evaluate.table import angle_name, means, sheet_line


def test_means_over_sitters_and_over_all() -> None:
    table = means({"a": {"yaw +10": [{"psnr": 20.0}, {"psnr": 30.0}], "yaw -10": [{"psnr": 40.0, "pose": 2.0}]}})
    assert list(table["a"]) == ["yaw +10", "yaw -10", "mean"]
    assert table["a"]["yaw +10"] == {"psnr": 25.0}
    assert table["a"]["mean"] == {"psnr": pytest.approx(30.0), "pose": 2.0}


def test_angles_by_name() -> None:
    assert [angle_name(20, 0), angle_name(-49, 0), angle_name(0, -15)] == ["yaw +20", "yaw -49", "pitch -15"]


def test_the_difference_is_that_of_the_product() -> None:
    truth = np.full((40, 60, 3), 100, np.uint8)
    views = {"input unchanged": truth, "true geometry": truth + 30, "weight-free": truth + 10}
    line = sheet_line("sitter 0", truth, views, truth, "yaw +20")
    assert line.shape == (40, 5 * 60, 3)
    tiles = np.split(line, 5, axis=1)
    assert [int(tile[35, 30, 0]) for tile in tiles] == [100, 130, 110, 100, 30]
