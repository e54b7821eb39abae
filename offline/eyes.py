"""Eyeballs and irises as cells of the atlas: of what a photograph shows of them, an eye that may look anywhere.

A photograph shows the iris between the lids, cut off and blurred into the white, and of the white two corners. So the
iris is found anew in the picture, round, and goes on under the lids as its own colours do from its middle to its rim;
the white is as bright as its brightest parts are, no more colourful than whites are, and shows the picture's own pixels
where they are white.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.types import Array, Image
from offline.layers import LEFT_EYE, RIGHT_EYE, Cell, polygon_mask
from offline.parts import smoothstep

F64 = NDArray[np.float64]
EYE_GLOSS = 0.0  # what an eye mirrors are its catchlights; a lobe as wide as skin's would lie on it like mist
UNDER_LID = 0.18  # eye widths that the ball goes on behind the upper lid, beyond what it does below
TO_NOSE, TO_TEMPLE = 0.28, 0.12  # the same toward the nose, where a turn looks far behind the lids' corner, and aside
SKIN_NEAR = ((30, 29, 27, 28, 56), (110, 24, 23, 22, 26)), ((260, 259, 257, 258, 286), (339, 254, 253, 252, 256))
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
LEAST_WHITE = 0.75  # of the luma of the skin above or below, whichever is darker: no white is less
COLOURFUL = 0.45  # of the skin's own saturation: no white has more
FEW = 12  # pixels that are too few to tell a colour
RINGS = 24  # of an iris' profile, to REACH radii
REACH = 1.2
SOFT_RIM = 0.2  # radii over which an iris' rim fades into the white


@dataclass(frozen=True)
class Eye:
    """One eye in a picture. patch (h, w, 3) 0..255 of its surroundings, origin: picture pixel of its corner; opening
    (h, w) between the lids; outline (16, 2), centre (2,) and radius of the iris, in pixels of the patch; width of the
    opening; right: the person's own."""

    patch: Array
    origin: tuple[int, int]
    opening: NDArray[np.bool_]
    outline: F64
    centre: F64
    radius: float
    width: float
    right: bool

    @property
    def sure(self) -> NDArray[np.bool_]:
        """(h, w) the opening without its border of lashes."""
        side = 2 * max(1, round(0.025 * self.width)) + 1
        return np.asarray(cv2.erode(self.opening.astype(np.uint8), np.ones((side, side))) > 0)

    @property
    def away(self) -> F64:
        """(h, w) distance from the iris' middle, in its radii."""
        y, x = np.mgrid[: self.opening.shape[0], : self.opening.shape[1]]
        return np.asarray(np.hypot(x - self.centre[0], y - self.centre[1]) / max(self.radius, 1e-3))


def eye_cells(image: Image, landmarks: F64, right: bool) -> tuple[Cell, Cell]:
    """(eyeball, iris) of one eye of a picture (H, W, 3) with landmarks (478, 3) px."""
    eye = found_eye(image, landmarks, right)
    name = "right" if right else "left"
    ball = Cell(f"{name} eyeball", sclera(eye, white_of(image, landmarks, right)), shell(eye), eye.origin, EYE_GLOSS)
    disc, cover = iris(eye)
    return ball, Cell(f"{name} iris", disc, cover, eye.origin, EYE_GLOSS)


