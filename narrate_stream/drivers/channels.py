"""Expression channels with ARKit's names, as procedural displacements of the canonical landmarks.

A channel says how a few landmarks move at weight 1 (cm, head space); the rest of the face follows by the smoothest
extension over the mesh, and landmarks farther than a channel's reach stay. Opening the jaw is a true rotation. The
amounts are our own; they come from no captured person.

Convention: *Left* and *Right* are the subject's, as ARKit names them: the subject's right eye is the image's left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from narrate_stream.lips import LOWER_LIP, UPPER_LIP
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.lift import IRISES
from narrate_stream.retarget import LID_FOLDS, LOWER_LIDS, UPPER_LIDS

F64 = NDArray[np.float64]
Move = tuple[float, float, float]
Handles = dict[int, Move]
LANDMARKS = 468
JAW_ANGLE = 22.0  # degrees of jawOpen 1
HINGE = np.array([0.0, -2.2, 1.2])  # cm, the jaw's axis: the line through both joints, just before the ears
GLIDE = 1.1  # cm the joints slide forward on the way
LOOK = np.array([0.52, 0.34])  # cm the irises move at gaze 1, sideways and up
LIDS_FOLLOW = 1.25  # the look up or down from which lids stay: lower ones would be taken for shut
FARTHEST = 2.0  # the most gaze there is: detectors report such looks
FIRM = 0.03  # how much the smooth extension is also a short one: 0 overshoots between far handles

_MIDDLE = ("jawOpen", "jawForward", "jawLeft", "jawRight", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
           "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "browInnerUp",
           "cheekPuff", "tongueOut")  # fmt: skip
_PAIRED = ("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress", "mouthLowerDown", "mouthUpperUp",
           "browDown", "browOuterUp", "cheekSquint", "noseSneer", "eyeBlink", "eyeSquint", "eyeWide", "eyeLookUp",
           "eyeLookDown", "eyeLookIn", "eyeLookOut")  # fmt: skip
CHANNELS = (*_MIDDLE, *(name + side for name in _PAIRED for side in ("Left", "Right")))
"""All 52 of ARKit's names. `tongueOut` is taken and shows nothing: the landmark face has no tongue."""

# rows of the lips, corner to corner, from the outline inward
UPPER = ((185, 40, 39, 37, 0, 267, 269, 270, 409), (184, 74, 73, 72, 11, 302, 303, 304, 408),
          (183, 42, 41, 38, 12, 268, 271, 272, 407), UPPER_LIP)  # fmt: skip
LOWER = ((146, 91, 181, 84, 17, 314, 405, 321, 375), (77, 90, 180, 85, 16, 315, 404, 320, 307),
          (96, 89, 179, 86, 15, 316, 403, 319, 325), LOWER_LIP)  # fmt: skip
_CORNERS = (61, 76, 62, 78, 291, 306, 292, 308)
_CHIN = (152, 175, 199, 200, 148, 377, 176, 400, 149, 378, 150, 379, 136, 365, 172, 397)
_STILL_FOR_LIDS = (33, 133, 70, 63, 105, 66, 107, 46, 53, 52, 65, 55)
_UNDER_LIDS = (110, 24, 23, 22, 26, 112)


@lru_cache(maxsize=1)
def _stiffness() -> F64:
    """(468, 468) energy of a displacement field on the landmark mesh: bent as little as possible."""
    t = canonical().triangles
    adjacency = np.zeros((LANDMARKS, LANDMARKS))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        adjacency[t[:, a], t[:, b]] = adjacency[t[:, b], t[:, a]] = 1
    degree = adjacency.sum(1)
    laplacian = np.eye(LANDMARKS) - adjacency / degree[:, None]
    return np.asarray(laplacian.T @ laplacian + FIRM * (np.diag(degree) - adjacency) / degree.mean())


def spread(handles: Mapping[int, tuple[float, ...] | float], reach: float) -> F64:
    """(468, C) the smoothest field that takes the handles' values and is 0 farther than `reach` cm from all of them."""
    points = canonical().landmarks[:LANDMARKS]
    index = np.array(list(handles))
    value = np.array(list(handles.values()), np.float64).reshape(len(index), -1)
    moving = np.abs(value).max(1) > 0
    distance = np.linalg.norm(points[:, None] - points[index[moving]], axis=-1).min(1)
    field = np.zeros((LANDMARKS, value.shape[1]))
    field[index] = value
    fixed = distance > reach
    fixed[index] = True
    energy = _stiffness()
    field[~fixed] = np.linalg.solve(energy[np.ix_(~fixed, ~fixed)], -energy[np.ix_(~fixed, fixed)] @ field[fixed])
    return field


