"""The webcam driver: MediaPipe's face mesh in video mode, lifted to a metric head pose and a face in head space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.keeper import Keeper, sighting, without
from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.drivers.looks import SeveralLooks
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import fit_face
from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lift import lifted, solved_pose
from narrate_stream.types import Frame, Motion

F64 = NDArray[np.float64]
FOCAL_FACTOR = 1.5  # focal length over the longer side, as for portraits
LONGEST_STEP = 1.0  # seconds between two frames that count at most
LOST_SIZE = 0.05  # a face narrower than this share of the frame is not followed


class MeshDriver:
    """`Driver` for live and recorded video. The first good frame fits the driver's own face shape (30 ms, once), by
    which they are known again, see `keeper`.

    patient: takes several looks at every frame, 14 ms instead of 3 and half the error: for clips, not for live video.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self._mesh: FaceMesh | SeveralLooks = SeveralLooks() if patient else FaceMesh(video=True)
        self._shape: F64 | None = None
        self._pose: tuple[F64, F64] | None = None
        self._size: tuple[int, int] | None = None
        self._keeper, self._time = Keeper(), 0.0

    def __call__(self, frame: Frame) -> Motion | None:
        """Motion of the driver's face in the frame, `None` when it is not there."""
        h, w = frame.image.shape[:2]
        seconds, self._time = float(np.clip(frame.time - self._time, 0, LONGEST_STEP)), frame.time
        image = without(frame.image, self._keeper.hidden) if self._keeper.hidden else frame.image
        marks = self._mesh(image) if self._pose else self._mesh.settled(image)
        if marks is None or np.ptp(marks[:, 0]) < LOST_SIZE * w:
            self._keeper.nobody(seconds)
            self._pose = None
            return None
        camera = Camera(FOCAL_FACTOR * max(w, h), (w - 1) / 2, (h - 1) / 2)
        if not self._known(marks, camera, (w, h), seconds):
            self._pose = None
            return None
        assert self._shape is not None
        assert self._pose is not None
        rotation, translation = self._pose
        points = lifted(self._shape, marks, camera, self._pose)
        return Motion(
            rotation=rotation.astype(np.float32),
            translation=translation.astype(np.float32),
            landmarks=points.astype(np.float32),
            pixels=marks[:, :2].astype(np.float32),
            size=(w, h),
            measured=True,
            person=self._keeper.person,
        )

    def _known(self, marks: F64, camera: Camera, size: tuple[int, int], seconds: float) -> bool:
        """Whether this is the driver, who then has a shape and a pose."""
        if self._shape is None or self._size != size:
            self._meet(marks, camera, size)
        assert self._shape is not None
        pose = solved_pose(self._shape, marks, camera, self._pose)
        verdict = self._keeper(sighting(marks, self._shape, camera, pose), seconds)
        if verdict == "new" and self._keeper.person:
            self._meet(marks, camera, size)
            pose = solved_pose(self._shape, marks, camera, self._pose)
        self._pose = None if verdict == "stranger" else pose
        return verdict != "stranger"

    def _meet(self, marks: F64, camera: Camera, size: tuple[int, int]) -> None:
        """A new driver's own shape and pose."""
        fit = fit_face(marks, camera)
        self._shape, self._size = fit.head(fit.points), size
        self._shape[468:] = 0
        self._pose = fit.rotation, fit.translation

    def close(self) -> None:
        """Frees the detector."""
        self._mesh.close()


def neutral_motion() -> Motion:
    """The canonical face, frontal, half a metre away: what scripted motion is relative to."""
    face = canonical().landmarks
    points = face.astype(np.float32)
    return Motion(np.eye(3, dtype=np.float32), np.array([0, 0, -60], np.float32), points, points[:, :2] * 0, (512, 512))
