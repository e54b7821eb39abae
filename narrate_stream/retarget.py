"""From what a driver does to what the avatar does: relative to a neutral, in the portrait's proportions, smoothed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from narrate_stream.anchor import Anchor, filmed
from narrate_stream.bundle import HybridModel
from narrate_stream.lips import Lips, relaxed
from narrate_stream.onlooker import Onlooker
from narrate_stream.ops.expression import ExpressionPrior
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.ops.lift import CORNERS, IRISES
from narrate_stream.ops.limits import eased_turn, softly
from narrate_stream.ops.smoothing import OneEuro
from narrate_stream.renderer import Framing
from narrate_stream.types import AvatarMotion, Motion, Pose

F64 = NDArray[np.float64]
UPPER_LIDS = ((246, 161, 160, 159, 158, 157, 173), (466, 388, 387, 386, 385, 384, 398))
LOWER_LIDS = ((7, 163, 144, 145, 153, 154, 155), (249, 390, 373, 374, 380, 381, 382))
LID_FOLDS = ((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))
JAW = (14, 87, 317, 17)
JAW_INDEX = np.array(JAW)
UPPER_LID_INDEX, LOWER_LID_INDEX, LID_FOLD_INDEX = (np.array(a) for a in (UPPER_LIDS, LOWER_LIDS, LID_FOLDS))
LID_OVERLAP, LID_LIFT = 0.28, 0.08  # cm by which a shut lower lid goes on behind the upper one: its soft rim is hidden
LID_TRAVEL, FOLD_FOLLOWS = 0.92, 0.8  # the upper lid's part of a closing; of its way, what the skin above it goes
WIDE_EYES = 0.4  # of the portrait's own opening: how much farther its lids go apart, approached softly
SHUT, NEARLY_SHUT = 0.06, 0.15  # lid openings over eye width: what the detector reports for shut eyes; where it errs
LID_GAIN = 1.3  # the detector's lids close less than lids do, most of all those of eyes that narrow
WINK, TOGETHER = (0.6, 0.9), 0.8  # openness of the wider eye from which the other winks; how much else they share
PROMPT = 5.0  # Hz: how soon the filters learn that something moves; blinks last a tenth of a second
GAZE_GAIN = np.array([1.5, 1.2])  # the detector's irises travel less than eyes do, most of all sideways
GAZE_LIMIT = 0.95  # cm the iris may leave its place in the portrait, approached softly


@dataclass(frozen=True)
class Reference:
    """The driver's moment that stands for the portrait: its pose and face, its eye openings (right, left; cm) and how
    open those are (`closed_fully`, over eye width)."""

    motion: Motion
    openings: F64
    open: F64


def lid_openings(face: NDArray[np.floating[Any]]) -> F64:
    """(2,) mean opening of right and left eye, cm, of a face in head space."""
    gap = face[UPPER_LID_INDEX] - face[LOWER_LID_INDEX]
    return np.asarray(np.sqrt((gap * gap).sum(-1)).mean(-1), np.float64)


def eye_widths(face: NDArray[np.floating[Any]]) -> F64:
    """(2,) corner to corner, cm."""
    return np.array([np.linalg.norm(face[a] - face[b]) for a, b in CORNERS])


def gaze_of(face: NDArray[np.floating[Any]]) -> F64:
    """(2, 2) iris centre from the middle of the eye's corners, head x and y, in eye widths."""
    out = [(face[i, :2].mean(0) - (face[a, :2] + face[b, :2]) / 2) for i, (a, b) in zip(IRISES, CORNERS, strict=True)]
    return np.asarray(np.array(out) / eye_widths(face)[:, None], np.float64)


def neutral_score(motion: Motion) -> float:
    """Lower is more neutral: mouth closed, eyes open, head and gaze straight."""
    face = motion.landmarks
    yaw, pitch, roll = angles_from_rotation(motion.rotation)
    mouth = np.linalg.norm(face[13] - face[14]) / np.linalg.norm(face[78] - face[308])
    shut = max(0.0, 0.30 - float((lid_openings(face) / eye_widths(face)).mean()))
    return float(
        (abs(yaw) + abs(pitch) + 0.5 * abs(roll)) / 10 + 8 * mouth + 5 * np.abs(gaze_of(face)[:, 0]).mean() + 12 * shut
    )


def most_neutral(motions: Sequence[Motion]) -> Motion:
    """The moment of a clip that shows its driver at rest."""
    # the eyes of a person who squints are open at their own middle: compare with the clip, not with a constant
    openings = [float(lid_openings(m.landmarks).mean()) for m in motions]
    usual = float(np.median(openings))
    score = [neutral_score(m) + 6 * max(0.0, usual - own) for m, own in zip(motions, openings, strict=True)]
    return motions[int(np.argmin(score))]