def found_eye(image: Image, landmarks: F64, right: bool) -> Eye:
    """The eye where the landmarks have it, and its iris where the picture does."""
    outline = landmarks[list(RIGHT_EYE if right else LEFT_EYE), :2]
    ring = landmarks[468:473] if right else landmarks[473:478]
    width = float(np.ptp(outline[:, 0])) + 2
    x0, y0 = np.floor(outline.mean(0) - [0.85 * width, 0.75 * width]).astype(int)
    w, h = np.ceil([1.7 * width, 1.5 * width]).astype(int)
    gx, gy = np.meshgrid(np.arange(w, dtype=np.float32) + x0, np.arange(h, dtype=np.float32) + y0)
    patch = cv2.remap(image, gx, gy, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    opening = polygon_mask(outline, (int(h), int(w)), (int(x0), int(y0)))
    radius = float(np.linalg.norm(ring[1:, :2] - ring[0, :2], axis=1).mean())
    eye = Eye(patch, (int(x0), int(y0)), opening, outline - [x0, y0], ring[0, :2] - [x0, y0], radius, width, right)
    return with_own_iris(eye)


def with_own_iris(eye: Eye) -> Eye:
    """The eye with the circle across which, between the lids, the picture brightens most (Daugman 1993); near the
    landmarks' own, which stays where too little of its rim is seen."""
    if eye.radius < 2:
        return eye
    luma = cv2.GaussianBlur(eye.patch @ LUMA, (0, 0), max(0.5, 0.06 * eye.radius))
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    ray = np.stack([np.cos(turn), np.sin(turn)], -1)
    step = np.linspace(-0.16, 0.16, 9)
    dx, dy, grow = (a.ravel()[:, None] for a in np.meshgrid(step, step, np.linspace(0.85, 1.15, 9), indexing="ij"))

    def along(picture: Array, at: float) -> Array:
        x, y = (eye.centre[i] + eye.radius * (d + grow * at * ray[:, i]) for i, d in ((0, dx), (1, dy)))
        return np.asarray(cv2.remap(picture, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR))

    seen = along(eye.sure.astype(np.float32), 1.12) > 0.9
    rise = (along(luma, 1.12) - along(luma, 0.88)) * seen
    score = rise.sum(1) / np.maximum(seen.sum(1), 1) * (1 - 0.5 * (dx**2 + dy**2 + (grow - 1) ** 2)[:, 0] / 0.16)
    score[seen.sum(1) < 8] = 0
    best = int(np.argmax(score))
    if score[best] < 6:  # levels: an iris that dark eyes, or a blurred picture, do not set off
        return eye
    centre = eye.centre + eye.radius * np.array([dx[best, 0], dy[best, 0]])
    return replace(eye, centre=centre, radius=eye.radius * float(grow[best, 0]))


def shell(eye: Eye) -> Array:
    """(h, w) 0..1 where there is a ball: behind the lids only; a larger one would come out through the cheek."""
    opening, width = eye.opening.astype(np.uint8), eye.width
    tall, wide = (max(1, int(k * width)) | 1 for k in (0.50, 0.14))
    out = cv2.dilate(opening, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, tall))).astype(np.float32)
    up = max(1, int(UNDER_LID * width))  # a lid that opens wide shows more of it; toward the cheek there is no room
    out[:-up] = np.maximum(out[:-up], out[up:])
    inner, outer = (max(1, int(k * width)) for k in (TO_NOSE, TO_TEMPLE))
    out = cv2.dilate(out, np.ones((1, inner + outer + 1), np.uint8), anchor=(inner if eye.right else outer, 0))
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 0.7), np.float32)


def white_of(image: Image, landmarks: F64, right: bool) -> Array:
    """(2, 3) the colour 0..255 of the white on the picture's left and right of one iris. What is seen of it there, if
    that can be a white beside its lids; else brighter and paler; none seen, as of the other eye beside its lids."""
    own, other = (found_eye(image, landmarks, side) for side in (right, not right))
    skin, far_skin = (skin_near(image, landmarks, side) for side in (right, not right))
    whole, far = whites(own), whites(other)
    if len(whole) < FEW and len(far) >= FEW:
        whole = far * np.float32(np.clip(float(skin @ LUMA) / max(float(far_skin @ LUMA), 1.0), 0.3, 1.5))
    middle = np.median(whole, axis=0) if len(whole) >= FEW else skin
    sides = (whites(own, side) for side in (-1, 1))
    return np.stack([possible(np.median(seen, axis=0) if len(seen) >= FEW else middle, skin) for seen in sides])


