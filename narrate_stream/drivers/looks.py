"""A detector that takes its time: several looks at every picture, and their mean.

Landmarks of one look are off by 2 to 3 % of the eyes' distance, and slowly: no smoothing over time helps. But the two
networks, a picture and its mirror image, and crops found afresh err differently, so that their mean is nearer the
truth than any of them. On three clips, against another detector, the error of displacements fell from 0.55 to 0.37 of
what they are, that of head turns from 1.3 to 0.9 degrees, and jitter to the half.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.lips import MOUTH_INDEX
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.lift import CORNERS
from narrate_stream.types import Image

F64 = NDArray[np.float64]
FACE = 468
FACES = 3  # of a picture are looked at, for the one that is followed
NEAR = 0.15  # eye distances: a look that lies farther from the followed face is another's face, or a mistake
EYES = 0.62, 0.9  # eye widths from the middle of an eye: within the first only looks count that see lids close
LIPS = 0.0, 0.5  # the same from the lips, which the plain network sees part less, and purse less


@lru_cache(maxsize=1)
def plain_share() -> F64:
    """(468, 1) 0..1 how much the looks of the plain network count: not at the eyes and the lips."""
    face = canonical().landmarks[:FACE]
    share = np.ones(FACE)
    for a, b in CORNERS:
        width = float(np.linalg.norm(face[a] - face[b]))
        eye, lips = (face[a] + face[b]) / 2, face[MOUTH_INDEX][:, None]
        for away, (none, whole) in ((face - eye, EYES), ((face - lips), LIPS)):
            near = np.linalg.norm(away, axis=-1).reshape(-1, FACE).min(0) / width
            share *= np.clip((near - none) / (whole - none), 0, 1)
    return share[:, None]


def mirrored(marks: F64, width: int) -> F64:
    """(N, 478, 3) or (N, 468, 3) landmarks as they lie in the picture's mirror image, and each under the name of its
    partner."""
    if not len(marks):
        return marks
    out = marks[:, canonical().mirror[: marks.shape[1]]]
    out[..., 0] = width - 1 - out[..., 0]
    return out


def distance(marks: F64, others: F64) -> F64:
    """(N,) mean distance of landmarks (468+, 3) from others (N, 468+, 3), in eye distances."""
    away = np.linalg.norm(others[:, :FACE, :2] - marks[:FACE, :2], axis=-1).mean(-1)
    return np.asarray(away / np.linalg.norm(marks[33, :2] - marks[263, :2]))


class SeveralLooks:
    """In place of a `FaceMesh(video=True)`, where there is time (14 ms): offline."""

    def __init__(self) -> None:
        self._follows = FaceMesh(video=True)
        self._refined, self._plain = (FaceMesh(video=False, faces=FACES, refine=refine) for refine in (True, False))

    def __call__(self, image: Image) -> F64 | None:
        """(478, 3) as `FaceMesh` gives them, of the face that is followed; `None` when there is none."""
        return self._looked(image, self._follows(image))

    def settled(self, image: Image) -> F64 | None:
        """The same for the first picture of a face."""
        return self._looked(image, self._follows.settled(image))

    def _looked(self, image: Image, followed: F64 | None) -> F64 | None:
        if followed is None:
            return None
        agreed = self.around(image, followed)
        return followed if agreed is None else agreed

    def around(self, image: Image, followed: F64) -> F64 | None:
        """(478, 3) what the looks agree on for a face with these landmarks (478, 2 or 3), `None` if none finds it."""
        refined, plain = (self._both_ways(mesh, image, followed) for mesh in (self._refined, self._plain))
        if not refined:
            return None
        out = np.mean(refined, axis=0)
        if plain:
            share = plain_share() * len(plain) / (len(plain) + len(refined))
            out[:FACE] += share * (np.mean(plain, axis=0) - out[:FACE])
        return np.asarray(out, np.float64)

    def _both_ways(self, mesh: FaceMesh, image: Image, followed: F64) -> list[F64]:
        """What the mesh sees of the followed face in the picture and in its mirror image."""
        flipped = mirrored(mesh.every(np.ascontiguousarray(image[:, ::-1])), image.shape[1])
        found = []
        for faces in (mesh.every(image), flipped):
            away = distance(followed, faces) if len(faces) else np.array([np.inf])
            if away.min() < NEAR:
                found.append(faces[int(np.argmin(away))])
        return found

    def close(self) -> None:
        """Frees the graphs."""
        for mesh in (self._follows, self._refined, self._plain):
            mesh.close()
