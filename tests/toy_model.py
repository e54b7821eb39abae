"""Small meshes with known light, as models: what the measurements of light are tested on."""

from __future__ import annotations

from typing import Any

import numpy as np

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.geometry import Camera

SIDE = 32  # of the atlas, which is all canvas


def toy_model(vertices: Any, triangles: Any, source: Any = None, alpha: Any = None) -> HybridModel:
    """A mesh (V, 3), (T, 3) without a rig; `source` (V, 2) atlas coordinates, `alpha` (SIDE, SIDE) 0..255."""
    count = len(vertices)
    at = np.full((count, 2), SIDE / 2) if source is None else np.asarray(source)
    picture = np.full((SIDE, SIDE, 3), 128, np.uint8)
    return HybridModel(
        name="toy",
        frame_size=(SIDE, SIDE),
        crop=(0.0, 0.0, 1.0),
        camera=Camera(50.0, (SIDE - 1) / 2, (SIDE - 1) / 2),
        rotation=np.eye(3, dtype=np.float32),
        translation=np.zeros(3, np.float32),
        pivot=np.zeros(3, np.float32),
        neutral=np.zeros((478, 3), np.float32),
        vertices=np.asarray(vertices, np.float32),
        source=np.column_stack([at, np.ones(count)]).astype(np.float32),
        triangles=np.asarray(triangles, np.int32),
        head_weight=np.ones(count, np.float32),
        jaw_weight=np.zeros(count, np.float32),
        eye=np.zeros(count, np.int8),
        rig_indptr=np.zeros(count + 1, np.int32),
        rig_index=np.zeros(0, np.int32),
        rig_value=np.zeros(0, np.float32),
        texture=picture,
        albedo=picture,
        alpha=np.full((SIDE, SIDE), 255, np.uint8) if alpha is None else np.asarray(alpha, np.uint8),
        surface=np.full((SIDE, SIDE, 4), 128, np.uint8),
        material=np.zeros((SIDE, SIDE, 4), np.uint8),
        cells=np.zeros((0, 6), np.float32),
        plate=picture,
        backdrop=picture,
        horizons=np.zeros((32, 4, 4), np.uint8),
        light=np.zeros(9, np.float32),
        provenance={},
    )


def sphere(rings: int = 48, radius: float = 5.0, middle: Any = (0, 0, -60)) -> tuple[np.ndarray, np.ndarray]:
    """A closed sphere, counter-clockwise from outside."""
    v, u = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij")
    points = np.stack([np.sin(v) * np.sin(u), np.cos(v), np.sin(v) * np.cos(u)], -1).reshape(-1, 3)
    i = np.arange(rings)[:, None] * (2 * rings + 1) + np.arange(2 * rings)
    a, b, c, d = i, i + 1, i + 2 * rings + 1, i + 2 * rings + 2
    triangles = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    return radius * points + np.asarray(middle), triangles


def rectangle(corner: Any, right: Any, up: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles from `corner` along `right` and `up`."""
    corner, right, up = (np.asarray(v, float) for v in (corner, right, up))
    return np.array([corner, corner + right, corner + right + up, corner + up]), np.array([[0, 1, 2], [0, 2, 3]])


def together(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(v) for v, _ in parts[:-1])])
    return np.concatenate([v for v, _ in parts]), np.concatenate(
        [t + start for (_, t), start in zip(parts, starts, strict=True)]
    )
