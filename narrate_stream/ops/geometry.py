"""Rotations, cameras and rigid fits.

Convention: x right in the image, y up, z toward the viewer; `yaw > 0` turns the face toward the image's right,
`pitch > 0` looks up, `roll > 0` is clockwise as seen; degrees. Rotations act on column vectors: x' = R x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def rotation_from_angles(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """(3, 3) rotation of a head: roll about its own forward axis, then pitch, then yaw about the image's vertical."""
    y, p, r = np.radians([yaw, pitch, roll])
    cy, sy, cp, sp, cr, sr = np.cos(y), np.sin(y), np.cos(p), np.sin(p), np.cos(r), np.sin(r)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])  # up for positive pitch: z moves to +y
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])  # clockwise as seen
    return np.asarray(about_y @ about_x @ about_z, np.float64)


def angles_from_rotation(rotation: Floats) -> NDArray[np.float64]:
    """(..., 3) yaw, pitch, roll in degrees of rotations (..., 3, 3): the inverse of `rotation_from_angles`."""
    forward = rotation[..., :, 2]
    yaw = np.arctan2(forward[..., 0], forward[..., 2])
    pitch = np.arctan2(forward[..., 1], np.hypot(forward[..., 0], forward[..., 2]))
    right = np.stack([np.cos(yaw), np.zeros_like(yaw), -np.sin(yaw)], -1)
    up = np.cross(forward, right)
    roll = np.arctan2(-(rotation[..., :, 0] * up).sum(-1), (rotation[..., :, 0] * right).sum(-1))
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], -1)), np.float64)


def quaternion_from_rotation(rotation: Floats) -> NDArray[np.float64]:
    """(4,) unit quaternion (w, x, y, z), w >= 0, of a (3, 3) rotation."""
    from scipy.spatial.transform import Rotation

    q = Rotation.from_matrix(rotation).as_quat()
    q = q if q[3] >= 0 else -q
    return np.array([q[3], q[0], q[1], q[2]])


def partial_rotations(rotation: Floats, weight: Floats) -> NDArray[np.float64]:
    """(N, 3, 3): `rotation` scaled to the fraction `weight` (N,) of its angle, 0 = identity, 1 = whole."""
    from scipy.spatial.transform import Rotation

    vector = Rotation.from_matrix(rotation).as_rotvec()
    return np.asarray(Rotation.from_rotvec(vector[None] * np.asarray(weight)[:, None]).as_matrix(), np.float64)


def cross_matrix(v: Floats) -> Floats:
    """(3, 3) matrix M with M @ x = v cross x."""
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]], v.dtype)


def turned_by_weight(points: Floats, weight: Floats, rotation: Floats) -> Floats:
    """(N, 3) points turned about the origin by the fraction `weight` (N,) of a rotation's angle (Rodrigues'
    formula)."""
    vector = cv2.Rodrigues(np.asarray(rotation, np.float64))[0].ravel()
    angle = float(np.linalg.norm(vector))
    if angle < 1e-9:
        return np.array(points)
    axis = np.asarray(vector / angle, points.dtype)
    cos, sin = np.cos(angle * weight)[:, None], np.sin(angle * weight)[:, None]
    return np.asarray(points * cos + points @ cross_matrix(axis).T * sin + np.outer(points @ axis, axis) * (1 - cos))


@dataclass(frozen=True)
class Camera:
    """A pinhole at the origin looking along -z: focal length and principal point (cx, cy) in pixels."""

    focal: float
    cx: float
    cy: float

    def project(self, points: Floats) -> NDArray[np.float64]:
        """(..., 3) cm in camera space -> (..., 2) pixels."""
        depth = -points[..., 2]
        return np.stack(
            [self.cx + self.focal * points[..., 0] / depth, self.cy - self.focal * points[..., 1] / depth], -1
        )

    def unproject(self, pixels: Floats, z: Floats | float) -> NDArray[np.float64]:
        """(..., 2) pixels at camera-space z (negative, cm) -> (..., 3) cm."""
        depth = np.broadcast_to(-np.asarray(z, np.float64), pixels.shape[:-1])
        x = (pixels[..., 0] - self.cx) * depth / self.focal
        y = (self.cy - pixels[..., 1]) * depth / self.focal
        return np.stack([x, y, -depth], -1)

    def scaled(self, factor: float, dx: float = 0.0, dy: float = 0.0) -> Camera:
        """The same camera for a picture whose pixels are x' = factor * x + dx, y' = factor * y + dy."""
        return Camera(self.focal * factor, self.cx * factor + dx, self.cy * factor + dy)


def similarity(
    source: Floats, target: Floats, weight: Floats | None = None
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Least-squares scale, rotation (3, 3) and translation (3,) with target = scale * R @ source + t (Umeyama)."""
    w = np.ones(len(source)) if weight is None else np.asarray(weight, np.float64)
    w = w / w.sum()
    ms, mt = w @ source, w @ target
    s, t = source - ms, target - mt
    u, d, vt = np.linalg.svd((t * w[:, None]).T @ s)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(flip) @ vt
    scale = float((d * flip).sum() / (w @ (s**2).sum(-1)))
    return scale, rotation, mt - scale * rotation @ ms
