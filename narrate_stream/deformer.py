"""What moves the vertices of a model: expression, the head's pose along the neck, eyes on their balls, shoulders that
lean and breathe (paper, 4.3)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.geometry import turned_by_weight
from narrate_stream.ops.lift import CORNERS
from narrate_stream.types import Array, AvatarMotion

F64 = NDArray[np.float64]
FOOT = 0.2  # of the canvas' height, over which a breath begins
LEAN = 0.7  # of a head's sideways shift its shoulders go along
FLANK = 0.1  # of the canvas' width, over which that begins
EYE_RADIUS, EYE_DEPTH = 1.45, 0.4  # cm: of the ball that the eyes' meshes are part of; how far it lies behind the lids


class Deformer:
    """Moves the vertices of one model: expression in the portrait's head space, then the head's pose along the neck."""

    def __init__(self, model: HybridModel) -> None:
        self.model = model
        self.rig = sp.csr_matrix((model.rig_value, model.rig_index, model.rig_indptr), (len(model.vertices), 468))
        self._whole = model.head_weight[:, None] > 0.995
        self._part = np.flatnonzero((model.head_weight > 0.005) & (model.head_weight <= 0.995))
        self._share = model.head_weight[self._part].astype(np.float32)
        self._jaw = np.flatnonzero(model.jaw_weight > 0)
        self._body = np.flatnonzero(model.head_weight < 0.995)
        self._chest = body_weight(model)[self._body]
        self._lean = LEAN * flank_weight(model)[self._body]
        self.eyes = [np.flatnonzero(model.eye == side) for side in (1, 2)]
        self._balls = [Ball(model, eye, corners) for eye, corners in zip(self.eyes, CORNERS, strict=True)]

    def __call__(self, motion: AvatarMotion) -> Array:
        """(V, 3) camera-space vertices, cm.

        Expression first moves vertices with the portrait's head orientation; the pose then turns each vertex about the
        pivot by its head weight's share of the angle, so that the neck twists and the shoulders stay; who moves the
        head sideways leans, and takes the shoulders along.
        """
        return self.posed(self.shaped(motion), motion)

    def shaped(self, motion: AvatarMotion) -> Array:
        """(V, 3) the same with the portrait's own pose: what the expression alone does."""
        model, offset = self.model, np.asarray(self.rig @ motion.offsets.astype(np.float32))
        offset[self._jaw] += model.jaw_weight[self._jaw, None] * motion.jaw
        return np.asarray(model.vertices + offset @ model.rotation.T, np.float32)

    def posed(self, shaped: Array, motion: AvatarMotion) -> Array:
        """(V, 3) vertices `shaped` (V, 3) by the expression, their eyes rolled and the head in its pose."""
        model, out = self.model, shaped.copy()
        for eye, ball, gaze in zip(self.eyes, self._balls, motion.gaze @ model.rotation[:2, :2].T, strict=True):
            out[eye] += ball.rolled(gaze)
        rotation, shift = motion.pose.rotation.astype(np.float32), motion.pose.translation.astype(np.float32)
        part = turned_by_weight(out[self._part] - model.pivot, self._share, rotation)
        np.copyto(out, (out - model.pivot) @ rotation.T + (model.pivot + shift), where=self._whole)
        out[self._part] = part + model.pivot + self._share[:, None] * shift
        out[self._body, 0] += self._lean * np.float32(motion.view[:, 0] @ shift)
        if motion.breath:
            out[self._body, 1] += self._chest * np.float32(motion.breath)
        return out


def body_weight(model: HybridModel) -> Array:
    """(V,) 0..1 how far each vertex goes with the shoulders: none of the head does, and none of the picture's lower
    border, behind which there is nothing."""
    height = model.canvas[1]
    above = (height - model.camera.project(model.vertices)[:, 1]) / (FOOT * height)
    rise = np.clip(above, 0, 1)
    return np.asarray((1 - model.head_weight) * rise * rise * (3 - 2 * rise), np.float32)


def flank_weight(model: HybridModel) -> Array:
    """(V,) 0..1 how far each vertex goes with shoulders that lean: none of the head does, and none where the picture's
    left or right border cuts the body off."""
    width = model.canvas[0]
    x = model.camera.project(model.vertices)[:, 0]
    inside = np.clip(np.minimum(x, width - x) / (FLANK * width), 0, 1)
    return np.asarray((1 - model.head_weight) * inside * inside * (3 - 2 * inside), np.float32)


class Ball:
    """The ball that an eye's mesh is part of, in the portrait's camera space: round, and sheared along the eye's
    corners. points (n, 3) cm about its centre with the shear taken out; lean: cm nearer per cm to the right."""

    def __init__(self, model: HybridModel, eye: NDArray[np.int64], corners: tuple[int, int]) -> None:
        middle = model.neutral[list(corners)].mean(0) @ model.rotation.T + model.translation
        self.points = np.asarray(model.vertices[eye] - middle + [0, 0, EYE_RADIUS + EYE_DEPTH], np.float64)
        x, z = self.points[:, 0], self.points[:, 2]
        aside = x - x.sum() / max(len(x), 1)
        self.lean = float(aside @ z) / max(float(aside @ aside), 1e-9)
        self.points[:, 2] -= self.lean * x

    def rolled(self, gaze: NDArray[np.floating[Any]]) -> F64:
        """(n, 3) how far each vertex moves when the iris leaves its place by `gaze` (2,) cm: it stays on the ball."""
        length = float(np.hypot(*gaze))
        if length < 1e-6:
            return self.points * 0
        angle = np.arcsin(min(length / EYE_RADIUS, 0.9))
        turn = cv2.Rodrigues(np.array([-gaze[1], gaze[0], 0.0], np.float64) * (angle / length))[0]
        moved = self.points @ turn.T - self.points
        moved[:, 2] += self.lean * moved[:, 0]
        return np.asarray(moved)
