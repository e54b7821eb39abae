"""First-order motion without weights (paper, 5.1): ten keypoints and their jacobians carry the driver's face over.

`I`, the portrait, is first thought of as `I_r`: its own model at the pose and place of the driver's reference frame
`D_1`. Two pictures aligned like this move alike in the picture plane, so what keypoints and jacobians do from `D_1` to
`D_t` is done to those of `I_r`: that is `T_{I_r<-D_t}`. A Taylor expansion of first order suits a face, but not a
turning head, and the driver's turn since `D_1` is known from its mesh: it is taken out before, and goes into the pose.
`T_{I<-I_r}`, known from mesh and pose as well, is the renderer's: the moved landmarks are lifted back to the head, the
mesh follows, and rasterising it composes the two at every pixel. So light and view stay free while it drives.

A network that finds keypoints in the driving frame (FOMM) takes the place of `PoseMatch.keypoints`, without taking the
turn out: it sees no mesh. All else stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.mesh import FOCAL_FACTOR
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import Camera, Floats
from narrate_stream.ops.lift import CORNERS, IRISES
from narrate_stream.ops.motion import blended, fit_matrix, fitted, sparse_motions, transferred
from narrate_stream.renderer import Framing
from narrate_stream.retarget import (
    LOWER_LID_INDEX,
    LOWER_LIDS,
    UPPER_LID_INDEX,
    UPPER_LIDS,
    Retargeter,
    eye_widths,
    gaze_of,
)
from narrate_stream.types import AvatarMotion, Keypoints, Motion

F64 = NDArray[np.float64]
FACE = 468  # landmarks without the irises
STIFFNESS = 0.003  # of the distance between the eyes, see `ops.motion.fit_matrix`
SKULL = 0.02  # weight of the skull beside the keypoints' Gaussians: it wins where none is near (FOMM: the background)


def driving_camera(size: tuple[int, int]) -> Camera:
    """The lens that driving frames of `size` (W, H) are taken to have."""
    return Camera(FOCAL_FACTOR * max(size), (size[0] - 1) / 2, (size[1] - 1) / 2)


@dataclass(frozen=True)
class Part:
    """Where a keypoint lies, and what it measures and moves. Standard deviations, cm along the skin: fit, how far
    around `landmarks` it looks for its place and jacobian; reach, how far around `middle` it takes the face with it."""

    landmarks: tuple[int, ...]
    middle: tuple[int, ...]
    fit: float
    reach: float


BROW = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
NOSE, CHIN = (4, 1, 5, 195, 98, 327), (152, 148, 377, 176, 400)
EYE = tuple((*upper, *lower, *corners) for upper, lower, corners in zip(UPPER_LIDS, LOWER_LIDS, CORNERS, strict=True))
UPPER, LOWER = (13, 0, 11, 12), (14, 17, 16, 15)  # lips, in the middle
BESIDE = ((82, 312, 38, 268, 72, 302, 37, 267), (87, 317, 86, 316, 85, 315, 84, 314))
# Lids and lips are narrow: measured on themselves alone, or they would never shut. What they move fades more softly.
PARTS = (
    Part(BROW[0], BROW[0], fit=1.0, reach=1.0),
    Part(BROW[1], BROW[1], fit=1.0, reach=1.0),
    Part(EYE[0], EYE[0], fit=0.1, reach=0.5),
    Part(EYE[1], EYE[1], fit=0.1, reach=0.5),
    Part(NOSE, NOSE, fit=1.5, reach=1.2),
    Part((61,), (61,), fit=0.4, reach=0.7),
    Part((291,), (291,), fit=0.4, reach=0.7),
    Part(UPPER + BESIDE[0], UPPER, fit=0.1, reach=1.2),
    Part(LOWER + BESIDE[1], LOWER, fit=0.1, reach=1.2),
    Part(CHIN, CHIN, fit=1.0, reach=1.5),
)


@lru_cache(maxsize=1)
def neighbourhoods() -> tuple[F64, F64]:
    """How much every landmark counts in the fit of each keypoint (468, K), and every motion at each landmark, that of
    the skull last (468, K + 1).

    Gaussians of the way along the skin of the canonical face, round its open mouth and eyes: lips that touch stay two.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import dijkstra

    face, triangles = canonical().landmarks[:FACE], canonical().triangles
    a, b = np.unique(np.sort(np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)]), 1), axis=0).T
    skin = csr_matrix((np.linalg.norm(face[a] - face[b], axis=1), (a, b)), shape=(FACE, FACE))

    def gaussians(around: list[tuple[int, ...]], sigma: list[float]) -> F64:
        way = [dijkstra(skin, directed=False, indices=landmarks, min_only=True) for landmarks in around]
        return np.asarray(np.exp(-0.5 * (np.stack(way, 1) / sigma) ** 2))

    fit = gaussians([part.landmarks for part in PARTS], [part.fit for part in PARTS])
    reach = gaussians([part.middle for part in PARTS], [part.reach for part in PARTS])
    return fit, np.column_stack([reach, np.full(FACE, SKULL)])


