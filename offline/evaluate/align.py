"""Laying one picture onto another by its landmarks, and how far a head is turned."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.types import Image

F64 = NDArray[np.float64]


def flat_similarity(source: F64, target: F64) -> F64:
    """(2, 3) matrix of the shift, scale and roll that lay points (n, 2) on others with least squared distance."""
    a, b = source - source.mean(0), target - target.mean(0)
    z = (a[:, 0] + 1j * a[:, 1]).conj() @ (b[:, 0] + 1j * b[:, 1]) / (a**2).sum()
    turn = np.array([[z.real, -z.imag], [z.imag, z.real]])
    return np.column_stack([turn, target.mean(0) - turn @ source.mean(0)])


def laid(image: Image, matrix: F64) -> Image:
    """The picture moved by a (2, 3) matrix of pixels."""
    h, w = image.shape[:2]
    return np.asarray(
        cv2.warpAffine(image, matrix, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def rotation_angle(rotation: F64) -> float:
    """Degrees of a rotation (3, 3)."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
