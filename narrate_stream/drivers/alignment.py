"""Landmarks laid on the picture itself: a frame is unrolled to how the reference frame shows the face, and what still
differs is measured as optical flow.

A detector's landmarks err by 1 to 3 % of the eyes' distance, and not even evenly: it hardly follows raised brows. Skin
has texture; where the same skin lies in two frames can be seen to a fraction of a pixel. So every frame's landmarks are
moved by the flow between the reference and the frame unrolled by them, where that flow can be trusted, and go with
their neighbours elsewhere. Lids and irises, which pass over each other, only go with their surroundings.

Convention: `marks` (478, 2), pixels (x, y) of a frame; *chart*: square grey picture of the reference frame's face.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.lift import IRISES
from narrate_stream.types import Image

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
FACE = 468
MARGIN = 0.12  # of the face's size, around it on the chart
SIDES = (144, 144, 288)  # px of the charts of the rounds: the coarse ones reach far, the last is exact
MEAN, SPREAD = 0.04, 0.05  # of the side: over which brightness and contrast are evened out
FAR, NEAR = 0.25, 0.04  # eye distances: flow that is not believed any more, on the face and at the lips
ROUND_TRIP, DIFFERENCE = 0.7, 22.0  # px, levels: of flow there and back, and of the pictures after it, to be doubted
STIFF, SHY = 0.5, 0.02  # how much landmarks go with their neighbours, and stay where the detector saw them
EVEN = 0.5  # the same for the surface by which a frame is unrolled: a detector's noise is not
OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
AROUND_EYES = ((25, 110, 24, 23, 22, 26, 112, 243, 130), (255, 339, 254, 253, 252, 256, 341, 463, 359))
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)


@lru_cache(maxsize=1)
def bending() -> sp.csc_matrix:
    """(468, 468) squared graph Laplacian of the face: how much displacements differ from their neighbours'. Sparse: a
    dense one would wake a thread of BLAS for every core at every frame."""
    triangles = canonical().triangles
    i, j = triangles.ravel(), triangles[:, [1, 2, 0]].ravel()
    near = sp.coo_matrix((np.ones(len(i)), (i, j)), (FACE, FACE)).tocsr()
    near = ((near + near.T) > 0).astype(np.float64)
    steps = sp.eye(FACE) - sp.diags(1 / np.asarray(near.sum(1)).ravel()) @ near
    return (steps.T @ steps).tocsc()


@lru_cache(maxsize=1)
def evening() -> Any:
    """Its `solve` takes displacements (468, 2) to smooth ones."""
    return splu((sp.eye(FACE) + EVEN * bending()).tocsc())


class Chart:
    """The reference frame's face at one size: its picture, and how each of its pixels follows the landmarks."""

    def __init__(self, image: Image, marks: F64, side: int) -> None:
        low, high = marks[:FACE].min(0), marks[:FACE].max(0)
        half = (0.5 + MARGIN) * float((high - low).max())
        corner = (low + high) / 2 - half
        self.side, scale = side, side / (2 * half)
        self.at = ((marks[:FACE] - corner) * scale).astype(np.float64)  # the landmarks on the chart
        self.eyes = float(np.linalg.norm(self.at[33] - self.at[263]))
        self._plane = np.column_stack([self.at, np.ones(FACE)])
        self._fit = np.linalg.pinv(self._plane)
        yy, xx = np.mgrid[:side, :side]
        self._xx, self._yy = xx.astype(np.float32), yy.astype(np.float32)
        self._lay_out()
        place = np.stack([xx / scale + corner[0], yy / scale + corner[1]], -1).astype(np.float32)
        self._picture = self._evened(shown(image, place))

    def _lay_out(self) -> None:
        """Triangles on the chart: corners and weights of the pixels inside, the nearest of them for those outside, and
        how far flow is believed where."""
        triangles, side = canonical().triangles, self.side
        label = np.full((side, side), -1, np.int32)
        for k in np.argsort(-np.ptp(self.at[triangles], axis=1).prod(-1)):
            cv2.fillConvexPoly(label, np.round(self.at[triangles[k]] * 16).astype(np.int32), int(k), shift=4)
        inside = label >= 0
        corners = triangles[label[inside]]
        weight = barycentric(np.argwhere(inside)[:, ::-1].astype(np.float64), self.at[corners])
        rows = np.arange(0, 3 * len(corners) + 1, 3)
        self._inside = inside.ravel()
        self._follow = sp.csr_matrix((weight.ravel(), corners.ravel(), rows), (len(corners), FACE)).astype(np.float32)
        outside = (~inside).astype(np.uint8)
        number = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
        nearest = np.zeros(int(number.max()) + 1, np.int64)
        nearest[number[inside]] = np.flatnonzero(self._inside)
        self._nearest = nearest[number].ravel()
        rim = max(3, side // 64) | 1
        solid = cv2.erode(cv2.morphologyEx(1 - outside, cv2.MORPH_OPEN, np.ones((3, 3))), np.ones((rim, rim)))
        self._skin = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), side / 200)
        lips = np.zeros((side, side), np.uint8)
        hull = cv2.convexHull(self.at[list(OUTER_LIPS)].astype(np.float32))
        cv2.fillConvexPoly(lips, hull.astype(np.int32), 1)
        grown = cv2.dilate(lips, np.ones((side // 20,) * 2)).astype(np.float32)
        self._lips = cv2.GaussianBlur(grown, (0, 0), side / 80)

    def _evened(self, picture: Image) -> NDArray[np.uint8]:
        """Grey, without the light's slow changes: mean and contrast of the surroundings are taken out."""
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
        grey -= cv2.GaussianBlur(grey, (0, 0), MEAN * self.side)
        contrast = np.sqrt(cv2.GaussianBlur(grey * grey, (0, 0), SPREAD * self.side)) + 6
        return np.asarray(np.clip(128 + 45 * grey / contrast, 0, 255), np.uint8)

    def places(self, marks: F64) -> tuple[F32, F64, F64]:
        """(S, S, 2) where each pixel of the chart lies in a frame with these landmarks; the landmarks (468, 2) as they
        lie on that smoother surface; and frame from chart (2, 2)."""
        affine = self._fit @ marks[:FACE]
        flat = self._plane @ affine
        moved = evening().solve(marks[:FACE] - flat)
        away = np.zeros((self.side * self.side, 2), np.float32)
        away[self._inside] = self._follow @ moved.astype(np.float32)
        out = away[self._nearest].reshape(self.side, self.side, 2)
        (ax, bx), (ay, by), (cx, cy) = affine.astype(np.float32)
        out[..., 0] += self._xx * ax + self._yy * ay + cx
        out[..., 1] += self._xx * bx + self._yy * by + cy
        return out, flat + moved, affine[:2]

    def flow(self, image: Image, places: F32) -> tuple[F32, F32]:
        """(S, S, 2) px of the chart from where the frame should show a pixel to where it does, and (S, S) 0..1 how far
        that is to be believed."""
        seen = self._evened(shown(image, places))
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # per call: it is not shared by threads
        there, back = dis.calc(self._picture, seen, None), dis.calc(seen, self._picture, None)
        to = np.stack([self._xx + there[..., 0], self._yy + there[..., 1]], -1)
        lost = np.linalg.norm(there + shown(back, to), axis=-1)
        after = np.abs(shown(seen, to).astype(np.float32) - self._picture)
        after = cv2.GaussianBlur(after, (0, 0), self.side / 150)
        reach = self.eyes * (FAR + (NEAR - FAR) * self._lips)
        size = np.linalg.norm(there, axis=-1) / reach
        doubt = (lost / ROUND_TRIP) ** 2 + (after / DIFFERENCE) ** 2 + size**4
        return there, np.asarray(self._skin * np.exp(-doubt), np.float32)

    def measured(self, image: Image, marks: F64) -> tuple[F64, F64]:
        """Where the frame shows the skin of each landmark: (468, 2) how far from `marks`, frame pixels, and (468,)
        0..1 how far that is to be believed."""
        places, smooth, frame_from_chart = self.places(marks)
        flow, belief = self.flow(image, places)
        wide, at = self.side / 120, self.at.astype(np.float32)[:, None]
        near = cv2.GaussianBlur(belief, (0, 0), wide)
        mean = cv2.GaussianBlur(flow * belief[..., None], (0, 0), wide) / (near[..., None] + 1e-3)
        moved = shown(mean, at)[:, 0].astype(np.float64) @ frame_from_chart
        return smooth + moved - marks[:FACE], shown(near, at)[:, 0].astype(np.float64)


class Aligner:
    """Lays frames' landmarks on the skin of one reference frame."""

    def __init__(self, image: Image, marks: F64) -> None:
        self.marks = marks
        charts = {side: Chart(image, marks, side) for side in set(SIDES)}
        self.charts = [charts[side] for side in SIDES]

    def __call__(self, image: Image, marks: F64) -> F64:
        """(478, 2) the landmarks of a frame (H, W, 3), nearer to where the reference frame has them on the skin."""
        out = marks.copy()
        for chart in self.charts:
            away, sure = chart.measured(image, out)
            out[:FACE] += spread(away, sure)
        return with_own_eyes(marks, out)


def spread(away: F64, sure: F64) -> F64:
    """(468, 2) displacements that follow `away` as far as it is `sure` (468,), and their neighbours elsewhere."""
    system = (sp.diags(sure + SHY) + STIFF * bending()).tocsc()
    return np.asarray(splu(system).solve(sure[:, None] * away))


def with_own_eyes(seen: F64, moved: F64) -> F64:
    """(478, 2 or 3) the moved landmarks; lids and irises as they were seen, gone with the skin round their eye."""
    out = moved.copy()
    for eye, around, iris in zip(EYES, AROUND_EYES, IRISES, strict=True):
        shift = (moved[list(around)] - seen[list(around)]).mean(0)
        out[list(eye)] = seen[list(eye)] + shift
        out[iris] = seen[iris] + shift
    return out


def barycentric(points: F64, corners: F64) -> F64:
    """(n, 3) weights of the corners (n, 3, 2) of the triangle that each point (n, 2) lies in."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]

    def cross(p: F64, q: F64) -> F64:
        return np.asarray(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])

    area = cross(b - a, c - a)
    area = np.where(np.abs(area) < 1e-3, 1e-3, area)
    second = np.clip(cross(points - a, c - a) / area, -0.2, 1.2)
    third = np.clip(cross(b - a, points - a) / area, -0.2, 1.2)
    return np.column_stack([1 - second - third, second, third])


def shown(picture: NDArray[Any], places: F32) -> NDArray[Any]:
    """A picture (H, W, ...) at places (h, w, 2); its border goes on outside."""
    return np.asarray(cv2.remap(picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
