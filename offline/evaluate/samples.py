"""One subject to measure on: a picture that goes in, the truth that should come out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import Lighting
from narrate_stream.types import Image
from offline.picture import Picture

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
ENLARGED = 3  # times: data sets are small pictures, a portrait is not


@dataclass(frozen=True)
class Target:
    """A light and what the subject really looks like in it: `real` (H, W) grey sRGB 0..1."""

    name: str
    lighting: Lighting
    real: F64


@dataclass(frozen=True, eq=False)
class Sample:
    """picture: what the system sees, ENLARGED; normal (H, W, 3) true camera-space normals, believed inside `mask`
    (H, W); face (H, W) where relighting is compared; targets: the other lights; photograph (H, W) grey sRGB 0..1 of
    the picture at the data's own size. Compared by identity."""

    name: str
    picture: Picture
    photograph: F64
    normal: F64
    mask: Mask
    face: Mask
    targets: tuple[Target, ...]


def enlarged(image: Image, path: Path) -> Picture:
    """The picture as an ordinary sRGB portrait, ENLARGED times (bicubic)."""
    big = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    return Picture(np.ascontiguousarray(big), path=path)


def reduced(values: NDArray[Any], shape: tuple[int, ...]) -> F64:
    """Area average to the data's own (H, W)."""
    return np.asarray(cv2.resize(np.asarray(values, np.float64), shape[::-1], interpolation=cv2.INTER_AREA))
