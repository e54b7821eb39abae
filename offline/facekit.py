"""Reads the USC ICT FaceKit (MIT licence; github.com/USC-ICT/ICT-FaceKit) as one folder of arrays.

The folder holds `generic_neutral_mesh.obj` (faces and material groups) and `ict_facekit_shapes_fp16.npz` (neutral
vertices, identity and expression offsets). Nothing of it is shipped: only averages that we compute from it are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import NarrateError


@dataclass(frozen=True)
class FaceKit:
    """neutral (V, 3), identity (I, V, 3), expression (E, V, 3) in cm; triangles (T, 3); material index per triangle."""

    neutral: NDArray[np.float32]
    identity: NDArray[np.float16]
    expression: NDArray[np.float16]
    expression_names: tuple[str, ...]
    triangles: NDArray[np.int32]
    material: NDArray[np.int32]
    material_names: tuple[str, ...]

    def head(self, identity: NDArray[np.float32], expression: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Vertices (V, 3) of one head; coefficients of identity (I,) and expression (E,)."""
        vertices = self.neutral + np.tensordot(identity, self.identity[: len(identity)], 1)
        if expression is not None:
            vertices = vertices + np.tensordot(expression, self.expression, 1)
        return np.asarray(vertices, np.float32)


def load_facekit(folder: Path) -> FaceKit:
    """The kit in `folder`. Raises NarrateError when a file is missing."""
    try:
        lines = (folder / "generic_neutral_mesh.obj").read_text().splitlines()
        shapes = np.load(folder / "ict_facekit_shapes_fp16.npz")
    except OSError as error:
        raise NarrateError(f"{folder}: not an ICT FaceKit folder ({error})") from error
    names: list[str] = []
    triangles: list[tuple[int, int, int]] = []
    material: list[int] = []
    for line in lines:
        if line.startswith("usemtl "):
            names.append(line[7:].strip())
        elif line.startswith("f "):
            corner = [int(c.split("/")[0]) - 1 for c in line[2:].split()]
            for k in range(1, len(corner) - 1):
                triangles.append((corner[0], corner[k], corner[k + 1]))
                material.append(len(names) - 1)
    return FaceKit(
        neutral=shapes["neutral"],
        identity=shapes["identity_delta"],
        expression=shapes["expression_delta"],
        expression_names=tuple(str(n) for n in shapes["expression_names"]),
        triangles=np.asarray(triangles, np.int32),
        material=np.asarray(material, np.int32),
        material_names=tuple(names),
    )
