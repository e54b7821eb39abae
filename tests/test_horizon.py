"""Horizons against geometry with known answers: an open plane, a wall, a half ball."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops import horizon
from narrate_stream.ops.lighting import COSINE, ambient, direction, sh_basis
from offline.bake import bridged, horizons

FRONT = np.array([0.0, 0.0, 1.0], np.float32)


def grid(size: int = 64, cm: float = 0.25) -> np.ndarray:
    """(size, size, 3) points of a plane that faces the viewer, `cm` apart."""
    y, x = np.mgrid[:size, :size] * cm
    return np.stack([x, -y, np.zeros_like(x)], -1)


def wall(height: float = 4.0, column: int = 32) -> np.ndarray:
    """The plane with a step up from `column` on."""
    points = grid()
    points[:, column:, 2] = height
    return points


def test_a_plane_hides_nothing() -> None:
    planes = horizons(grid())
    assert horizon.seen(planes, direction(50, 20), 0.05)[20:44, 20:44] == pytest.approx(1)
    assert horizon.seen(planes, direction(100, 0), 0.02)[20:44, 20:44] == pytest.approx(0, abs=0.51)


def test_the_shadow_of_a_wall_ends_where_it_should() -> None:
    """A wall of 4 cm under a light at 45 degrees darkens 4 cm of the floor."""
    planes = horizons(wall())
    row = horizon.seen(planes, direction(45, 0), 0.0)[32]
    dark = (row[:31] < 0.5).sum() * 0.25
    assert dark == pytest.approx(4.0, abs=0.5)
    assert row[:12] == pytest.approx(1)
    from_left = horizon.seen(planes, direction(-45, 0), 0.0)[32]
    assert from_left[2:30] == pytest.approx(1, abs=0.01)


def test_a_large_light_has_a_wide_edge() -> None:
    planes = horizons(wall())
    edges = [
        ((row > 0.05) & (row < 0.95)).sum()
        for row in (horizon.seen(planes, direction(45, 0), r)[32, :31] for r in (0, 0.2))
    ]
    assert edges[1] > 2 * edges[0]


@pytest.mark.parametrize("turn", [0.0, 3.0, 5.6, 90.0, 213.0])
def test_between_two_azimuths_the_horizon_is_between(turn: float) -> None:
    planes = np.zeros((horizon.AZIMUTHS, 1, 1), np.uint8)
    planes[:, 0, 0] = horizon.encoded(0.4 * np.cos(np.arange(horizon.AZIMUTHS) / horizon.AZIMUTHS * 2 * np.pi))
    angle = np.radians(turn)
    elevation = 0.4 * np.cos(angle)  # at the very edge of what is hidden
    d = np.array([np.cos(angle) * np.cos(elevation), np.sin(angle) * np.cos(elevation), np.sin(elevation)])
    assert float(horizon.risen(planes, d, 0.2)[0, 0]) == pytest.approx(0.5, abs=0.04)


def test_open_transfer_is_lambert_and_a_wall_takes_its_share() -> None:
    normals = np.broadcast_to(FRONT, (64, 64, 3)).astype(np.float32)
    open_sky = horizon.transfer(np.zeros((32, 64, 64), np.uint8), normals)
    assert open_sky[5, 5] == pytest.approx(sh_basis(FRONT) * COSINE, abs=1e-4)
    planes = horizons(wall(height=400.0))
    at_foot = horizon.transfer(planes, normals)[32, 27] @ ambient(1.0)
    assert at_foot == pytest.approx(np.full(3, 0.5), abs=0.06)  # half of the sky
    assert horizon.transfer(planes, normals).shape == (64, 64, 9)


def test_bytes_keep_elevations() -> None:
    angles = np.linspace(-np.pi / 2, np.pi / 2, 77)
    assert horizon.encoded(angles) / 255 * np.pi - np.pi / 2 == pytest.approx(angles, abs=np.pi / 255)


def test_a_mouth_is_bridged_from_lip_to_lip() -> None:
    y, x = np.mgrid[:20, :30].astype(np.float64)
    lips = -50 + 0.1 * x - 0.05 * y
    hole = (np.abs(x - 15) < 5) & (np.abs(y - 10) < 3)
    found = bridged(np.where(hole, -53.0, lips), hole)
    assert found == pytest.approx(lips, abs=0.01)  # a plane goes on as a plane, without the gorge
    assert (bridged(lips, np.zeros_like(hole)) == lips).all()
