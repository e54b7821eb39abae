"""Soft limits: what a model can show believably is followed exactly, more is eased toward a most, nothing is clamped.

Convention: angles are yaw, pitch, roll in degrees away from the portrait.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.geometry import angles_from_rotation, rotation_from_angles

F64 = NDArray[np.float64]
BELIEVABLE = np.array([35.0, 20.0, 20.0])  # degrees: so far the head turns as the driver's does
MOST = np.array([42.0, 26.0, 30.0])  # degrees: no turn of the driver's takes it farther


def eased(value: F64 | float, free: F64 | float, most: F64 | float) -> F64:
    """`value` as it is up to +-free, then with a falling slope toward +-most, which it never passes; smooth and odd."""
    over = np.maximum(np.abs(value) - free, 0)
    room = np.asarray(most, np.float64) - free
    return np.asarray(np.sign(value) * (np.minimum(np.abs(value), free) + room * np.tanh(over / room)))


def softly(x: F64 | float, limit: F64 | float) -> F64:
    """x near zero, approaching +-limit smoothly from 60% of it."""
    return eased(x, 0.6 * np.asarray(limit, np.float64), limit)


def eased_turn(turn: F64, free: F64 = BELIEVABLE, most: F64 = MOST) -> tuple[F64, F64]:
    """A head's turn (3, 3) within limits (3,), and how many degrees (3,) of yaw, pitch and roll were held back."""
    asked = angles_from_rotation(turn)
    if (np.abs(asked) <= free).all():
        return turn, np.zeros(3)
    shown = eased(asked, free, most)
    return rotation_from_angles(*shown), asked - shown
