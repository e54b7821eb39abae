"""The frozen dataclasses that travel between the parts.

Convention: arrays are numpy, row-major `(H, W, C)`, RGB, top-left origin. Camera space: x right in the image, y up,
z from the subject toward the viewer (right-handed). Angles are degrees; `yaw > 0` turns the face toward the image's
right, `pitch > 0` looks up, `roll > 0` is clockwise as seen. Pictures are sRGB bytes; lighting is linear floats.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3) sRGB
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """One picture of a video: `image` (H, W, 3) uint8 sRGB RGB, presented at `pts * time_base` seconds."""

    image: Image
    pts: int = 0
    time_base: Fraction = Fraction(1, 90000)

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    def with_image(self, image: Image) -> Frame:
        """The same moment showing another picture."""
        return replace(self, image=image)


@dataclass(frozen=True)
class View:
    """The viewer's own turn of the head, added to whatever drives it; degrees, 0,0 is the portrait's pose."""

    yaw: float = 0.0
    pitch: float = 0.0


@dataclass(frozen=True)
class Motion:
    """What a driver saw in one frame, in its own camera (camera space of this module, unit cm).

    rotation: (3, 3) camera_from_head of the driver's head; translation: (3,) cm, head origin in camera space.
    landmarks: (478, 3) cm, the face in head space (canonical axes), expression and identity together.
    pixels: (478, 2) the same landmarks in the driving frame, pixels; size: (width, height) of that frame.
    confidence: 0..1. measured: a detector saw the landmarks, with its noise and not their depth; a script knows them.
    person: another number for another driver, and for one who was away.
    """

    rotation: Array
    translation: Array
    landmarks: Array
    pixels: Array
    size: tuple[int, int]
    confidence: float = 1.0
    measured: bool = False
    person: int = 0


@dataclass(frozen=True)
class Keypoints:
    """First-order motion of one picture (paper, 5.1): at (K, 2) px, the keypoints; jacobians (K, 2, 2), how the
    surroundings of each are stretched and turned away from a reference that all pictures share. See `ops.motion`."""

    at: NDArray[np.float64]
    jacobians: NDArray[np.float64]


@dataclass(frozen=True)
class MotionField:
    """Where everything in one picture comes from: src_from_dst (H, W, 2), at each pixel of dst the place (x, y) in src,
    px; occlusion (H, W) 0..1, 1 where dst shows what src hides. See `ops.motion`."""

    src_from_dst: Array
    occlusion: Array


@dataclass(frozen=True)
class Pose:
    """Rigid motion of the avatar's head away from the portrait: x' = rotation (x - pivot) + pivot + translation
    (cm)."""

    rotation: Array = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    translation: Array = field(default_factory=lambda: np.zeros(3, np.float32))


@dataclass(frozen=True)
class AvatarMotion:
    """Motion retargeted to the portrait: the head's pose and what the face does, in the portrait's proportions.

    offsets: (468, 3) cm, displacement of each landmark in the portrait's head space; gaze: (2, 2) cm, iris shift of
    right and left eye (x, y head axes); jaw: (3,) cm, displacement of the lower lip and jaw; view: (3, 3) the part of
    the pose's rotation that is the viewer's: the camera that went round, not the head that turned; breath: cm the
    shoulders are raised.
    """

    pose: Pose
    offsets: Array
    gaze: Array
    jaw: Array
    view: Array = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    breath: float = 0.0

    def state(self) -> dict[str, Any]:
        """A few numbers for stats and logs."""
        return {"jaw_cm": round(float(np.linalg.norm(self.jaw)), 2)}
