"""The canonical face fitted to landmarks: pose, identity and expression by ridge least squares.

Convention: camera space, cm (x right, y up, z toward the viewer, the camera at the origin looking along -z).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera

F64 = NDArray[np.float64]
IDENTITY_PRIOR, EXPRESSION_PRIOR = 0.5, 0.3
# On photographs with measured normals the detector's own depth (a little flattened) beats the fitted model's, and a mix
# of both turns best: 18.1 degrees with the model alone, 15.9 with the mix (five subjects).
DETECTOR_SHARE, DETECTOR_SCALE = 0.7, 0.85
NOISE = 0.012  # expected landmark error, in interocular distances


@dataclass(frozen=True)
class FaceFit:
    """camera_from_head rotation (3, 3) and translation (3,); points (478, 3) cm in camera space, exactly under their
    pixels; error: rms distance of the fitted shape from the landmarks, in interocular distances."""

    rotation: F64
    translation: F64
    points: F64
    error: float

    def head(self, points: F64) -> F64:
        """Camera space to head space."""
        return np.asarray((points - self.translation) @ self.rotation)

    def camera(self, points: F64) -> F64:
        """Head space to camera space."""
        return np.asarray(points @ self.rotation.T + self.translation)


def mixed_depth(z: F64, landmarks: F64, unit: float, turned: float) -> F64:
    """(n,) camera-space z (cm): the model's, mixed with the detector's own depth after levelling the two.

    landmarks (n, 3) with the detector's z in pixels, smaller = nearer; unit: cm per pixel at the face;
    turned: degrees of yaw: what the detector cannot see it does not know either.
    """
    own = -landmarks[:, 2] * unit * DETECTOR_SCALE
    if np.ptp(own) < 0.5:  # a detector without depth
        return z
    plane = np.column_stack([landmarks[:, :2], np.ones(len(z))])
    own = own + plane @ np.linalg.lstsq(plane, z - own, rcond=None)[0]
    share = DETECTOR_SHARE * np.clip((35 - turned) / 20, 0, 1)
    return np.asarray((1 - share) * z + share * own)


def fit_face(landmarks: F64, camera: Camera) -> FaceFit:
    """Pose, identity and expression of the canonical face from (478, 3) landmarks in pixels, by ridge least squares.

    The fitted depth is kept and every landmark is put exactly under its own pixel, so that the portrait's proportions
    are the portrait's and only the depth is the model's.
    """
    face = canonical()
    n = 468
    pixels = landmarks[:n, :2]
    iod = float(np.linalg.norm(pixels[33] - pixels[263]) + 1e-9)
    unit = NOISE * max(iod, 0.3 * float(np.ptp(pixels[:, 1])))
    k, m = len(face.identity), len(face.expression)
    modes = np.concatenate([face.identity, face.expression])[:, :n]

    def shape(c: F64) -> F64:
        return np.asarray(face.landmarks[:n] + np.tensordot(c, modes, 1))

    def posed(p: F64) -> F64:
        return np.asarray(shape(p[6:]) @ Rotation.from_rotvec(p[:3]).as_matrix().T + p[3:6])

    def residual(p: F64) -> F64:
        error = (camera.project(posed(p)) - pixels) / unit
        # landmarks are not independent: count them as a tenth of their number against the priors
        return np.concatenate([error.ravel() * 0.3, p[6 : 6 + k] / IDENTITY_PRIOR, p[6 + k :] / EXPRESSION_PRIOR])

    span = np.ptp(face.landmarks[:n, 1])
    depth = camera.focal * span / np.ptp(pixels[:, 1])
    centre = camera.unproject(pixels.mean(0), -depth) - face.landmarks[:n].mean(0)
    start = np.concatenate([[0, 0, 0], centre, np.zeros(k + m)])
    # pose first, by how far the nose lies off the middle of the temples
    sideways = (pixels[4, 0] - (pixels[234, 0] + pixels[454, 0]) / 2) / max(abs(pixels[454, 0] - pixels[234, 0]), 1e-6)
    start[1] = np.clip(sideways * 1.2, -0.9, 0.9)
    pose = least_squares(lambda q: residual(np.concatenate([q, np.zeros(k + m)]))[: 2 * n], start[:6], loss="soft_l1")
    best = least_squares(residual, np.concatenate([pose.x, np.zeros(k + m)]), max_nfev=12).x
    fitted = posed(best)
    error = float(np.sqrt(((camera.project(fitted) - pixels) ** 2).sum(-1).mean()) / iod)
    fitted[:, 2] = mixed_depth(fitted[:, 2], landmarks[:n], -best[5] / camera.focal, abs(float(np.degrees(best[1]))))
    points = np.concatenate([camera.unproject(pixels, fitted[:, 2]), np.zeros((10, 3))])
    for iris, (a, b) in ((slice(468, 473), (33, 133)), (slice(473, 478), (362, 263))):
        points[iris] = camera.unproject(landmarks[iris, :2], (fitted[a, 2] + fitted[b, 2]) / 2)
    return FaceFit(Rotation.from_rotvec(best[:3]).as_matrix(), best[3:6], points, error)
