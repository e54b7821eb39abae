"""Staying with one driver: which face in the picture drives, when another comes in or sits down in its place.

A detector that follows a face holds on to it until it loses it; then it takes what it finds. A face that is suddenly
elsewhere is measured by the driver's own proportions: how far its landmarks lie from the driver's head in the pose that
fits it best. A stranger is hidden from the detector for a while, which so finds the driver where it is there. Who is
alone for some seconds becomes the driver.

Convention: lengths are distances between the driver's outer eye corners, as it stands before the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lift import RIGID_INDEX, Place
from narrate_stream.types import Image

F64 = NDArray[np.float64]
REACH, PACE = 0.8, 3.0  # so far may a face be that is still the same, and so much farther for every second unseen
GROWTH, SWELLING = 1.25, 1.0  # the same for its size
USUAL, STRANGE, LEAST = 0.012, 1.4, 0.0145  # misfit of a driver's own face at first; of a stranger's: times that, least
LEARN = 0.05  # of the way that the usual misfit goes toward each moment's
GLANCE = 0.5  # seconds unseen after which its place says nothing about who somebody is
AWAY, PATIENCE = 2.0, 4.0  # seconds after which a driver has been away; after which a stranger may drive
LOOKS, HIDDEN = 3, 0.5  # looks at a stranger before it is hidden, seconds for which it then is
MARGIN = 0.2  # around a hidden face, of its size

Verdict = Literal["driver", "new", "stranger"]


@dataclass(frozen=True)
class Sighting:
    """A face that was found: at (2,) px its middle, unit: px of an eye distance; box: left, top, right, bottom in px;
    misfit: how badly the driver's head fits it."""

    at: F64
    unit: float
    box: tuple[int, int, int, int]
    misfit: float


class Keeper:
    """Decides face by face. person: counts up with every other driver, and with one who was away."""

    def __init__(self) -> None:
        self.person = 0
        self.hidden: tuple[int, int, int, int] | None = None
        self._seen: Sighting | None = None  # the driver, when last seen
        self._unseen = self._hiding = 0.0  # seconds since; for which somebody is still hidden
        self._usual, self._strange = USUAL, 0

    def nobody(self, seconds: float) -> None:
        """No face is found, `seconds` after the last look."""
        self._unseen += seconds
        self._strange = 0
        self._show_again(seconds)

    def __call__(self, found: Sighting, seconds: float) -> Verdict:
        """Whose face this is: the driver's, a new one's, who drives from now on, or a stranger's."""
        self._unseen += seconds
        self._show_again(seconds)
        if self._seen is None:
            return self._accept(found, "new")
        alike = found.misfit <= max(STRANGE * self._usual, LEAST)
        if alike or (self._near(found) and self._unseen < GLANCE):
            return self._accept(found, "driver")
        if self._unseen >= PATIENCE:
            return self._accept(found, "new")
        self._strange += 1
        if self._strange >= LOOKS:
            self.hidden, self._hiding, self._strange = found.box, HIDDEN, 0
        return "stranger"

    def _accept(self, found: Sighting, verdict: Verdict) -> Verdict:
        if self._seen is not None and (verdict == "new" or self._unseen >= AWAY):
            self.person += 1
        self._usual = USUAL if verdict == "new" else self._usual + LEARN * (found.misfit - self._usual)
        self._seen, self._unseen, self._strange, self.hidden = found, 0.0, 0, None
        return verdict

    def _near(self, found: Sighting) -> bool:
        """Whether the driver can have come there in the time that it was not seen."""
        assert self._seen is not None
        way = float(np.linalg.norm(found.at - self._seen.at)) / self._seen.unit
        growth = abs(np.log(found.unit / self._seen.unit))
        return way < REACH + PACE * self._unseen and bool(growth < np.log(GROWTH) + SWELLING * self._unseen)

    def _show_again(self, seconds: float) -> None:
        self._hiding -= seconds
        if self._hiding <= 0:
            self.hidden = None


def sighting(marks: F64, shape: F64, camera: Camera, pose: Place) -> Sighting:
    """How landmarks (478, 2 or 3) px look to a driver whose head (>= 468, 3) fits them best at that pose."""
    rotation, translation = pose
    pixels = marks[:, :2]
    unit = camera.focal * float(np.linalg.norm(shape[33] - shape[263])) / max(-float(translation[2]), 1e-6)
    off = camera.project(shape[RIGID_INDEX] @ rotation.T + translation) - pixels[RIGID_INDEX]
    low, high = pixels.min(0), pixels.max(0)
    edge = MARGIN * (high - low) / 2
    left, top = np.floor(low - edge).astype(int)
    right, bottom = np.ceil(high + edge).astype(int)
    box = int(left), int(top), int(right), int(bottom)
    return Sighting((low + high) / 2, unit, box, float(np.sqrt((off**2).sum(-1).mean())) / unit)


def without(image: Image, box: tuple[int, int, int, int]) -> Image:
    """The picture with the box (left, top, right, bottom; px) painted over in its mean colour."""
    left, top, right, bottom = (max(0, edge) for edge in box)
    out = image.copy()
    out[top:bottom, left:right] = image.reshape(-1, 3)[::97].mean(0).astype(np.uint8)
    return out
