"""What faces can do: a small expression basis as a prior, which tells a driver's face from the detector's noise.

The most probable expression of the basis under the offsets that were seen (ridge least squares, maximum a posteriori;
nothing is seen along the line of sight) passes at once, as fast as a face may be. Of what it leaves over, asymmetries
and a person's own ways among them, the slow part stays whole, and the fast one to the share that measured noise
justifies, most on lids and lips.

Convention: cm, canonical head space; `sight` are unit vectors from the camera to the landmarks, in head space.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.smoothing import smoothing_factor
from narrate_stream.types import Motion

F64 = NDArray[np.float64]
ALIKE = 10.0  # landmarks that err together: so many count as one against the prior
SLOW = 3.0  # Hz: what the basis cannot say and changes more slowly is the driver's own
PAUSE = 0.5  # seconds after which the past says nothing


@dataclass(frozen=True)
class ExpressionBasis:
    """modes (M, 468, 3) cm displacements of one sigma; noise (468,) cm by which the detector errs; fast (468,) 0..1,
    the share of fast changes outside of the basis that are more than noise. Made by `offline/expression_stats.py`."""

    modes: F64
    noise: F64
    fast: F64


@lru_cache(maxsize=1)
def expression_basis() -> ExpressionBasis:
    """Loads the shipped statistics once."""
    with resources.as_file(resources.files("narrate_stream") / "data" / "expression.npz") as path:
        data: dict[str, Any] = dict(np.load(path))
    return ExpressionBasis(*(data[name].astype(np.float64) for name in ("modes", "noise", "fast")))


class ExpressionPrior:
    """Takes noise from moves away from a neutral, frame by frame; remembers what slowly changes beside the basis.

    strength: 0..1, how much of the damping is done."""

    def __init__(self, basis: ExpressionBasis | None = None, *, strength: float = 1.0) -> None:
        self.basis, self.strength = basis or expression_basis(), strength
        modes, weight = self.basis.modes, 1 / (ALIKE * self.basis.noise**2)
        self._count = len(modes)
        self._flat = modes.reshape(self._count, -1)
        self._weighted = modes * weight[:, None]
        pairs = np.einsum("mia,nib->abmn", self._weighted, modes)
        self._pairs = np.ascontiguousarray(pairs.reshape(9, -1))
        self._weighted = self._weighted.reshape(self._count, -1)
        self._slow: F64 | None = None

    def __call__(self, motion: Motion, base: F64, seconds: float) -> F64:
        """(468, 3) cm by which the face left its neutral `base` (>= 468, 3), `seconds` after the last; what no detector
        measured is taken as it is."""
        face = motion.landmarks[:468].astype(np.float64)
        offsets = face - base[:468]
        if not motion.measured or not self.strength:
            return offsets
        sight = lines_of_sight(face, motion.rotation, motion.translation)
        size = eye_distance(base) / eye_distance(canonical().landmarks)
        left = across(offsets - size * self.most_probable(offsets / size, sight), sight)
        damped = self.strength * (1 - self.basis.fast[:, None])
        return np.asarray(offsets - damped * self._fast(left, seconds))

    def most_probable(self, offsets: F64, sight: F64) -> F64:
        """(468, 3) the basis' expression of these offsets (468, 3), with the depth that none of them shows."""
        middle = sight.mean(0)
        middle /= np.linalg.norm(middle)
        seen = np.eye(3) - np.outer(middle, middle)  # what is seen of a move, by one line of sight for all
        normal = (seen.ravel() @ self._pairs).reshape(self._count, self._count)
        normal[np.diag_indices(self._count)] += 1
        share = np.linalg.solve(normal, self._weighted @ (offsets @ seen).ravel())
        return np.asarray(share @ self._flat).reshape(-1, 3)

    def _fast(self, left: F64, seconds: float) -> F64:
        """What changes fast of the moves (468, 3) that the basis cannot say."""
        if self._slow is None or not 0 < seconds <= PAUSE:
            self._slow = left
        else:
            self._slow = self._slow + smoothing_factor(SLOW, seconds) * (left - self._slow)
        return left - self._slow


def across(moves: F64, sight: F64) -> F64:
    """Of moves (N, 3) what a camera sees along its lines of sight (N, 3)."""
    return np.asarray(moves - (moves * sight).sum(-1, keepdims=True) * sight)


def eye_distance(face: F64) -> float:
    """cm between the outer corners of the eyes."""
    return float(np.linalg.norm(face[33] - face[263]))


def lines_of_sight(face: F64, rotation: NDArray[Any], translation: NDArray[Any]) -> F64:
    """(N, 3) unit vectors from the camera to a face (N, 3) at a pose (camera_from_head), all in head space."""
    from_camera = face + translation @ rotation
    return np.asarray(from_camera / np.linalg.norm(from_camera, axis=-1, keepdims=True))
