"""Recording: what a driver saw, written down as channels (`drivers.script`) that any avatar can play and nobody can be
recognised in.

Kept are head pose, ARKit's expression channels, gaze and confidence over time. The face itself, its landmarks and its
proportions are not: the driver's moves away from the clip's most neutral moment are brought to the canonical face, and
the channels are those that move the canonical face nearest to that (bounded least squares; lid and lip openings count
most). How somebody moves is kept, that is the purpose, and may tell a friend who it was.

Convention: a driver sees moves across the line of sight only, so depth does not count in the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.channels import LANDMARKS, LOOK, basis, expressive_face, open_jaw
from narrate_stream.drivers.script import DISTANCE, GAZE_LIMIT, LIMITS, LONGEST, POSE, Script
from narrate_stream.errors import MotionError
from narrate_stream.lips import LOWER_LIP_INDEX, MOUTH_INDEX, UPPER_LIP_INDEX
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.retarget import (
    LOWER_LID_INDEX,
    UPPER_LID_INDEX,
    eye_widths,
    face_ratio,
    gaze_of,
    lid_openings,
    most_neutral,
    with_usual_eyes,
)
from narrate_stream.types import Motion

F64 = NDArray[np.float64]
Moment = tuple[float, Motion | None]
GAP = 6.0  # how much more a lid's or lip's opening counts than a landmark's place
PRIOR, SHARE = 0.2, 0.04  # what a channel at 1 costs, cm^2, and of its own power: opposites do not fight over nothing
BROWS = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
OUTLINE = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
           150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
BLOCK = 1000  # moments fitted at once
ROUNDS, SWEEPS = 4, 40  # of linearising, and of coordinate descent in each
INSTANT = 1e-4  # seconds: moments nearer than that are one
UNIT = LOOK / eye_widths(canonical().landmarks).mean()  # eye widths of gaze 1
SHUT = 0.45  # share of the neutral's opening below which irises are only guessed


def record(moments: Sequence[Moment], fps: Fraction) -> Script:
    """The script of a clip: moments are (time in s, what the driver saw: None without a face); times begin at 0.

    Raises MotionError when no moment has a face, or for a clip longer than a script may be.
    """
    moments = in_order(moments)
    seen = [motion for _, motion in moments if motion is not None]
    if not seen:
        raise MotionError("no face is found in any frame")
    times = np.array([time for time, _ in moments], np.float64)
    if times[-1] - times[0] > LONGEST:
        raise MotionError(f"it is longer than {LONGEST / 60:g} minutes")
    calm = most_neutral(seen)
    neutral = replace(calm, landmarks=with_usual_eyes(calm, seen))  # as `Retargeter.rehearse` takes it
    size = face_ratio(canonical().landmarks, neutral.landmarks)
    has = np.array([motion is not None for _, motion in moments])
    names, weights, gaze = channels_of(seen, neutral)
    return Script(
        fps=fps,
        times=times - times[0],
        pose=placed(np.array([pose_of(motion, size) for motion in seen]), has),
        gaze=placed(gaze, has),
        expression=placed(weights, has),
        names=names,
        confidence=placed(np.array([motion.confidence for motion in seen]), has),
        neutral=pose_of(neutral, size),
    )


def in_order(moments: Sequence[Moment]) -> list[Moment]:
    """Without those whose time does not come after the one before."""
    out: list[Moment] = []
    for time, motion in moments:
        if not out or time > out[-1][0] + INSTANT:
            out.append((time, motion))
    return out


def placed(rows: F64, has: NDArray[np.bool_]) -> F64:
    """Rows of the moments with a face among those without, which are 0."""
    out = np.zeros((len(has), *rows.shape[1:]))
    out[has] = rows
    return out


def pose_of(motion: Motion, size: float) -> F64:
    """(6,) in the order of POSE, within the limits of a script; a head that is `size` times as large as the driver's
    looks as large in its place."""
    x, y, z = size * motion.translation
    pose = np.array([*angles_from_rotation(motion.rotation), x, y, z + DISTANCE])
    low, high = np.array([LIMITS[name] for name in POSE]).T
    return np.asarray(np.clip(pose, low, high))


def looks_of(motions: Sequence[Motion], neutral: Motion) -> F64:
    """(N, 2) gaze away from the neutral's, eye widths; held while the eyes are shut."""
    open_at_rest = lid_openings(neutral.landmarks)
    out, now = np.zeros((len(motions), 2)), np.zeros(2)
    for i, motion in enumerate(motions):
        if (lid_openings(motion.landmarks) / open_at_rest).mean() > SHUT:
            now = (gaze_of(motion.landmarks) - gaze_of(neutral.landmarks)).mean(0)
        out[i] = now
    return out


