"""How far a head seems to turn, in a picture whose lens the viewer can only guess.

A head that moves sideways shows its camera another side, the more so the nearer the camera is. A picture cut out around
a head was taken from farther away than it looks: seen as if by the usual lens, a head that moves across it seems to
turn against the way it goes. Turned by that much more, it seems to turn as its driver does.

Convention: camera space, cm (x right, y up, z toward the viewer, the camera at the origin looking along -z).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from narrate_stream.ops.geometry import Camera, Floats
from narrate_stream.ops.lift import Place, solved_pose

F64 = NDArray[np.float64]
TRIAL = np.radians(10.0)  # the share is nearly the same for all turns that are shown
LEAST = 0.6  # of a turn; what seems to turn less is no face


def toward_camera(place: Floats) -> F64:
    """(3, 3) the smallest rotation that takes the z axis to the direction from `place` (3,) to the camera."""
    x, y, z = -np.asarray(place, np.float64) / np.linalg.norm(place)
    sideways = float(np.hypot(x, y))
    if sideways < 1e-9:
        return np.eye(3)
    angle = float(np.arctan2(sideways, z))
    return np.asarray(Rotation.from_rotvec(np.array([-y, x, 0]) / sideways * angle).as_matrix())


def seeming(place: Floats, own: Camera, guessed: Camera) -> F64:
    """(3, 3) what turns a head at `place` (3,) before its own camera so that it is seen as it would be, without the
    turn, at the same pixel by the guessed one; both cameras of the same pixels."""
    guessed_place = guessed.unproject(own.project(np.asarray(place, np.float64)), -1.0)
    return np.asarray(toward_camera(place) @ toward_camera(guessed_place).T)


def shown_turn(turn: F64, before: Floats, now: Floats, own: Camera, guessed: Camera) -> F64:
    """(3, 3) turn of a head that moves from `before` (3,) to `now` (3,) in front of its own camera, so that whoever
    takes the picture for one of the guessed camera's sees it turn by `turn` (3, 3)."""
    return np.asarray(seeming(now, own, guessed) @ turn @ seeming(before, own, guessed).T)


def seeming_share(shape: F64, pose: Place, own: Camera, guessed: Camera) -> F64:
    """(3,) how much of a turn about the x, y and z axis a head of this shape (478, 3) is seen to make, in its own
    camera's picture that is taken for the guessed one's."""
    rotation, place = pose

    def seen(vector: F64) -> F64:
        turned = shape @ (Rotation.from_rotvec(vector).as_matrix() @ rotation).T + place
        return solved_pose(shape, own.project(turned), guessed)[0]

    turns = [seen(TRIAL * axis) @ seen(-TRIAL * axis).T for axis in np.eye(3)]
    shares = [np.linalg.norm(Rotation.from_matrix(turn).as_rotvec()) / (2 * TRIAL) for turn in turns]
    return np.clip(shares, LEAST, 1 / LEAST)
