"""The portrait's own light: by how much it changes where a face turns in it.

It is known as spherical harmonics only, estimated from the photograph (`ops.lighting.fit_sh`): good for how light
changes, not for what it is. At rest nothing changes, exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import COSINE, sh_basis

DARKEST = 0.22  # shading below which the estimate is not believed
RANGE = (0.35, 2.6)  # how far a turn may darken or brighten the portrait under its own light


def shading(light: NDArray[Any], normals: NDArray[Any]) -> NDArray[np.float64]:
    """(...) shading of normals (..., 3) under radiance coefficients light (9,)."""
    return np.asarray(np.maximum((sh_basis(normals) * COSINE) @ light, DARKEST))


def change(light: NDArray[Any], before: NDArray[Any], now: NDArray[Any]) -> NDArray[np.float64]:
    """(...) by how much a place gets brighter whose normal was `before` and is `now` (..., 3), unit."""
    return np.asarray(np.clip(shading(light, now) / shading(light, before), *RANGE))