def channels_of(motions: Sequence[Motion], neutral: Motion) -> tuple[tuple[str, ...], F64, F64]:
    """Names (C), (N, C) weights 0..1 of the channels that move the canonical face as these moments do, (N, 2) gaze."""
    looks = looks_of(motions, neutral)
    blocks = [slice(k, k + BLOCK) for k in range(0, len(motions), BLOCK)]
    faces = (np.stack([brought_home(motion, neutral) for motion in motions[block]]) for block in blocks)
    fitted = [fit(face, looks[block]) for face, block in zip(faces, blocks, strict=True)]
    weights, gaze = (np.concatenate(part) for part in zip(*fitted, strict=True))
    return linear_channels()[0], weights, gaze


def fit(faces: F64, looks: F64) -> tuple[F64, F64]:
    """(N, C) weights and (N, 2) gaze of canonical faces (N, 468, 3) that look (N, 2) eye widths away from rest."""
    names, columns = linear_channels()
    rest = canonical().landmarks
    wanted, matrix = features(faces) - features(rest[None]), features(columns)  # (N, R), (C, R)
    normal = matrix @ matrix.T
    normal += np.diag(PRIOR + SHARE * np.diag(normal))
    weights, gaze = np.zeros((len(faces), len(names))), looks / UNIT
    for _ in range(ROUNDS):
        shown = np.stack([face_of(names, w, g) for w, g in zip(weights, gaze, strict=True)])
        # what the true face does beyond the linear one is taken from the aim
        beyond = features(shown) - features(rest[None]) - weights @ matrix
        weights = box_fit(normal, (wanted - beyond) @ matrix.T, weights)
        found = np.array([gaze_of(face).mean(0) for face in shown]) - gaze_of(rest).mean(0)
        gaze = np.clip(gaze + (looks - found) / UNIT, -GAZE_LIMIT, GAZE_LIMIT)  # the eyes' corners move as well
    return weights, gaze


def face_of(names: tuple[str, ...], weights: F64, gaze: F64) -> F64:
    """(478, 3) the canonical face as a script shows it."""
    return expressive_face(dict(zip(names, map(float, weights), strict=True)), (gaze[0], gaze[1]))


@lru_cache(maxsize=1)
def linear_channels() -> tuple[tuple[str, ...], F64]:
    """The names of the channels that are fitted and their (C, 468, 3) displacements at weight 1. The gaze moves the
    eyes' own; `mouthClose` and `tongueOut` cannot be told from a landmark face."""
    names, fields = basis()
    kept = [i for i, name in enumerate(names) if not name.startswith("eyeLook")]
    rest = canonical().landmarks[:LANDMARKS]
    return (*(names[i] for i in kept), "jawOpen"), np.concatenate([fields[kept], [open_jaw(rest, 1.0) - rest]])


def brought_home(motion: Motion, neutral: Motion) -> F64:
    """(468, 3) the canonical face moved as the driver's moved away from the neutral, in the canonical proportions:
    by the size of the face, the mouth's by its own, the lids' by the eyes' openings."""
    base, own = neutral.landmarks.astype(np.float64), canonical().landmarks
    size = face_ratio(own, base)
    mouth = np.linalg.norm(own[61] - own[291]) / max(float(np.linalg.norm(base[61] - base[291])), 1e-6)
    offsets = (motion.landmarks.astype(np.float64) - base)[:LANDMARKS] * size
    offsets[MOUTH_INDEX] *= mouth / size
    open_more = lid_openings(own) / np.maximum(lid_openings(base), 0.05) / size
    for lids in (UPPER_LID_INDEX, LOWER_LID_INDEX):
        offsets[lids, 1] *= open_more[:, None]
    return np.asarray(own[:LANDMARKS] + offsets)


def features(faces: F64) -> F64:
    """(N, 468 or 478, 3) -> (N, R) what is compared: places in the image plane, and openings of lids and lips."""
    weight = landmark_weights()[:, None]
    lids = (faces[:, UPPER_LID_INDEX, 1] - faces[:, LOWER_LID_INDEX, 1]).reshape(len(faces), -1)
    lips = faces[:, UPPER_LIP_INDEX, 1] - faces[:, LOWER_LIP_INDEX, 1]
    return np.concatenate([(weight * faces[:, :LANDMARKS, :2]).reshape(len(faces), -1), GAP * lids, GAP * lips], 1)


@lru_cache(maxsize=1)
def landmark_weights() -> F64:
    """(468,) how much each landmark's place counts: brows and mouth more, the outline, which slides, hardly."""
    weight = np.ones(LANDMARKS)
    weight[[*BROWS, *MOUTH_INDEX]] = 2.0
    weight[list(OUTLINE)] = 0.2
    return weight


def box_fit(normal: F64, right: F64, start: F64) -> F64:
    """(N, C) the x in 0..1 that minimise x' normal x / 2 - right x row by row, by coordinate descent from `start`."""
    x = start.copy()
    for _ in range(SWEEPS):
        for c in range(len(normal)):
            x[:, c] = np.clip(x[:, c] + (right[:, c] - x @ normal[:, c]) / normal[c, c], 0, 1)
    return x