def possible(colour: Array, skin: Array) -> Array:
    """(3,) a white as near to `colour` as there is one beside `skin`."""
    luma, most = float(colour @ LUMA), COLOURFUL * float(saturation(skin)) + 0.02
    low, high = float(colour.min()) - luma, float(colour.max()) - luma
    share = most * luma / max((1 - most) * high - low, 1e-3)  # of its colour, with which it is as colourful as that
    paler = luma + (colour - luma) * min(1.0, share)
    return np.asarray(paler * max(1.0, LEAST_WHITE * float(skin @ LUMA) / max(luma, 1.0)), np.float32)


def whites(eye: Eye, side: int = 0) -> Array:
    """(n, 3) the brighter third of the pixels between lids and iris, on its left (-1), right (1) or both sides."""
    x = np.arange(eye.opening.shape[1]) - eye.centre[0]
    found = eye.patch[eye.sure & (eye.away > 1.15) & (x * side >= 0)]
    luma = found @ LUMA
    return np.asarray(found[luma >= np.percentile(luma, 67)] if len(found) else found)


def skin_near(image: Image, landmarks: F64, right: bool) -> Array:
    """(3,) the skin above or below an eye, whichever is darker: light that comes to neither does not come to it."""
    h, w = image.shape[:2]
    found = []
    for places in SKIN_NEAR[0 if right else 1]:
        at = np.clip(np.round(landmarks[list(places), :2]).astype(int), 0, [w - 1, h - 1])
        found.append(np.median(image[at[:, 1], at[:, 0]], axis=0))
    return np.asarray(min(found, key=lambda c: float(c @ LUMA)), np.float32)


def saturation(colour: Array) -> Array:
    """(...) 0..1 of colours (..., 3)."""
    return np.asarray(1 - colour.min(-1) / np.maximum(colour.max(-1), 1.0))


def sclera(eye: Eye, white: Array) -> Array:
    """(h, w, 3) the white of the eye, left and right of the iris of colours `white` (2, 3): the picture's own where it
    is white, and in the corner toward the nose; smooth elsewhere, in the lids' shade."""
    x = np.arange(eye.opening.shape[1])
    share = smoothstep((x - eye.centre[0]) / (0.5 * eye.width), -1, 1)[:, None]
    expected = np.asarray(white[0] * (1 - share) + white[1] * share, np.float32)[None]
    shaded = expected * lid_shade(eye)[..., None]
    keep = kept(eye, shaded)
    near, believed = 0.08 * eye.width, 0.02
    ratio = keep[..., None] * eye.patch / np.maximum(shaded, 1.0)
    ratio = cv2.GaussianBlur(ratio, (0, 0), near) + believed
    smooth = shaded * ratio / (cv2.GaussianBlur(keep, (0, 0), near)[..., None] + believed)
    smooth *= shade(eye)[..., None]
    beyond = max(2, round(0.03 * eye.width))  # the lids' edges, through which one half sees, with what they show
    rim = cv2.dilate(eye.opening.astype(np.uint8), np.ones((2 * beyond + 1,) * 2, np.uint8)) * ~eye.opening
    own = np.maximum(keep, 0.6 * rim * smoothstep(eye.away, 1.05, 1.25))[..., None]
    return np.asarray(smooth + (eye.patch - smooth) * own, np.float32)


def kept(eye: Eye, expected: Array) -> Array:
    """(h, w) 0..1 how far the picture's own pixels are taken for the white, where `expected` (h, w, 3) is: those that
    are as bright and pale, the flesh in the corner toward the nose, and the shadows of lashes along the lids."""
    y, x = np.mgrid[: eye.opening.shape[0], : eye.opening.shape[1]]
    luma = (eye.patch @ LUMA) / np.maximum(expected @ LUMA, 1.0)
    colourful = saturation(eye.patch) - saturation(expected)
    nose = eye.outline[8]
    corner = 1 - smoothstep(np.hypot(x - nose[0], y - nose[1]) / eye.width, 0.08, 0.2)
    far = cv2.distanceTransform(eye.opening.astype(np.uint8), cv2.DIST_L2, 5) / eye.width
    lashes = 0.8 * (1 - smoothstep(far, 0.02, 0.09)) * (luma < 1)
    own = smoothstep(luma, 0.5, 0.75) * (1 - smoothstep(colourful, 0.08, 0.2))
    keep = np.maximum.reduce([own, corner, lashes]) * smoothstep(eye.away, 1.05, 1.25) * eye.opening
    soft = cv2.GaussianBlur(keep, (0, 0), max(0.7, 0.025 * eye.width))
    return np.asarray(np.minimum(keep, np.where(far > 0.06, soft, 1)), np.float32)