class PoseMatch:
    """The portrait beside the driver's reference frame `D_1`, both in that frame's pixels: landmarks (468, 2) of `I_r`,
    and its keypoints, `source`.

    shape: (478, 3) cm, the portrait's face in head space; first: `D_1`; own: None, or the rotation (3, 3) in which the
    portrait stays. That is FOMM without NARRATE, which takes faces for aligned that are not, and a turn for motion in
    the plane (figure 11).
    """

    def __init__(self, shape: F64, first: Motion, own: F64 | None = None) -> None:
        self.shape, self.first, self.matched = shape, first, own is None
        self.camera = driving_camera(first.size)
        self._lead = np.eye(3) if own is None else first.rotation.T.astype(np.float64) @ own
        driver = self._on_screen(first.landmarks, first.rotation, first)
        self.landmarks = self._on_screen(shape, first.rotation @ self._lead, first)
        stiffness = STIFFNESS * float(np.linalg.norm(driver[33] - driver[263]))
        near = neighbourhoods()[0]
        self._fit = fit_matrix(driver, near, stiffness)
        self._first = fitted(driver, self._fit)
        self.source = fitted(self.landmarks, fit_matrix(self.landmarks, near, stiffness))

    def _on_screen(self, face: Floats, rotation: Floats, seen: Motion) -> F64:
        return self.camera.project(face[:FACE] @ rotation.T + seen.translation)

    def keypoints(self, seen: Motion) -> Keypoints:
        """Those of `I_r`, moved as the driver's have since `D_1`. Beside `source` they span `T_{I_r<-D_t}`."""
        now = fitted(self._on_screen(seen.landmarks, seen.rotation, seen), self._fit)
        return transferred(self.source, self._first, now)

    def follow(self, seen: Motion) -> Motion:
        """The portrait's own face as the driving frame would show it. Keypoints see no gaze: it is passed on."""
        first = self.first
        facing = replace(seen, rotation=first.rotation, translation=first.translation) if self.matched else seen
        face = self.shape.copy()
        face[:FACE] = self._expression(facing)
        self._shut_in_depth(face)
        look = gaze_of(seen.landmarks) * eye_widths(face)[:, None]
        for iris, corners, gaze in zip(IRISES, CORNERS, look, strict=True):
            face[iris, :2] = face[list(corners), :2].mean(0) + gaze
        rotation = np.asarray(seen.rotation @ self._lead, np.float32)
        return replace(seen, rotation=rotation, landmarks=face.astype(np.float32))

    def _shut_in_depth(self, face: F64) -> None:
        """Lids that come together in the picture plane do so in depth, which no keypoint sees."""
        upper, lower = UPPER_LID_INDEX, LOWER_LID_INDEX
        own, now = (points[upper] - points[lower] for points in (self.shape, face))
        still_open = np.clip(now[..., 1] / np.maximum(own[..., 1], 1e-3), 0, 1)
        face[upper, 2] = face[lower, 2] + own[..., 2] * still_open

    def _expression(self, seen: Motion) -> F64:
        """(468, 3) the portrait's face in head space, its landmarks where the blended motions take them on the screen,
        as deep as without any expression."""
        rotation, place = seen.rotation @ self._lead, seen.translation.astype(np.float64)
        still = self.shape[:FACE] @ rotation.T + place
        motions = sparse_motions(self.keypoints(seen), self.source, self.landmarks)
        moved = blended(np.concatenate([motions, self.camera.project(still)[:, None]], 1), neighbourhoods()[1])
        return np.asarray((self.camera.unproject(moved, still[:, 2]) - place) @ rotation)


class FirstOrderRetargeter(Retargeter):
    """The `Retargeter` whose expression goes through first-order motion. `D_1` is the reference that every retargeter
    finds or is given, and the portrait at rest stands for it. `matched` False: see `PoseMatch`.
    """

    def __init__(
        self,
        model: HybridModel,
        mode: Literal["relative", "absolute"] = "relative",
        *,
        matched: bool = True,
        framing: Framing | None = None,
        anchored: bool = False,
    ) -> None:
        super().__init__(model, mode, framing=framing, anchored=anchored)
        # what is left to do once the face that moves is the portrait's own
        self._inner = Retargeter(model, mode, framing=framing, anchored=True)
        self._shape = model.neutral.astype(np.float64)
        self._own = None if matched else model.rotation.astype(np.float64)
        self._match: PoseMatch | None = None

    def __call__(self, motion: Motion, seconds: float) -> AvatarMotion:
        """The avatar's motion of this moment, `seconds` after the last one."""
        if self.reference is None:
            self.calibrate(motion)
        assert self.reference is not None
        motion = self.anchor(motion) if self.anchor else motion
        first = self.reference.motion
        if self._match is None or self._match.first is not first:
            self._match = PoseMatch(self._shape, first, self._own)
            self._inner.calibrate(self._match.follow(first))
        shown = self._inner(self._match.follow(motion), seconds)
        self.held_back, self.held_shift = self._inner.held_back, self._inner.held_shift
        return shown
