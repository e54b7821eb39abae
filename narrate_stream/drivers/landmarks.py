"""The face detector: 478 landmarks with irises from MediaPipe's face mesh, whose models lie in its wheel."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.types import Image

os.environ.setdefault("GLOG_minloglevel", "2")  # before mediapipe's C++ part loads: no start-up chatter
SETTLE = 4  # looks until the landmarks of a followed face stay: the first differ by up to 2 % of the eyes' distance


class FaceMesh:
    """Landmarks of the largest face in a picture.

    `video=True` follows one face from frame to frame (3 ms); `video=False` looks at every picture afresh (15 ms).
    `refine=False` is the plain network: 468 landmarks without irises, and lids that hardly close.
    """

    def __init__(self, *, video: bool, faces: int = 1, confidence: float = 0.5, refine: bool = True) -> None:
        from mediapipe.python.solutions import face_mesh

        self._mesh: Any = face_mesh.FaceMesh(
            static_image_mode=not video,
            max_num_faces=faces,
            refine_landmarks=refine,
            min_detection_confidence=confidence,
            min_tracking_confidence=0.5,
        )
        self.seen = 0

    def __call__(self, image: Image) -> NDArray[np.float64] | None:
        """(478, 3) landmarks of the largest face; `None` when there is no face."""
        faces = self.every(image)
        if not len(faces):
            return None
        size = np.prod(np.ptp(faces[..., :2], axis=1), axis=-1)
        return np.asarray(faces[int(np.argmax(size))], np.float64)

    def every(self, image: Image) -> NDArray[np.float64]:
        """(N, 478, 3) landmarks of all faces: x, y in pixels (pixel centres at whole numbers), z in x's unit, smaller =
        nearer. `seen` then tells how many there were."""
        h, w = image.shape[:2]
        found = self._mesh.process(np.ascontiguousarray(image)).multi_face_landmarks or []
        self.seen = len(found)
        faces = [[(p.x * w - 0.5, p.y * h - 0.5, p.z * w) for p in face.landmark] for face in found]
        return np.array(faces, np.float64)

    def settled(self, image: Image) -> NDArray[np.float64] | None:
        """The same, once the detector that follows a face has come to rest on this picture."""
        found = self(image)
        for _ in range(SETTLE if found is not None else 0):
            found = self(image)
        return found

    def close(self) -> None:
        """Frees the graph."""
        self._mesh.close()

    def __enter__(self) -> FaceMesh:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
