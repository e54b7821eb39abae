"""Lifting: a pose is found again from pixels, and a face that moved stands under its pixels in head space."""

from __future__ import annotations

import numpy as np
import pytest

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from narrate_stream.ops.lift import CORNERS, IRISES, lifted, solved_pose

CAMERA = Camera(900.0, 319.5, 239.5)
POSE = rotation_from_angles(18, -7, 4), np.array([1.5, -2.0, -58.0])


def seen(points: np.ndarray) -> np.ndarray:
    return CAMERA.project(points @ POSE[0].T + POSE[1])


@pytest.mark.parametrize("last", [None, (np.eye(3), np.array([0, 0, -50.0]))])
def test_the_pose_is_found_again(last: tuple[np.ndarray, np.ndarray] | None) -> None:
    shape = canonical().landmarks
    rotation, translation = solved_pose(shape, seen(shape), CAMERA, last)
    assert rotation == pytest.approx(POSE[0], abs=1e-4)
    assert translation == pytest.approx(POSE[1], abs=1e-2)


def test_an_expression_hardly_turns_the_head() -> None:
    shape = canonical().landmarks
    smiling = shape.copy()
    smiling[[61, 291, 14, 17, 152]] += [0, -1.5, 0]
    assert solved_pose(shape, seen(smiling), CAMERA)[0] == pytest.approx(POSE[0], abs=1e-4)


def test_the_face_stands_under_its_pixels() -> None:
    shape = canonical().landmarks
    moved = shape + np.random.default_rng(3).normal(0, 0.2, shape.shape)
    face = lifted(shape, seen(moved), CAMERA, POSE)
    assert seen(face) == pytest.approx(seen(moved), abs=1e-6)
    depth, wanted = ((p @ POSE[0].T + POSE[1])[:, 2] for p in (face, shape))
    assert depth[:468] == pytest.approx(wanted[:468])
    for iris, (a, b) in zip(IRISES, CORNERS, strict=True):
        assert depth[iris] == pytest.approx(np.full(5, (wanted[a] + wanted[b]) / 2))