def mirrored(field: F64) -> F64:
    """The same field on the other half of the face."""
    return np.asarray(field[canonical().mirror[:LANDMARKS]] * [-1, 1, 1])


def lips(upper: Callable[[float], Move], lower: Callable[[float], Move]) -> Handles:
    """Handles for every landmark of the lips. The functions get s: -1 at the right corner, 0 in the middle, 1 left;
    the corners take the mean of both."""
    points = canonical().landmarks
    width = float(points[291, 0])
    place = {i: float(np.clip(points[i, 0] / width, -1, 1)) for row in (*UPPER, *LOWER, _CORNERS) for i in row}
    out: Handles = {i: upper(place[i]) for row in UPPER for i in row}
    out.update({i: lower(place[i]) for row in LOWER for i in row})
    for i in _CORNERS:
        x, y, z = np.mean([upper(place[i]), lower(place[i])], 0)
        out[i] = float(x), float(y), float(z)
    return out


def _rest(_: float) -> Move:
    return 0.0, 0.0, 0.0


def _corner(x: float, y: float, z: float) -> Handles:
    """The right corner moves, and the lips with it toward the middle."""

    def pull(s: float) -> Move:
        t = max(-s, 0.0) ** 1.6
        return x * max(-s, 0.0), y * t, z * t

    return lips(pull, pull)


def _bump(x: float, y: float, z: float) -> Callable[[float], Move]:
    """A raise of the right half of one lip that leaves the corner where it is."""

    def raised(s: float) -> Move:
        t = float(np.exp(-(((s + 0.38) / 0.4) ** 2))) * (1 - s * s)
        return x * t, y * t, z * t

    return raised


def _whole(x: float, y: float, z: float, pinch: float = 0.0) -> Callable[[float], Move]:
    """A whole lip moves, most in the middle; pinch (cm) draws the corners inward."""
    return lambda s: (x - pinch * s, y * (1 - s * s), z * (1 - 0.45 * s * s))


def _all(indices: tuple[int, ...], x: float, y: float, z: float) -> Handles:
    return dict.fromkeys(indices, (x, y, z))


def _lid(drop: float, rise: float, bulge: float = 0.0) -> Handles:
    """The right upper lid falls by `drop` of the opening, the lower one rises by `rise`, the fold goes half."""
    points = canonical().landmarks
    out: Handles = dict.fromkeys(_STILL_FOR_LIDS, (0.0, 0.0, 0.0))
    for up, low, fold in zip(UPPER_LIDS[0], LOWER_LIDS[0], LID_FOLDS[0], strict=True):
        x, y, z = points[low] - points[up]
        out[up] = x * drop, y * drop, z * drop + bulge
        out[fold] = 0.5 * x * drop, 0.5 * y * drop, 0.3 * z * drop
        out[low] = -x * rise, -y * rise, -z * rise + bulge
    for under in _UNDER_LIDS:
        out[under] = 0.0, 0.3 * rise * float(points[159, 1] - points[145, 1]), 0.0
    return out


def _right_half() -> dict[str, F64]:
    """Fields of the subject's right side; the left ones are their mirror images."""
    nose = _all((1, 4, 5, 195, 6, 168), 0, 0, 0)
    cheek = {205: (-0.14, 0.42, 0.22), 50: (-0.06, 0.30, 0.16), 36: (-0.05, 0.22, 0.10), 187: (-0.18, 0.30, 0.05)}
    squint = {50: (0.0, 0.26, 0.12), 117: (0.0, 0.2, 0.06), 118: (0.0, 0.22, 0.08), 101: (0.0, 0.22, 0.08)}
    brow = {107: (0.16, -0.42, 0.05), 66: (0.12, -0.46, 0.03), 105: (0.06, -0.42, 0.0), 63: (0.02, -0.3, 0.0),
            70: (0.0, -0.15, 0.0), 55: (0.2, -0.42, 0.06), 65: (0.14, -0.46, 0.04), 52: (0.08, -0.42, 0.0),
            53: (0.03, -0.3, 0.0), 46: (0.0, -0.15, 0.0)}  # fmt: skip
    outer = {70: (0.0, 0.5, -0.06), 63: (0.0, 0.68, 0.0), 105: (0.0, 0.55, 0.0), 66: (0.0, 0.22, 0.0),
             46: (0.0, 0.42, -0.05), 53: (0.0, 0.55, 0.0), 52: (0.0, 0.45, 0.0), 65: (0.0, 0.18, 0.0)}  # fmt: skip
    wing = {49: (-0.05, 0.34, 0.02), 129: (-0.05, 0.4, 0.0), 48: (-0.03, 0.28, 0.02), 64: (-0.02, 0.24, 0.02),
            198: (0.0, 0.2, 0.03), 4: (0.0, 0.0, 0.0)}  # fmt: skip
    eyes = _all(UPPER_LIDS[0], 0, 0, 0)
    return {
        "mouthSmile": spread({**nose, **cheek, **_corner(-0.62, 0.62, -0.42)}, 3.0),
        "mouthFrown": spread({**nose, **_corner(-0.12, -0.62, -0.15)}, 2.4),
        "mouthDimple": spread({**nose, **_corner(-0.34, 0.12, -0.42)}, 2.2),
        "mouthStretch": spread({**nose, **_corner(-0.62, -0.16, -0.38)}, 2.6),
        "mouthPress": spread({**nose, **lips(_bump(0, -0.16, -0.08), _bump(0, 0.2, -0.08))}, 1.8),
        "mouthLowerDown": spread({**nose, **lips(_rest, _bump(0, -0.62, 0.06))}, 1.8),
        "mouthUpperUp": spread({**nose, **lips(_bump(0, 0.48, 0.08), _rest)}, 1.6),
        "browDown": spread({**eyes, **brow}, 2.0),
        "browOuterUp": spread({**eyes, **outer}, 2.4),
        "cheekSquint": spread({**_lid(0.0, 0.22), **squint}, 2.0),
        "noseSneer": spread({**wing, **eyes}, 1.6),
        "eyeBlink": spread(_lid(0.9, 0.1), 1.6),
        "eyeSquint": spread({**_lid(0.18, 0.34), **squint}, 1.8),
        "eyeWide": spread(_lid(-0.36, 0.06), 1.4),
        "eyeLookUp": spread(_lid(-0.24, 0.08), 1.2),
        "eyeLookDown": spread(_lid(0.42, -0.10), 1.2),
    }


