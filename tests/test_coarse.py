"""Coarse geometry around the face: inflation, joints and limits."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from offline.coarse import jaw_side, rest_depth, soft_limit
from offline.preprocess import OVAL

N = 81
Y, X = np.mgrid[:N, :N] - (N - 1) / 2.0
NOTHING = np.zeros((N, N), np.bool_)
MIDDLE, UNIT = -60.0, 0.2


def inflated(coverage: np.ndarray, face: np.ndarray = NOTHING, face_z: np.ndarray | None = None,
             below: np.ndarray = NOTHING, thickness: float = 100.0) -> np.ndarray:  # fmt: skip
    z = np.full((N, N), -1e3) if face_z is None else face_z
    return rest_depth(coverage.astype(np.float32), face, z, below, MIDDLE, UNIT, thickness)


def test_a_disc_becomes_a_sphere() -> None:
    radius = 30.0
    z = inflated(radius**2 > X**2 + Y**2) - MIDDLE
    inner = np.hypot(X, Y) < 0.8 * radius
    sphere = UNIT * np.sqrt(np.maximum(radius**2 - X**2 - Y**2, 0))
    assert np.abs(z - sphere)[inner].max() < 0.03 * radius * UNIT
    assert (z[np.hypot(X, Y) > radius + 1] == 0).all()


def test_thickness_limits_softly() -> None:
    z = inflated(X**2 + Y**2 < 900, thickness=3.0) - MIDDLE
    assert 2.5 < z.max() < 3.0
    x = np.linspace(0, 20, 400)
    y = soft_limit(x, 3.0)
    assert y[x <= 1.5] == pytest.approx(x[x <= 1.5])
    assert (np.diff(y) >= 0).all()
    assert y.max() <= 3.0


def test_the_rest_meets_the_face_at_its_edge() -> None:
    person, face = X**2 + Y**2 < 36**2, X**2 + Y**2 < 14**2
    face_z = np.where(face, MIDDLE + 9.0, -1e3)
    z = inflated(person, face, face_z)
    assert (z[face] == MIDDLE + 9.0).all()
    ring = (np.hypot(X, Y) > 14) & (np.hypot(X, Y) < 16)
    assert np.abs(z[ring] - (MIDDLE + 9.0)).max() < 0.6


def test_under_the_jaw_the_neck_does_not_join_the_face() -> None:
    person, face = X**2 + Y**2 < 36**2, (X**2 + Y**2 < 14**2)
    face_z = np.where(face, MIDDLE + 9.0, -1e3)
    joined = inflated(person, face, face_z)
    cut = inflated(person, face, face_z, below=Y > 0)
    at = (N // 2 + 16, N // 2)
    assert cut[at] < joined[at] - 0.5
    assert cut[N // 2 - 16, N // 2] == pytest.approx(joined[N // 2 - 16, N // 2], abs=0.5)


def test_nobody_is_flat_and_a_full_picture_still_solves() -> None:
    assert (inflated(np.zeros((N, N))) == MIDDLE).all()
    face = X**2 + Y**2 < 14**2
    everywhere = inflated(np.ones((N, N)), face, np.where(face, MIDDLE + 9.0, -1e3), thickness=11.0)
    assert np.isfinite(everywhere).all()
    assert everywhere.max() < MIDDLE + 11.5


def test_jaw_side_is_below_the_face_and_not_above() -> None:
    face = canonical().landmarks[:, :2] * [4, -4] + [100, 90]
    side = jaw_side(face, (200, 200))
    chin, top = face[152].astype(int), face[10].astype(int)
    assert side[chin[1] + 15, chin[0]]
    assert not side[top[1] - 15, top[0]]
    ear = face[[127, 356]].astype(int)
    assert not side[ear[0, 1], ear[0, 0] - 15]
    assert len(OVAL) == 36
