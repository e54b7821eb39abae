"""One-Euro smoothing (Casiez, Roussel, Vogel 2012): calm when still, prompt when moving."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class OneEuro:
    """Filters an array sample by sample; each leading row (last axis = one vector) has its own cutoff.

    min_cutoff: Hz at rest; beta: how fast the cutoff rises with speed (Hz per unit/s); derivative_cutoff: Hz.
    """

    def __init__(self, min_cutoff: float, beta: float, derivative_cutoff: float = 1.5) -> None:
        self.min_cutoff, self.beta, self.derivative_cutoff = min_cutoff, beta, derivative_cutoff
        self._value: NDArray[np.float64] | None = None
        self._speed: NDArray[np.float64] | None = None

    def reset(self) -> None:
        """Forgets the past: the next sample passes unchanged."""
        self._value = self._speed = None

    def __call__(self, sample: NDArray[Any], seconds: float) -> NDArray[np.float64]:
        """The smoothed sample, `seconds` after the last one."""
        x = np.asarray(sample, np.float64)
        if self._value is None or self._speed is None or seconds <= 0 or seconds > 0.5:
            self._value, self._speed = x, np.zeros_like(x)
            return x
        speed = (x - self._value) / seconds
        self._speed = self._speed + smoothing_factor(self.derivative_cutoff, seconds) * (speed - self._speed)
        magnitude = np.linalg.norm(self._speed, axis=-1, keepdims=True)
        a = smoothing_factor(self.min_cutoff + self.beta * magnitude, seconds)
        self._value = self._value + a * (x - self._value)
        return self._value


def smoothing_factor(cutoff: Any, seconds: float) -> Any:
    """Weight of the new sample of a first-order low pass with this cutoff (Hz)."""
    tau = 1 / (2 * np.pi * cutoff)
    return 1 / (1 + tau / seconds)
