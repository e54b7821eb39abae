"""A face whose channels and pose are known, as a perfect detector reports it."""

from __future__ import annotations

import numpy as np

from narrate_stream.drivers.channels import expressive_face
from narrate_stream.drivers.mesh import FOCAL_FACTOR
from narrate_stream.ops.geometry import Camera, rotation_from_angles

SIZE = (640, 480)


def seen(
    weights: dict[str, float] | None = None,
    angles: tuple[float, float, float] = (0, 0, 0),
    look: tuple[float, float] = (0, 0),
    shift: tuple[float, float, float] = (0, 0, 0),
) -> np.ndarray:
    """(478, 3) pixels in a picture of SIZE; angles in degrees, shift in cm."""
    w, h = SIZE
    camera = Camera(FOCAL_FACTOR * w, (w - 1) / 2, (h - 1) / 2)
    points = expressive_face(weights or {}, look) @ rotation_from_angles(*angles).T + [0, 0, -60] + shift
    pixels = camera.project(points)
    depth = -(points[:, 2] + 60) * camera.focal / 60
    return np.concatenate([pixels, depth[:, None]], -1)
