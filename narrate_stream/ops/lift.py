"""From pixels of a face whose shape is known to its pose, and to the face that moved, in head space.

Convention: camera space, cm (x right, y up, z toward the viewer, the camera at the origin looking along -z); a pose is
camera_from_head, rotation (3, 3) and translation (3,).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.geometry import Camera

F64 = NDArray[np.float64]
Place = tuple[F64, F64]
RIGID = (
    10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 33, 133, 362, 263, 54, 284, 103, 332, 127, 356, 234, 454,
    21, 251, 162, 389, 67, 297, 109, 338, 108, 337, 69, 299, 104, 333, 68, 298, 193, 417, 122, 351, 196, 419, 3,
    248, 236, 456, 131, 360, 198, 420, 49, 279,
)  # fmt: skip
RIGID_INDEX = np.array(RIGID)
IRISES = (slice(468, 473), slice(473, 478))
CORNERS = ((33, 133), (263, 362))
FLIP = np.diag([1.0, -1.0, -1.0])  # our camera axes <-> OpenCV's


def solved_pose(shape: F64, pixels: F64, camera: Camera, last: Place | None = None) -> Place:
    """Pose of a head of this shape (>= 468, 3) under its landmarks' pixels (>= 468, 2), by PnP on the landmarks that
    hardly move with expression; from `last` on, where there is one."""
    matrix = np.array([[camera.focal, 0, camera.cx], [0, camera.focal, camera.cy], [0, 0, 1]])
    points = shape[RIGID_INDEX] @ FLIP
    seen = np.ascontiguousarray(pixels[RIGID_INDEX, :2], np.float64)
    if last is None:
        _, r, t = cv2.solvePnP(points, seen, matrix, None, flags=cv2.SOLVEPNP_SQPNP)
    else:
        r, t = cv2.Rodrigues(FLIP @ last[0] @ FLIP)[0], (FLIP @ last[1])[:, None]
    r, t = cv2.solvePnPRefineLM(points, seen, matrix, None, r, t)
    return FLIP @ cv2.Rodrigues(r)[0] @ FLIP, FLIP @ t.ravel()


def lifted(shape: F64, pixels: F64, camera: Camera, pose: Place) -> F64:
    """(478, 3) head space: the landmarks exactly under their pixels (478, 2), as deep as the shape (478, 3) at that
    pose lies, irises as deep as the corners of their eyes."""
    rotation, translation = pose
    depth = (shape @ rotation.T + translation)[:, 2]
    for iris, (a, b) in zip(IRISES, CORNERS, strict=True):
        depth[iris] = (depth[a] + depth[b]) / 2
    return np.asarray((camera.unproject(pixels[:, :2], depth) - translation) @ rotation)
