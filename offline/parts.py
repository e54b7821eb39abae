"""What a rig is made of: parts of one mesh, their weights, and small helpers on grids.

Convention: camera space, cm; source coordinates in atlas pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from narrate_stream.ops.facefit import FaceFit
from offline.facemesh import LANDMARKS

F64 = NDArray[np.float64]
NECK = 8.5  # cm below the chin where the shoulders begin
ASIDE = 7.0, 13.0  # cm beside the axis of the head over which collars, and hair on the shoulders, begin below the chin
SAMPLE_ROW = 256
TURNED = 10.0  # degrees of yaw from which a portrait hides a part of the far cheek


@dataclass
class MeshParts:
    """Collects parts; `finish` concatenates them."""

    vertices: list[F64] = field(default_factory=list)
    source: list[F64] = field(default_factory=list)
    triangles: list[NDArray[Any]] = field(default_factory=list)
    head: list[F64] = field(default_factory=list)
    jaw: list[F64] = field(default_factory=list)
    eye: list[NDArray[Any]] = field(default_factory=list)
    rig: list[sp.csr_matrix] = field(default_factory=list)
    count: int = 0

    def add(
        self,
        vertices: F64,
        source: F64,
        triangles: NDArray[Any],
        *,
        head: F64 | float = 1.0,
        jaw: F64 | float = 0.0,
        eye: int = 0,
        rig: sp.csr_matrix | None = None,
    ) -> None:
        """One part: vertices (n, 3), source (n, 3) u, v, feather; weights as scalars or (n,)."""
        n = len(vertices)
        self.vertices.append(vertices)
        self.source.append(source)
        self.triangles.append(triangles + self.count)
        self.head.append(np.broadcast_to(np.asarray(head, np.float64), (n,)))
        self.jaw.append(np.broadcast_to(np.asarray(jaw, np.float64), (n,)))
        self.eye.append(np.full(n, eye, np.int8))
        self.rig.append(sp.csr_matrix((n, LANDMARKS)) if rig is None else rig)
        self.count += n

    def finish(self) -> dict[str, NDArray[Any]]:
        """The arrays of `HybridModel` by name."""
        rig = sp.vstack(self.rig).tocsr()
        rig.data[np.abs(rig.data) < 2e-3] = 0
        rig.eliminate_zeros()
        return {
            "vertices": np.concatenate(self.vertices).astype(np.float32),
            "source": np.concatenate(self.source).astype(np.float32),
            "triangles": np.concatenate(self.triangles).astype(np.int32),
            "head_weight": np.concatenate(self.head).astype(np.float32),
            "jaw_weight": np.concatenate(self.jaw).astype(np.float32),
            "eye": np.concatenate(self.eye).astype(np.int8),
            "rig_indptr": rig.indptr.astype(np.int32),
            "rig_index": rig.indices.astype(np.int32),
            "rig_value": rig.data.astype(np.float32),
        }


def smoothstep(x: F64, lo: float, hi: float) -> F64:
    """0 below lo, 1 above hi, smooth between."""
    t = np.clip((x - lo) / (hi - lo), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def disc(radius: float) -> NDArray[np.uint8]:
    """A round kernel for `cv2`; radius in pixels."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(radius) + 1,) * 2), np.uint8)


def head_weight(fit: FaceFit, points: F64) -> F64:
    """(n,) 1 where a camera-space point moves with the skull, 0 from the shoulders down, smooth along the neck."""
    p = fit.head(points)
    chin = fit.head(fit.points[152:153])[0, 1]
    down = smoothstep(p[:, 1], chin - NECK, chin + 1.5)
    aside = 1 - smoothstep(np.abs(p[:, 0]), *ASIDE) * (1 - smoothstep(p[:, 1], chin - 1.0, chin + 5.0))
    return down * aside


def sample(image: NDArray[Any], x: F64, y: F64) -> F64:
    """Bilinear samples of a map at (n,) coordinates, clamped at the border."""
    n = len(x)
    maps = np.zeros(
        (2, -(-n // SAMPLE_ROW) * SAMPLE_ROW), np.float32
    )  # as a picture: a column may be too tall for remap
    maps[0, :n], maps[1, :n] = x, y
    f, shape = image.astype(np.float32), (-1, SAMPLE_ROW)
    out = cv2.remap(
        f, maps[0].reshape(shape), maps[1].reshape(shape), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(out.ravel()[:n], np.float64)


def nearest_true(mask: NDArray[np.bool_]) -> F64:
    """(H, W, 2) column and row of the nearest true pixel of `mask` (which has some)."""
    label = cv2.distanceTransformWithLabels((~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    rows, columns = np.nonzero(mask)
    table = np.zeros((label.max() + 1, 2))
    table[label[rows, columns]] = np.column_stack([columns, rows])
    return np.asarray(table[label])


def nearest_fill(values: F64, known: NDArray[np.bool_], empty: float = 0.0) -> F64:
    """Every pixel takes the value of the nearest known one (`empty` when there is none)."""
    if not known.any():
        return np.full_like(values, empty)
    label = cv2.distanceTransformWithLabels((~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[
        1
    ]
    table = np.zeros(label.max() + 1)
    table[label[known]] = values[known]
    return np.asarray(table[label])


def grid_triangles(columns: int, rows: int, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Two triangles for every cell of a grid with all four corners kept."""
    i = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    corners = np.stack([i, i + 1, i + columns, i + columns + 1], 1)
    a, b, c, d = corners[keep[corners].all(1)].T
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
