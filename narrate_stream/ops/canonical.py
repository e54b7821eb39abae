"""The canonical face that the package ships: our own averages (see `offline/canonical.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Canonical:
    """Head space, cm: landmarks (478, 3); identity (24, 478, 3) and expression (24, 478, 3) displacements of one sigma;
    triangles (852, 3) of the first 468, eyes and mouth open; mirror (478,) partner on the other half;
    skull_front / skull_back (rows, columns) depth of an average head over skull_y, skull_x (cm), nan outside."""

    landmarks: NDArray[np.float64]
    identity: NDArray[np.float64]
    expression: NDArray[np.float64]
    triangles: NDArray[np.int32]
    mirror: NDArray[np.int32]
    skull_x: NDArray[np.float64]
    skull_y: NDArray[np.float64]
    skull_front: NDArray[np.float64]
    skull_back: NDArray[np.float64]


@lru_cache(maxsize=1)
def canonical() -> Canonical:
    """Loads the shipped statistics once."""
    with resources.as_file(resources.files("narrate_stream") / "data" / "canonical.npz") as path:
        data: dict[str, Any] = dict(np.load(path))
    floats = {k: data[k].astype(np.float64) for k in ("landmarks", "skull_x", "skull_y", "skull_front", "skull_back")}
    return Canonical(
        identity=data["modes"].astype(np.float64),
        expression=data["expressions"].astype(np.float64),
        triangles=data["triangles"],
        mirror=data["mirror"],
        **floats,
    )