def with_usual_eyes(calm: Motion, seen: list[Motion]) -> NDArray[np.float32]:
    """(478, 3) the face of the calmest moment with eyes and brows as they mostly are: a mouth may be shut in surprise
    only, and eyes relaxed only in speech."""
    usual = np.median([m.landmarks for m in seen], axis=0)
    nose, lid = usual[2, 1], usual[[145, 374], 1].mean()
    share = np.clip((usual[:, 1] - nose) / (lid - nose), 0, 1)[:, None]
    share[468:] = 0  # where the eyes look is the calmest moment's
    return np.asarray(calm.landmarks * (1 - share) + usual * share, np.float32)


def face_ratio(own: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float:
    """How much larger a face in head space is than another, by the distance of the outer eye corners: no expression
    moves them, and all fits agree on them."""
    apart = [float(np.linalg.norm(face[33] - face[263])) for face in (own, other)]
    return apart[0] / max(apart[1], 1e-6)


def closed_fully(aspect: F64) -> F64:
    """Lid opening over eye width, with what the detector still calls open in a blink taken for shut (0)."""
    near = np.clip((NEARLY_SHUT - aspect) / (NEARLY_SHUT - SHUT), 0, None)
    return np.asarray(np.where(aspect < SHUT, 0, aspect - SHUT * near * near))


def openness(face: NDArray[np.floating[Any]], reference: F64) -> F64:
    """(2,) how far right and left eye are open: 0 shut, 1 as in the reference, whose `Reference.open` this is. Both
    close together but in a wink, when one stays wide open: of a turned face the detector sees one only."""
    now = closed_fully(lid_openings(face) / eye_widths(face)) / np.maximum(reference, 0.04)
    wink = np.clip((now.max() - WINK[0]) / (WINK[1] - WINK[0]), 0, 1)
    return np.asarray(now - (1 - wink) * TOGETHER * (now - now.min()))


def narrowed(share: F64) -> F64:
    """(2,) how far eyes are open of which a detector says `share`."""
    return np.asarray(np.where(share < 1, np.maximum(1 - LID_GAIN * (1 - share), 0), share))


def calmed(filter_of: OneEuro, value: F64, motion: Motion, seconds: float) -> F64:
    """`value` without the noise of a detector; what none measured (`Motion.measured`) keeps its edges."""
    return filter_of(value, seconds) if motion.measured else value


class Retargeter:
    """Turns `Motion` into `AvatarMotion` for one model. Holds the neutral and the filters, nothing else.

    `relative`: the driver's moves away from a neutral are added to the portrait. `absolute`: the avatar takes the
    driver's pose and place in the frame; the reference is the moment that looks most like the portrait. held_back: (3,)
    degrees of yaw, pitch and roll by which the last turn was eased, see `ops.limits`; held_shift: (3,) cm, the same of
    its way. framing: the part of the portrait in which relative motion has to look like the driver's, see `Onlooker`.
    anchored: what comes has been through an `Anchor` already. anchor: the one of absolute motion, else None.
    """

    def __init__(
        self,
        model: HybridModel,
        mode: Literal["relative", "absolute"] = "relative",
        *,
        framing: Framing | None = None,
        anchored: bool = False,
    ) -> None:
        self.model, self.mode = model, mode
        self._onlooker = Onlooker(model, framing) if mode == "relative" else None
        self.reference: Reference | None = None
        self._own_openings = lid_openings(model.neutral)
        self._own_widths = eye_widths(model.neutral)
        self._lips = Lips(model, relative=mode == "relative")
        self._pose_filter = OneEuro(2.0, 0.32, PROMPT)
        self._shift_filter = OneEuro(2.5, 1.6, PROMPT)
        self._face_filter = OneEuro(3.0, 1.6, PROMPT)
        self._gaze_filter = OneEuro(6.0, 8.0, PROMPT)
        # laid over the driver pixel for pixel, damping costs more (landmarks 1 % worse) than it saves
        self._prior = ExpressionPrior(strength=1.0 if mode == "relative" else 0.0)
        self._gaze = np.zeros((2, 2))
        self.held_back, self.held_shift = np.zeros(3), np.zeros(3)
        self.anchor = Anchor(model) if mode == "absolute" and not anchored else None

    def calibrate(self, motion: Motion) -> None:
        """This moment is the driver's neutral from now on; live, `calibration` finds it."""
        seen = self.anchor.hold(motion) if self.anchor else motion
        openings = lid_openings(seen.landmarks)
        self.reference = Reference(seen, openings, closed_fully(openings / eye_widths(seen.landmarks)))

    def rehearse(self, motions: list[Motion | None], fps: float) -> None:
        """Chooses the reference from a whole clip, and hears when its driver speaks."""
        seen = [m for m in motions if m is not None]
        if not seen:
            return
        self._lips.rehearse([None if m is None else m.landmarks for m in motions], fps)
        calm = self.calmest(seen)
        if not self.anchor:
            calm = replace(calm, landmarks=relaxed(with_usual_eyes(calm, seen)).astype(np.float32))
        self.calibrate(calm)

    def calmest(self, seen: list[Motion]) -> Motion:
        """The moment of a clip that stands for the portrait: the most neutral one, or for absolute motion the one most
        like the portrait in the frame."""
        return min(seen, key=self.anchor.distance) if self.anchor else most_neutral(seen)

    def __call__(self, motion: Motion, seconds: float) -> AvatarMotion:
        """The avatar's motion of this moment, `seconds` after the last one; without a neutral this moment is it."""
        if self.reference is None:
            self.calibrate(motion)
        assert self.reference is not None
        motion = self.anchor(motion) if self.anchor else motion
        pose = self._pose(motion, self.reference, seconds)
        share = openness(motion.landmarks, self.reference.open)
        offsets = self._expression(motion, self.reference, share, seconds)
        offsets = calmed(self._face_filter, offsets, motion, seconds)
        gaze = self._look(motion, self.reference, share, seconds)
        return AvatarMotion(
            pose, offsets.astype(np.float32), gaze.astype(np.float32), offsets[JAW_INDEX].mean(0).astype(np.float32)
        )

    def _pose(self, motion: Motion, reference: Reference, seconds: float) -> Pose:
        own, before, onlooker = self.model.translation.astype(np.float64), reference.motion, self._onlooker
        if onlooker is None:
            turn, shift = motion.rotation @ self.model.rotation.T.astype(np.float64), motion.translation - own
        else:
            turn = motion.rotation @ before.rotation.T.astype(np.float64)
            shift = motion.translation - before.translation
            turn = onlooker.asked(turn)
        vector = np.degrees(Rotation.from_matrix(turn).as_rotvec())
        vector = calmed(self._pose_filter, vector, motion, seconds)
        turn = Rotation.from_rotvec(np.radians(vector)).as_matrix()
        shift = calmed(self._shift_filter, shift, motion, seconds)
        turn, self.held_back = eased_turn(turn)
        if onlooker is not None:
            size = face_ratio(self.model.neutral, before.landmarks)
            self.held_shift = shift - onlooker.allowed(shift)
            shift = onlooker.carried(shift, -float(before.translation[2]), size)
            turn = onlooker.facing(turn, shift)
        lever = (self.model.pivot - self.model.translation).astype(np.float64)
        return Pose(turn.astype(np.float32), (turn @ lever - lever + shift).astype(np.float32))

    def _expression(self, motion: Motion, reference: Reference, share: F64, seconds: float) -> F64:
        """(468, 3) cm in the portrait's head space; share: how open the eyes are."""
        base, own = reference.motion.landmarks.astype(np.float64), self.model.neutral
        offsets = self._prior(motion, base, seconds)
        width = float(np.linalg.norm(own[234] - own[454]) / max(float(np.linalg.norm(base[234] - base[454])), 1e-6))
        offsets *= np.clip(width, 0.8, 1.25)
        scale = self._own_openings / np.maximum(reference.openings, 0.08) / width
        scale = np.clip(scale, 0.5, 1.8)[:, None]
        for lids in (UPPER_LID_INDEX, LOWER_LID_INDEX):
            offsets[lids, 1] *= scale
        offsets[LID_FOLD_INDEX, 1] *= 0.5 + 0.5 * scale
        lids = narrowed(share) if filmed(motion) else share
        return self._lips(self._lids_set(offsets, lids), motion.landmarks, base, seconds)

    def _lids_set(self, offsets: F64, share: F64) -> F64:
        """Lids that close stand as far apart as the driver's do, in the portrait's own measure (`share` (2,) of the
        opening at rest); shut, the upper one passes before the lower one. Its skin comes along: stretched between fold
        and edge, the portrait's lashes would stand over shut eyes as a broad dark band, like an open slit."""
        own, u, low, fold = self.model.neutral, UPPER_LID_INDEX, LOWER_LID_INDEX, LID_FOLD_INDEX
        rest = own[u, 1] - own[low, 1]
        now = rest + offsets[u, 1] - offsets[low, 1]
        shut = np.clip(1 - share / 0.25, 0, 1)[:, None]
        sure = np.clip((1 - share) / 0.2, 0, 1)[:, None]
        widest = rest + softly(now - rest, WIDE_EYES * np.maximum(rest, 0.2))
        excess = np.where(now > rest, now - widest, (now - rest * share[:, None]) * sure)
        offsets[u, 1] -= LID_TRAVEL * excess
        offsets[low, 1] += (1 - LID_TRAVEL) * excess + LID_OVERLAP * shut
        offsets[fold, 1] += sure * np.minimum(FOLD_FOLLOWS * offsets[u, 1] - offsets[fold, 1], 0)
        behind = np.maximum(own[low, 2] + offsets[low, 2] - own[u, 2] - offsets[u, 2], 0)
        offsets[u, 2] += (behind + LID_LIFT) * shut
        offsets[low, 2] -= LID_LIFT * shut
        return offsets

    def _look(self, motion: Motion, reference: Reference, share: F64, seconds: float) -> F64:
        """(2, 2) cm the irises leave their place; held while the eyes are shut, when irises are only guessed."""
        if share.mean() > 0.45:
            change = (gaze_of(motion.landmarks) - gaze_of(reference.motion.landmarks)).mean(0)
            self._gaze = softly(GAZE_GAIN * change * self._own_widths[:, None], GAZE_LIMIT)
        return calmed(self._gaze_filter, self._gaze, motion, seconds)
