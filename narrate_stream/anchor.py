"""A driver seen by the portrait's own camera: its pose and face in the portrait's head space, pixel for pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.lift import Place, lifted, solved_pose
from narrate_stream.types import Motion

F64 = NDArray[np.float64]
SAME = 0.04  # eye distances by which the detector's landmarks of one and the same picture may differ


def filmed(motion: Motion) -> bool:
    """Whether a camera saw it; scripted motion has turns and expressions, but no pixels."""
    return bool(np.ptp(motion.pixels) > 1)


class Anchor:
    """For absolute motion. Two fits of the same face never agree on its axes, size and distance to the pixel; so the
    driver's are taken anew, with the portrait's camera and depth under the driver's pixels of one moment.
    """

    def __init__(self, model: HybridModel) -> None:
        self.model = model
        self._neutral = model.neutral.astype(np.float64)
        self._place = model.rotation.astype(np.float64), model.translation.astype(np.float64)
        self._own = model.camera.project(self._neutral @ self._place[0].T + self._place[1])
        self._shape: F64 | None = None
        self._last: Place | None = None

    def pixels(self, motion: Motion) -> F64:
        """(478, 2) the driver's landmarks on the portrait's canvas, its frame laid over the portrait's picture."""
        x0, y0, scale = self.model.crop
        larger = max(self.model.frame_size) / max(motion.size)
        return np.asarray(((motion.pixels + 0.5) * larger - [x0, y0]) * scale - 0.5, np.float64)

    def in_frame(self, canvas: F64, motion: Motion) -> F64:
        """(N, 2) places on the portrait's canvas (N, 2) in the driver's frame: `pixels`, the other way."""
        x0, y0, scale = self.model.crop
        larger = max(self.model.frame_size) / max(motion.size)
        return np.asarray(((canvas + 0.5) / scale + [x0, y0]) / larger - 0.5, np.float64)

    def is_portrait(self, motion: Motion) -> bool:
        """Whether the driver's frame of this moment is the portrait's own picture."""
        return filmed(motion) and self.distance(motion) < SAME

    def distance(self, motion: Motion) -> float:
        """How far the driver's landmarks lie from the portrait's own, eye distances on average."""
        away = np.linalg.norm(self._own - self.pixels(motion), axis=1).mean()
        return float(away / np.linalg.norm(self._own[33] - self._own[263]))

    def hold(self, motion: Motion) -> Motion:
        """From now on the driver has the shape of this moment, as deep as the portrait. Returns the moment itself.

        A moment that is the portrait has the portrait's pose: a solved one would differ by the detector's noise."""
        if not filmed(motion):
            return self(motion)
        seen = self.pixels(motion)
        found = self._place if self.is_portrait(motion) else solved_pose(self._neutral, seen, self.model.camera)
        self._last = found
        self._shape = lifted(self._neutral, seen, self.model.camera, self._last)
        return self(motion)

    def __call__(self, motion: Motion) -> Motion:
        """The same motion in the portrait's camera and head space (its pixels stay those of the driving frame)."""
        if not filmed(motion):
            return replace(motion, translation=self._place[1].astype(np.float32))
        if self._shape is None:
            self.hold(motion)
        assert self._shape is not None
        seen = self.pixels(motion)
        self._last = solved_pose(self._shape, seen, self.model.camera, self._last)
        face = lifted(self._shape, seen, self.model.camera, self._last)
        rotation, translation = (a.astype(np.float32) for a in self._last)
        return replace(motion, rotation=rotation, translation=translation, landmarks=face.astype(np.float32))
