"""`narrate retarget`: pose, light and expression of another portrait on a model (paper, 5.1).

The head turns as the other one is turned, as far as the model can believably show; the light is the other's, where it
was in the other's picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.ops.lift import IRISES
from narrate_stream.ops.lighting import Lighting
from narrate_stream.ops.limits import eased_turn
from narrate_stream.pipeline import still_motion
from narrate_stream.retarget import Retargeter, eye_widths, gaze_of
from narrate_stream.types import AvatarMotion, Image, Motion, Pose
from offline.stills import Studio, photograph_framing
from offline.target import FACE, Target, expression_of, seen_rotation

F64 = NDArray[np.float64]
# degrees of yaw, pitch and roll, as in `ops.limits`: a still is looked at longer than a frame
FREE, MOST = np.array([17.0, 12.0, 18.0]), np.array([28.0, 20.0, 30.0])


@dataclass(frozen=True)
class Retargeted:
    """The picture (H, W, 3); asked and shown: (3,) yaw, pitch, roll in degrees that the target's head is turned from
    the model's portrait, and that the picture shows; lighting: what it is lit with."""

    image: Image
    asked: F64
    shown: F64
    lighting: Lighting


def retargeted(
    model: HybridModel, target: Target, *, pose: bool = True, light: bool = True, expression: bool = False
) -> Retargeted:
    """The model in the photograph's own pixels, with what is wanted of the target."""
    motion = following(model, target.motion) if expression else still_motion()
    turn = turn_between(model, target.motion) if pose else np.eye(3)
    shown, _ = eased_turn(turn, FREE, MOST)
    motion = replace(motion, pose=Pose(shown.astype(np.float32)))
    lighting = target.lighting if light else Lighting("original", original=True)
    image = Studio(model, photograph_framing(model)).take(lighting, motion)
    return Retargeted(image, angles_from_rotation(turn), angles_from_rotation(shown), lighting)


def turn_between(model: HybridModel, motion: Motion) -> F64:
    """(3, 3) rotation of the model's head away from its portrait that shows it to its viewer as the target's is shown
    to its own."""
    own = seen_rotation(model.rotation, model.translation)
    ray = np.asarray(model.rotation @ own.T, np.float64)
    return np.asarray(ray @ motion.rotation @ own.T @ ray.T)


def following(model: HybridModel, motion: Motion) -> AvatarMotion:
    """What the face does to go from the portrait's expression to the target's; the head stays."""
    retarget = Retargeter(model)
    retarget.calibrate(wearing(model, motion))
    return retarget(motion, 1.0)


def wearing(model: HybridModel, motion: Motion) -> Motion:
    """The target's own face with the expression and the gaze of the model's portrait: where its movement begins."""
    face = motion.landmarks.astype(np.float64)
    face[:FACE] += expression_of(model.neutral) - expression_of(motion.landmarks)
    away = (gaze_of(model.neutral) - gaze_of(face)) * eye_widths(face)[:, None]
    for iris, shift in zip(IRISES, away, strict=True):
        face[iris, :2] += shift
    return replace(motion, landmarks=face.astype(np.float32))
