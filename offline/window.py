"""The networks' view of a portrait: the face cut out level and at the size at which the light stage shows it.

Convention: the window is a picture of SIDE pixels; `turn` takes camera space of the canvas to that of the window (they
differ by a roll about the viewing axis), so normals of the one become normals of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, Image

F64 = NDArray[np.float64]
SIDE = 96  # pixels: what the networks were trained at
FACE_CM = 17.0  # height of a face's outline, which sets the framing
STAGE_SPAN = 1.65  # side of the stage's picture in heights of the face
TRAINED_SPAN = 0.6 * STAGE_SPAN  # training cuts 96 of the stage's 160 pixels out


@dataclass(frozen=True)
class Window:
    """to_window (2, 3): canvas pixels to window pixels; turn (3, 3): window_from_canvas rotation of camera space;
    camera: of the window; fit: the face in the window's camera space; side: pixels."""

    to_window: F64
    turn: F64
    camera: Camera
    fit: FaceFit
    side: int

    def cut(self, image: Image | Array, *, nearest: bool = False) -> NDArray[np.float32]:
        """(side, side, ...) of a canvas map, 0 beyond its border; averaged when the window is coarser."""
        scale = float(np.sqrt(abs(np.linalg.det(self.to_window[:, :2]))))
        source = np.asarray(image, np.float32)
        if scale < 0.6:  # or fine detail would alias
            source = cv2.GaussianBlur(source, (0, 0), 0.45 / scale)
        how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        return np.asarray(cv2.warpAffine(source, self.to_window, (self.side, self.side), flags=how), np.float32)

    def back(self, values: NDArray[np.float32], size: tuple[int, int], beyond: float = 0.0) -> Array:
        """A window map (side, side, ...) on the canvas of `size` (W, H); `beyond` outside the window."""
        fill = (beyond, beyond, beyond, beyond)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(values, self.to_window, size, flags=flags, borderValue=fill), np.float32)

    def normals_back(self, normal: NDArray[np.float32], size: tuple[int, int]) -> Array:
        """Window normals (side, side, 3) as normals of the canvas (H, W, 3), unit where the window reaches."""
        n = self.back((normal @ self.turn).astype(np.float32), size)
        return np.asarray(n / (np.linalg.norm(n, axis=-1, keepdims=True) + 1e-9), np.float32)


def face_window(
    fit: FaceFit, camera: Camera, *, side: int = SIDE, zoom: float = 1.0, shift: tuple[float, float] = (0, 0)
) -> Window:
    """The window of a fitted face; `zoom` enlarges the face in it and `shift` (pixels) moves it, to average over."""
    face = fit.points[:468]
    centre = face.mean(0) * 0.5 + (face.max(0) + face.min(0)) / 4
    across = camera.project(fit.camera(np.array([[-1.0, 0, 6], [1.0, 0, 6]])))
    roll = float(np.arctan2(*(across[1] - across[0])[::-1]))
    scale = zoom * side / (TRAINED_SPAN * FACE_CM) * -centre[2] / camera.focal
    c, s = np.cos(-roll), np.sin(-roll)
    level = np.array([[c, -s], [s, c]])  # pixels, y down
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0, 0, 1]])  # the same turn with y up
    middle = camera.project(centre[None])[0]
    at = np.array([(side - 1) / 2 + shift[0], (side - 1) / 2 + shift[1]])
    to_window = np.concatenate([scale * level, (at - scale * level @ middle)[:, None]], 1)
    cx, cy = to_window @ [camera.cx, camera.cy, 1]
    turned = FaceFit(turn @ fit.rotation, turn @ fit.translation, fit.points @ turn.T, fit.error)
    return Window(to_window, turn, Camera(camera.focal * scale, float(cx), float(cy)), turned, side)
