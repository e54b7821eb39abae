"""A turned bust in place of the FaceKit, so that tests of the light stage need no data."""

from __future__ import annotations

import numpy as np

from offline.facekit import FaceKit
from offline.lightstage import shells

EXPRESSIONS = ("eyeLookDown_L", "eyeLookDown_R", "eyeLookIn_L", "eyeLookIn_R", "eyeLookOut_L", "eyeLookOut_R",
               "eyeLookUp_L", "eyeLookUp_R", "jawOpen", "mouthSmile_L", "mouthSmile_R", "browInnerUp_L",
               "browInnerUp_R",
               "browDown_L", "browDown_R", "browOuterUp_L", "browOuterUp_R", "cheekRaiser_L", "cheekRaiser_R",
               "eyeSquint_L", "eyeSquint_R", "eyeWide_L", "eyeWide_R", "eyeBlink_L", "eyeBlink_R", "mouthFrown_L",
               "mouthFrown_R", "mouthPucker", "mouthPress_L", "mouthPress_R", "noseSneer_L", "noseSneer_R",
               "mouthStretch_L", "mouthStretch_R", "mouthUpperUp_L", "mouthUpperUp_R", "cheekPuff_L", "cheekPuff_R",
               "mouthLowerDown_L", "mouthLowerDown_R", "mouthDimple_L", "mouthDimple_R", "mouthShrugLower")  # fmt: skip
MARKS = {
    **{i: (-7.4 + 14.8 * i / 16, 3.7 - 11.3 * np.sin(np.pi * i / 16)) for i in range(17)},
    **{17 + i: (-5.8 + 1.15 * i, 5.8) for i in range(5)},
    **{22 + i: (1.2 + 1.15 * i, 5.8) for i in range(5)},
    **{27 + i: (0.0, 3.7 - 1.1 * i) for i in range(4)},
    **{31 + i: (-1.3 + 0.65 * i, -1.1) for i in range(5)},
    **{36 + i: (-3.1 - 1.4 * np.cos(np.pi * i / 3), 3.4 + 0.4 * np.sin(np.pi * i / 3)) for i in range(6)},
    **{42 + i: (3.1 - 1.4 * np.cos(np.pi * i / 3), 3.4 + 0.4 * np.sin(np.pi * i / 3)) for i in range(6)},
    **{48 + i: (-2.5 * np.cos(np.pi * i / 6), -3.4 + 0.9 * np.sin(np.pi * i / 6)) for i in range(12)},
    **{60 + i: (-2.2 * np.cos(np.pi * i / 4), -3.4 + 0.2 * np.sin(np.pi * i / 4)) for i in range(8)},
}


def bust_surface() -> tuple[np.ndarray, np.ndarray]:
    """A head, neck and chest turned on a lathe; rows from the top down, open below."""
    y = np.array([14.5, 14.3, 13, 10, 6, 2, -2, -6, -7.5, -8.5, -11, -13, -14.5, -16, -18])
    r = np.array([0.05, 1.5, 4.5, 7, 8, 8, 7.4, 6.2, 5.4, 5.2, 5.4, 6.5, 9, 11.5, 12.5])
    s = np.linspace(0, len(y) - 1, 120)
    y, r = np.interp(s, np.arange(15), y), np.interp(s, np.arange(15), r)
    a = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    grid = np.stack([r[:, None] * np.sin(a), y[:, None] + 0 * a, r[:, None] * 1.15 * np.cos(a) + 1], -1)
    return grid.reshape(-1, 3).astype(np.float32), shells.grid_triangles(120, 96, closed=True)


def toy_kit() -> FaceKit:
    """The bust as a kit: one identity that makes it taller, expressions that do nothing."""
    vertices, triangles = bust_surface()
    taller = vertices * [0, 0.05, 0]
    return FaceKit(
        neutral=vertices,
        identity=taller[None].astype(np.float16),
        expression=np.zeros((len(EXPRESSIONS), *vertices.shape), np.float16),
        expression_names=EXPRESSIONS,
        triangles=triangles,
        material=np.zeros(len(triangles), np.int32),
        material_names=("M_Face",),
    )


def toy_marks(kit: FaceKit) -> np.ndarray:
    """(68,) vertices nearest to where a face's landmarks would be."""
    front = np.flatnonzero(kit.neutral[:, 2] > 1)
    target = np.array([MARKS[i] for i in range(68)])
    return front[np.linalg.norm(kit.neutral[front, None, :2] - target, axis=2).argmin(0)]