def _middle_face() -> dict[str, F64]:
    """Fields that are alike on both sides, the jaw's sideways ones apart."""
    nose = _all((4, 5, 195, 64, 294), 0, 0, 0)
    inner = {107: (0.0, 0.62, 0.0), 55: (0.05, 0.58, 0.0), 66: (0.0, 0.46, 0.0), 65: (0.03, 0.42, 0.0),
             105: (0.0, 0.18, 0.0)}  # fmt: skip
    both = {**inner, **{int(canonical().mirror[i]): (-x, y, z) for i, (x, y, z) in inner.items()}}
    eyes = _all(UPPER_LIDS[0] + UPPER_LIDS[1], 0, 0, 0)
    puff = {205: (-0.3, 0.0, 0.4), 187: (-0.5, 0.0, 0.3), 207: (-0.4, 0.0, 0.35), 50: (-0.15, 0.0, 0.2)}
    cheeks = {**puff, **{int(canonical().mirror[i]): (-x, y, z) for i, (x, y, z) in puff.items()}}
    shrug = {**lips(_rest, _whole(0, 0.42, 0.28)), 199: (0.0, 0.35, 0.1), 200: (0.0, 0.4, 0.12), 175: (0.0, 0.2, 0.05)}
    return {
        "mouthFunnel": spread({**nose, **lips(_whole(0, 0.3, 0.62, 0.5), _whole(0, -0.42, 0.62, 0.5))}, 2.4),
        "mouthPucker": spread({**nose, **lips(_whole(0, -0.04, 0.7, 1.0), _whole(0, 0.04, 0.7, 1.0))}, 2.6),
        "mouthLeft": spread({**nose, **lips(lambda s: (0.7, 0, -0.2 * s), lambda s: (0.7, 0, -0.2 * s))}, 2.8),
        "mouthRollLower": spread({**nose, **lips(_rest, _whole(0, 0.2, -0.34))}, 1.6),
        "mouthRollUpper": spread({**nose, **lips(_whole(0, -0.18, -0.3), _rest)}, 1.4),
        "mouthShrugLower": spread({**nose, **shrug}, 1.8),
        "mouthShrugUpper": spread({**nose, **lips(_whole(0, 0.36, 0.2), _rest)}, 1.4),
        "browInnerUp": spread({**eyes, **both}, 2.2),
        "cheekPuff": spread({**nose, **cheeks, **_all((61, 291), 0, 0, 0.05)}, 2.2),
    }


@lru_cache(maxsize=1)
def jaw_weights() -> F64:
    """(468,) how far each landmark turns with the lower jaw: 1 on chin and lower lip, 0 from the upper lip upward."""
    handles: dict[int, float] = {i: 0.0 for row in UPPER for i in row}
    points = canonical().landmarks
    for row in LOWER:
        for i in row:
            handles[i] = 1.0 - 0.5 * float(np.clip(abs(points[i, 0]) / points[291, 0], 0, 1)) ** 2.2
    handles.update(dict.fromkeys(_CORNERS, 0.42))
    handles.update(dict.fromkeys(_CHIN, 1.0))
    for i, value in ((58, 0.8), (132, 0.4), (93, 0.12), (205, 0.05), (187, 0.2)):
        handles[i] = handles[int(canonical().mirror[i])] = value
    handles.update({int(i): 0.0 for i in np.flatnonzero(points[:LANDMARKS, 1] > -3.2) if i not in handles})
    return np.asarray(np.clip(spread(handles, 6.0)[:, 0], 0, 1))


