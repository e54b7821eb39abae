"""The webcam driver: MediaPipe's face mesh in video mode, lifted to a metric head pose and a face in head space."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import fit_face
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Frame, Motion

F64 = NDArray[np.float64]
FOCAL_FACTOR = 1.5  # focal length over the longer side, as for portraits
RIGID = (
    10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 33, 133, 362, 263, 54, 284, 103, 332, 127, 356, 234, 454,
    21, 251, 162, 389, 67, 297, 109, 338, 108, 337, 69, 299, 104, 333, 68, 298, 193, 417, 122, 351, 196, 419, 3,
    248, 236, 456, 131, 360, 198, 420, 49, 279,
)  # fmt: skip
FLIP = np.diag([1.0, -1.0, -1.0])  # our camera axes <-> OpenCV's
LOST_SIZE = 0.05  # a face narrower than this share of the frame is not followed


class MeshDriver:
    """`Driver` for live and recorded video. The first good frame fits the driver's own face shape (0.4 s, once)."""

    def __init__(self) -> None:
        self._mesh = FaceMesh(video=True)
        self._shape: F64 | None = None
        self._pose: tuple[F64, F64] | None = None
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: Frame) -> Motion | None:
        """Motion of the face in the frame, `None` when there is none."""
        h, w = frame.image.shape[:2]
        marks = self._mesh(frame.image)
        if marks is None or np.ptp(marks[:, 0]) < LOST_SIZE * w:
            self._pose = None
            return None
        camera = Camera(FOCAL_FACTOR * max(w, h), (w - 1) / 2, (h - 1) / 2)
        if self._shape is None or self._size != (w, h):
            fit = fit_face(marks, camera)
            self._shape, self._size = fit.head(fit.points), (w, h)
            self._shape[468:] = 0
            self._pose = fit.rotation, fit.translation
        rotation, translation = self._solve(marks, camera)
        self._pose = rotation, translation
        depth = (self._shape @ rotation.T + translation)[:, 2]
        for iris, (a, b) in ((slice(468, 473), (33, 133)), (slice(473, 478), (362, 263))):
            depth[iris] = (depth[a] + depth[b]) / 2
        points = (camera.unproject(marks[:, :2], depth) - translation) @ rotation
        return Motion(
            rotation=rotation.astype(np.float32),
            translation=translation.astype(np.float32),
            landmarks=points.astype(np.float32),
            pixels=marks[:, :2].astype(np.float32),
            size=(w, h),
        )

    def _solve(self, marks: F64, camera: Camera) -> tuple[F64, F64]:
        """Head pose of this frame by PnP on the rigid landmarks of the driver's own shape, from the last pose on."""
        assert self._shape is not None
        matrix = np.array([[camera.focal, 0, camera.cx], [0, camera.focal, camera.cy], [0, 0, 1]])
        points = self._shape[list(RIGID)] @ FLIP
        pixels = np.ascontiguousarray(marks[list(RIGID), :2])
        if self._pose is None:
            _, r, t = cv2.solvePnP(points, pixels, matrix, None, flags=cv2.SOLVEPNP_SQPNP)
        else:
            r, t = cv2.Rodrigues(FLIP @ self._pose[0] @ FLIP)[0], (FLIP @ self._pose[1])[:, None]
        r, t = cv2.solvePnPRefineLM(points, pixels, matrix, None, r, t)
        return FLIP @ cv2.Rodrigues(r)[0] @ FLIP, FLIP @ t.ravel()

    def close(self) -> None:
        """Frees the detector."""
        self._mesh.close()


def neutral_motion() -> Motion:
    """The canonical face, frontal, half a metre away: what scripted motion is relative to."""
    face = canonical().landmarks
    points = face.astype(np.float32)
    return Motion(np.eye(3, dtype=np.float32), np.array([0, 0, -60], np.float32), points, points[:, :2] * 0, (512, 512))