def lid_shade(eye: Eye) -> Array:
    """(h, w) how much light the lids at rest let to the white between them."""
    outside = (~eye.opening).astype(np.uint8)
    far = cv2.distanceTransform(1 - outside, cv2.DIST_L2, 5) / (0.07 * eye.width)
    upper = np.argmax(eye.opening, 0)[None]
    below = (np.arange(eye.opening.shape[0])[:, None] - upper) / (0.1 * eye.width)
    dark = 0.15 * np.exp(-far) + 0.2 * np.exp(-np.clip(below, 0, None))
    return np.asarray(1 - np.where(eye.opening, dark, 0.28), np.float32)


def shade(eye: Eye) -> Array:
    """(h, w) how much light comes to the ball: less behind the upper lid, and little behind the corners, where a turn
    of the head must not show anything bright."""
    h, w = eye.opening.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    left, right = eye.outline[:, 0].min(), eye.outline[:, 0].max()
    top = float(eye.outline[:, 1].min())
    aside = np.maximum(left - x, x - right) / (0.12 * eye.width)
    above, below = (top - y) / (0.4 * eye.width), (y - float(eye.outline[:, 1].max())) / (0.3 * eye.width)
    dark = np.maximum.reduce([0.5 * np.clip(aside, 0, 1), 0.45 * np.clip(above, 0, 1), 0.3 * np.clip(below, 0, 1)])
    return np.asarray(1 - dark, np.float32)


def iris(eye: Eye) -> tuple[Array, Array]:
    """Colour (h, w, 3) and alpha (h, w) of the whole iris disc: the picture's own where it is seen; what the lids cover
    goes on by the colours from middle to rim."""
    r, sure = eye.away, eye.sure
    profile = radial_profile(eye.patch, r, sure)
    at = np.clip(r, 0, 0.9) / REACH * RINGS - 0.5  # its rim is mixed with white
    smooth = np.stack([np.interp(at, np.arange(RINGS), profile[:, c]) for c in range(3)], -1)
    soft = cv2.GaussianBlur(sure.astype(np.float32), (0, 0), max(0.8, 0.12 * eye.radius))
    seen = (np.clip(2 * soft - 1, 0, 1) * sure * (1 - smoothstep(r, 0.82, 0.98)))[..., None]
    alpha = 1 - smoothstep(r, 1 - SOFT_RIM / 2, 1 + SOFT_RIM / 2)
    return np.asarray(smooth + (eye.patch - smooth) * seen, np.float32), np.asarray(alpha, np.float32)


def radial_profile(patch: Array, r: F64, seen: NDArray[np.bool_]) -> F64:
    """(RINGS, 3) the median colour of what is seen of each ring of an iris, r (h, w) radii from its middle; rings of
    which nothing is seen go between their neighbours."""
    ring = np.where(seen, (r / REACH * RINGS).astype(int), RINGS)
    found = [(k, np.median(patch[ring == k], axis=0)) for k in range(RINGS) if (ring == k).sum() >= 3]
    if not found:  # shut, or tiny: dark
        return np.full((RINGS, 3), 0.35 * float(np.median(patch)))
    at, colours = np.array([k for k, _ in found]), np.array([colour for _, colour in found])
    return np.stack([np.interp(np.arange(RINGS), at, colours[:, c]) for c in range(3)], -1)
