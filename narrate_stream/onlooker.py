"""Relative motion as the viewer sees it: the portrait's head turns and moves as far as its driver's, to the eye."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from narrate_stream.bundle import HybridModel
from narrate_stream.fusion import guessed_camera
from narrate_stream.ops.limits import eased
from narrate_stream.ops.sightline import seeming_share, shown_turn
from narrate_stream.renderer import Framing

F64 = NDArray[np.float64]
SHIFT_LIMIT = np.array([7.0, 6.0, 12.0])  # cm


class Onlooker:
    """Who sees the part of the portrait that `framing` shows, and takes it for a picture by the usual lens, under which
    the driver is tracked as well: see `ops.sightline`. None: somebody who knows the lens, so that turns are what they
    are; of scripted motion, which was never filmed, that is wanted."""

    def __init__(self, model: HybridModel, framing: Framing | None) -> None:
        self._camera = self._guessed = model.camera
        self._place, self._share = model.translation.astype(np.float64), np.ones(3)
        if framing is not None:
            self._guessed = guessed_camera(framing)
            shape, pose = model.neutral.astype(np.float64), (model.rotation.astype(np.float64), self._place)
            self._share = seeming_share(shape, pose, self._camera, self._guessed)

    def asked(self, turn: F64) -> F64:
        """(3, 3) how far the portrait has to turn to be seen as turned by `turn` (3, 3)."""
        vector = Rotation.from_matrix(turn).as_rotvec() / self._share
        return np.asarray(Rotation.from_rotvec(vector).as_matrix())

    def carried(self, shift: F64, distance: float, size: float) -> F64:
        """(3,) cm that the portrait moves where its driver has moved by `shift` (3,) cm: as many head widths in the
        picture, and as much larger or smaller, however far its camera is. distance: cm, of the driver; size: how much
        larger the portrait's head is."""
        soft = eased(shift, 0.6 * SHIFT_LIMIT, SHIFT_LIMIT)
        return np.asarray(soft * [size, size, abs(self._place[2]) / max(distance, 1.0)])

    def facing(self, turn: F64, shift: F64) -> F64:
        """(3, 3) `turn`, and what the move by `shift` (3,) cm takes away from it to the eye."""
        return shown_turn(turn, self._place, self._place + shift, self._camera, self._guessed)
