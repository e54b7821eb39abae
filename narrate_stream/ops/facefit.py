"""The canonical face fitted to landmarks: pose, identity and expression by ridge least squares.

Convention: camera space, cm (x right, y up, z toward the viewer, the camera at the origin looking along -z).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
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
FACE = 468
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


class Misfit:
    """What a fit makes small: how far every landmark lies from its pixel, beside how unusual the face is.

    Parameters (6 + K,): rotation vector and translation of camera_from_head, then as many sigmas as there are `modes`
    (K, 468, 3), which are likely up to `sigmas` (K,).
    """

    def __init__(self, pixels: F64, camera: Camera, modes: F64, sigmas: F64) -> None:
        self.pixels, self.camera, self.modes, self.sigmas = pixels, camera, modes, sigmas
        # landmarks are not independent: count them as a tenth of their number against the priors
        self._weight = 0.3 / (NOISE * max(eyes_apart(pixels), 0.3 * float(np.ptp(pixels[:, 1]))))

    def shape(self, p: F64) -> F64:
        """(468, 3) head space."""
        return np.asarray(canonical().landmarks[:FACE] + np.tensordot(p[6:], self.modes, 1))

    def posed(self, p: F64) -> F64:
        """(468, 3) camera space."""
        return np.asarray(self.shape(p) @ Rotation.from_rotvec(p[:3]).as_matrix().T + p[3:6])

    def __call__(self, p: F64) -> F64:
        """(2 * 468 + K,) to be squared and summed."""
        error = self.camera.project(self.posed(p)) - self.pixels
        return np.concatenate([error.ravel() * self._weight, p[6:] / self.sigmas])

    def slopes(self, p: F64) -> F64:
        """(2 * 468 + K, 6 + K) how that changes with the parameters: tried out one by one, they took most of a fit."""
        rotation, turns = cv2.Rodrigues(p[:3])
        shape = self.shape(p)
        turned = shape @ turns.reshape(3, 3, 3).swapaxes(1, 2)
        shifted = np.broadcast_to(np.eye(3)[:, None], turned.shape)
        moves = np.concatenate([turned, shifted, self.modes @ rotation.T])  # (6 + K, 468, 3) cm
        x, y, z = (shape @ rotation.T + p[3:6]).T
        o = np.zeros(FACE)
        pixels = -self._weight * self.camera.focal * np.array([[1 / z, o, -x / z**2], [o, -1 / z, y / z**2]])
        seen = np.einsum("pnc,icn->nip", moves, pixels).reshape(-1, len(p))
        return np.concatenate([seen, np.eye(len(self.sigmas), len(p), 6) / self.sigmas[:, None]])


def eyes_apart(pixels: F64) -> float:
    """Distance of the outer eye corners of landmarks (>= 468, 2), in their unit."""
    return float(np.linalg.norm(pixels[33] - pixels[263]) + 1e-9)


def fit_face(landmarks: F64, camera: Camera) -> FaceFit:
    """Pose, identity and expression of the canonical face from (478, 3) landmarks in pixels, by ridge least squares.

    The fitted depth is kept and every landmark is put exactly under its own pixel, so that the portrait's proportions
    are the portrait's and only the depth is the model's.
    """
    face, pixels = canonical(), landmarks[:FACE, :2]
    modes = np.concatenate([face.identity, face.expression])[:, :FACE]
    sigmas = np.repeat([IDENTITY_PRIOR, EXPRESSION_PRIOR], [len(face.identity), len(face.expression)])
    stiff, misfit = Misfit(pixels, camera, modes[:0], sigmas[:0]), Misfit(pixels, camera, modes, sigmas)
    pose = least_squares(stiff, first_pose(pixels, camera), jac=stiff.slopes, loss="soft_l1").x
    start = np.concatenate([pose, np.zeros(len(modes))])
    best = least_squares(misfit, start, jac=misfit.slopes, max_nfev=12).x
    fitted = misfit.posed(best)
    error = float(np.sqrt(((camera.project(fitted) - pixels) ** 2).sum(-1).mean()) / eyes_apart(pixels))
    turned = abs(float(np.degrees(best[1])))
    fitted[:, 2] = mixed_depth(fitted[:, 2], landmarks[:FACE], -best[5] / camera.focal, turned)
    points = np.concatenate([camera.unproject(pixels, fitted[:, 2]), np.zeros((10, 3))])
    for iris, (a, b) in ((slice(468, 473), (33, 133)), (slice(473, 478), (362, 263))):
        points[iris] = camera.unproject(landmarks[iris, :2], (fitted[a, 2] + fitted[b, 2]) / 2)
    return FaceFit(Rotation.from_rotvec(best[:3]).as_matrix(), best[3:6], points, error)


def first_pose(pixels: F64, camera: Camera) -> F64:
    """(6,) rotation vector and translation to begin with: as far away as the face is high, turned by how far the nose
    lies off the middle of the temples."""
    face = canonical().landmarks[:FACE]
    depth = camera.focal * np.ptp(face[:, 1]) / np.ptp(pixels[:, 1])
    centre = camera.unproject(pixels.mean(0), -depth) - face.mean(0)
    sideways = (pixels[4, 0] - (pixels[234, 0] + pixels[454, 0]) / 2) / max(abs(pixels[454, 0] - pixels[234, 0]), 1e-6)
    return np.array([0, np.clip(sideways * 1.2, -0.9, 0.9), 0, *centre])
