"""From the detector's landmarks of every frame to what the eye follows: pose, lids, mouth, gaze. Plain functions.

Convention: marks are (N, 478, 3) pixels, z in x's unit and smaller = nearer; nan in frames without a face. Definitions
are the field's usual ones: eye and mouth aspect ratios, gaze as the iris' place between the eye's corners.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.mesh import FOCAL_FACTOR
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.ops.lift import FLIP

F64 = NDArray[np.float64]
RIGID = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 10, 151, 9, 8, 54, 284, 103, 332, 127, 356, 234, 454)
EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))  # corner, two above, corner, two below
IRISES = ((468, 33, 133), (473, 362, 263))  # centre and the eye's corners, from the image's left to its right
LIPS = ((13, 14), (81, 178), (311, 402))
USUAL = 60  # percentile of the eyes' openness that counts as open


def distance(marks: NDArray[Any], a: int, b: int) -> F64:
    """(N,) in the picture's plane, pixels."""
    return np.asarray(np.linalg.norm(marks[..., a, :2] - marks[..., b, :2], axis=-1), np.float64)


def eye_distance(marks: NDArray[Any]) -> F64:
    """(N,) between the outer corners, in space, so that a turned head measures the same; pixels."""
    return np.asarray(np.linalg.norm(marks[..., 33, :] - marks[..., 263, :], axis=-1), np.float64)


def eye_aspect(marks: NDArray[Any]) -> F64:
    """(N,) openness of the eyes over their width, mean of both."""
    shares = [
        (distance(marks, up, low) + distance(marks, up2, low2)) / (2 * distance(marks, a, b))
        for a, up, up2, b, low2, low in EYES
    ]
    return np.asarray(np.mean(shares, axis=0))


def mouth_aspect(marks: NDArray[Any]) -> F64:
    """(N,) opening between the inner lips over the mouth's width."""
    return np.asarray(sum(distance(marks, a, b) for a, b in LIPS) / (3 * distance(marks, 78, 308)))


def gaze(marks: NDArray[Any]) -> F64:
    """(N, 2) the irises along and across the line between the eye's corners, from its middle, in eye widths."""
    out = []
    for iris, a, b in IRISES:
        axis = marks[..., b, :2] - marks[..., a, :2]
        off = marks[..., iris, :2] - (marks[..., a, :2] + marks[..., b, :2]) / 2
        across = axis[..., 0] * off[..., 1] - axis[..., 1] * off[..., 0]
        out.append(np.stack([(off * axis).sum(-1), across], -1) / (axis**2).sum(-1)[..., None])
    return np.asarray(np.mean(out, axis=0))


def rotations(marks: NDArray[Any], size: tuple[int, int]) -> F64:
    """(N, 3, 3) camera_from_head in this package's axes; size (W, H) of the pictures. nan without a face."""
    return np.array([rotation(face, size) for face in marks])


def rotation(face: NDArray[Any], size: tuple[int, int]) -> F64:
    """(3, 3) of one face (478, 3), by PnP of the canonical face's rigid points."""
    if np.isnan(face).any():
        return np.full((3, 3), np.nan)
    w, h = size
    focal = FOCAL_FACTOR * max(w, h)
    camera = np.array([[focal, 0, (w - 1) / 2], [0, focal, (h - 1) / 2], [0, 0, 1]])
    points = canonical().landmarks[list(RIGID)] @ FLIP
    pixels = np.ascontiguousarray(face[list(RIGID), :2], np.float64)
    _, r, t = cv2.solvePnP(points, pixels, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    r, _ = cv2.solvePnPRefineLM(points, pixels, camera, None, r, t)
    return np.asarray(FLIP @ cv2.Rodrigues(r)[0] @ FLIP)


def neutral_scores(marks: NDArray[Any], size: tuple[int, int]) -> F64:
    """(N,) lower is more neutral: frontal, mouth closed, eyes open and straight; inf without a face."""
    pose = np.abs(angles_from_rotation(rotations(marks, size)))
    openness = eye_aspect(marks)
    usual = np.nanpercentile(openness, USUAL)
    score = pose @ [0.1, 0.1, 0.05] + 8 * mouth_aspect(marks) + 5 * np.abs(gaze(marks)[:, 0])
    score += 20 * np.maximum(0, usual - openness)
    return np.where(np.isnan(score), np.inf, score)


def filled(track: F64) -> F64:
    """(N, ...) with missing frames interpolated; those before the first and after the last take that one's value."""
    flat = track.reshape(len(track), -1).astype(np.float64)
    ok = np.flatnonzero(~np.isnan(flat).any(-1))
    columns = [np.interp(np.arange(len(flat)), ok, column[ok]) for column in flat.T]
    return np.stack(columns, -1).reshape(track.shape)