@lru_cache(maxsize=1)
def basis() -> tuple[tuple[str, ...], F64]:
    """The names of the linear channels and their (C, 468, 3) displacements at weight 1."""
    fields = _middle_face()
    fields["mouthRight"] = mirrored(fields["mouthLeft"])
    jaw = jaw_weights()[:, None]
    for name, slide in (("jawForward", [0, 0, 0.8]), ("jawLeft", [0.8, 0, 0]), ("jawRight", [-0.8, 0, 0])):
        fields[name] = jaw * slide
    for name, field in _right_half().items():
        fields[name + "Right"], fields[name + "Left"] = field, mirrored(field)
    return tuple(fields), np.stack(list(fields.values()))


def open_jaw(points: F64, amount: float) -> F64:
    """(468, 3) points with the jaw turned about its hinge by `amount` of JAW_ANGLE."""
    if amount <= 0:
        return points
    angle = np.radians(JAW_ANGLE) * amount * jaw_weights()
    y, z = (points - HINGE)[:, 1], (points - HINGE)[:, 2]
    out = points.copy()
    out[:, 1] = HINGE[1] + np.cos(angle) * y - np.sin(angle) * z
    out[:, 2] = HINGE[2] + np.sin(angle) * y + np.cos(angle) * z + GLIDE * amount * jaw_weights()
    return out


def close_lips(points: F64, amount: float) -> F64:
    """(468, 3) points with the lips brought together by `amount` of their gap, whatever the jaw does."""
    if amount <= 0:
        return points
    out = points.copy()
    for rows, others, share in ((UPPER, LOWER, 0.25), (LOWER, UPPER, 0.75)):
        gap = points[list(others[3]), 1:] - points[list(rows[3]), 1:]
        for row in rows:
            out[list(row), 1:] += share * amount * gap
    return out


def kept_apart(points: F64) -> F64:
    """Lids and lips that would pass each other meet instead; where they cross at rest by a hair, that stays."""
    rest = canonical().landmarks
    pairs = [*zip(UPPER_LIDS, LOWER_LIDS, strict=True), (UPPER_LIP, LOWER_LIP)]
    for upper, lower in pairs:
        up, low = list(upper), list(lower)
        least = np.minimum(rest[up, 1] - rest[low, 1], 0)
        cross = np.minimum(points[up, 1] - points[low, 1] - least, 0) / 2
        points[up, 1] -= cross
        points[low, 1] += cross
    return points


def expressive_face(weights: Mapping[str, float], gaze: tuple[float, float] = (0.0, 0.0)) -> F64:
    """(478, 3) cm, head space: the canonical face with these channels (0..1) and this look (-2..2, x to the image's
    right, y up). Unknown names raise KeyError."""
    unknown = [name for name in weights if name not in CHANNELS]
    if unknown:
        raise KeyError(unknown[0])
    names, fields = basis()
    look = _look(weights, gaze)
    active = {name: float(w) for name, w in weights.items()}
    for side, (_, up) in zip(("Right", "Left"), look, strict=True):
        active["eyeLookUp" + side], active["eyeLookDown" + side] = np.clip([up, -up], 0, LIDS_FOLLOW)
    face = canonical().landmarks.copy()
    moved = face[:LANDMARKS] + np.tensordot([active.get(name, 0.0) for name in names], fields, 1)
    moved = close_lips(open_jaw(moved, active.get("jawOpen", 0.0)), active.get("mouthClose", 0.0))
    face[:LANDMARKS] = kept_apart(moved)
    for iris, shift in zip(IRISES, look, strict=True):
        face[iris, :2] += shift * LOOK
    return face


def _look(weights: Mapping[str, float], gaze: tuple[float, float]) -> F64:
    """(2, 2) look of the right and left eye (x, y), -2..2: the gaze and the eyes' own channels together."""
    out = np.tile(np.asarray(gaze, np.float64), (2, 1))
    for row, side, inward in ((0, "Right", 1.0), (1, "Left", -1.0)):
        out[row, 0] += inward * (weights.get("eyeLookIn" + side, 0.0) - weights.get("eyeLookOut" + side, 0.0))
        out[row, 1] += weights.get("eyeLookUp" + side, 0.0) - weights.get("eyeLookDown" + side, 0.0)
    return np.clip(out, -FARTHEST, FARTHEST)
