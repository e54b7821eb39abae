"""The layers behind the skin as cells of the texture atlas, and the inside of the mouth; the eyes are in `eyes`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.types import Array, Image
from offline.parts import smoothstep
from offline.preprocess import push_pull

F64 = NDArray[np.float64]
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
TEETH_UPPER = (0.43, 0.34, 0.38, 0.36, 0.34, 0.42)  # half the arch, middle outward: seen widths in cm
TEETH_LOWER = (0.27, 0.30, 0.34, 0.35, 0.36, 0.44)
OPEN_MOUTH, WIDE_MOUTH = 0.07, 0.4  # inner opening over width: teeth show; the whole inside shows


@dataclass(frozen=True)
class Cell:
    """A piece of the atlas. colour (h, w, 3) float 0..255; alpha (h, w) 0..1; origin: canvas pixel of its corner, where
    it lies in the portrait's own frame; gloss 0..1."""

    name: str
    colour: Array
    alpha: Array
    origin: tuple[int, int]
    gloss: float


def polygon_mask(points: F64, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> NDArray[np.bool_]:
    """(H, W) inside of a polygon of pixels, with sub-pixel corners."""
    shifted = np.round((points[:, :2] - origin) * 16).astype(np.int32)
    return np.asarray(cv2.fillPoly(np.zeros(shape, np.uint8), [shifted], 1, shift=4) > 0)


def mirror_cell(image: Image, landmarks: F64, alpha: Array) -> Cell:
    """The face once more, for the half that the portrait does not show: its light is made anew for mirrored normals."""
    h, w = image.shape[:2]
    x0, y0 = np.clip(np.floor(landmarks[:, :2].min(0) - 4).astype(int), 0, None)
    x1, y1 = np.minimum(np.ceil(landmarks[:, :2].max(0) + 5).astype(int), [w, h])
    cut = np.s_[y0:y1, x0:x1]
    return Cell("mirror", image[cut].astype(np.float32), np.maximum(alpha[cut], 0), (int(x0), int(y0)), 0.3)


def mouth_opening(landmarks: F64) -> float:
    """Inner opening over inner width; about 0 for closed lips."""
    up, low = landmarks[[81, 13, 311], :2], landmarks[[178, 14, 402], :2]
    return float(np.linalg.norm(up - low, axis=1).mean() / np.linalg.norm(landmarks[78, :2] - landmarks[308, :2]))


def open_mouth_cell(image: Image, landmarks: F64, *, smile: bool) -> Cell:
    """The portrait's own inside of the mouth, continued a little under the lips. `smile`: what shows are the upper
    teeth, which stay with the skull; below them the drawn inside goes on, so the cell ends there."""
    ring = landmarks[list(INNER_UPPER + INNER_LOWER[::-1][1:-1]), :2]
    lo, hi = ring.min(0), ring.max(0)
    grow = 0.3 * (hi[0] - lo[0])
    x0, y0 = np.floor(lo - grow).astype(int)
    w, h = np.ceil(hi - lo + 2 * grow).astype(int)
    gx, gy = np.meshgrid(np.arange(w) + x0, np.arange(h) + y0)
    patch = cv2.remap(
        image, gx.astype(np.float32), gy.astype(np.float32), cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    inside = polygon_mask(ring, (int(h), int(w)), (int(x0), int(y0)))
    sure = cv2.erode(inside.astype(np.uint8), np.ones((3, 3))) > 0
    filled = push_pull(patch.astype(np.float32), sure.astype(np.float32))
    fade = np.clip(1 - cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5) / max(grow, 1), 0.15, 1)
    colour = np.where(sure[..., None], patch, filled * fade[..., None])
    tall, wide = max(1, int(0.5 * grow)) * 2 + 1, max(1, int(0.12 * grow)) * 2 + 1
    shell = cv2.dilate(inside.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, tall))).astype(
        np.float32
    )
    if smile:
        columns, rows = inside.any(0), np.arange(h)[:, None]
        floor = np.where(columns, h - inside[::-1].argmax(0), 0)
        ceiling = np.where(columns, inside.argmax(0), h)
        shell *= rows <= floor
        # a lip that rises bares more tooth, then gum: never the dark of the mouth
        above = np.clip((ceiling - rows) / max(0.35 * grow, 1), 0, 1)[..., None]
        gum = np.array([178, 104, 100], np.float32) * float(
            np.clip(colour[sure].mean() / 190 if sure.any() else 0.8, 0.3, 1.1)
        )
        bared = (rows < ceiling) & columns
        colour = np.where(bared[..., None], filled * (1 - above) * 0.92 + gum * above * 0.9, colour)
        shell = np.maximum(shell, bared & (ceiling - rows < 0.9 * grow))
    # out of sight at rest it fades: lips that part farther show no straight edge
    sideways = np.where(inside.any(0), 1.0, np.clip(1 - gap_from(inside.any(0)) / max(0.4 * grow, 1), 0, 1))
    shell = np.asarray(cv2.GaussianBlur(shell, (0, 0), 0.7) * sideways, np.float32)
    return Cell("open mouth", np.asarray(colour, np.float32), shell, (int(x0), int(y0)), 0.4)


def gap_from(columns: NDArray[np.bool_]) -> F64:
    """(w,) distance of each column from the nearest true one."""
    at = np.flatnonzero(columns)
    return np.asarray(np.abs(np.arange(len(columns))[:, None] - at).min(1), np.float64) if len(at) else columns * 0.0


def teeth_cell(upper: bool, unit: float, tone: Array) -> Cell:
    """A drawn row of teeth with its gum, twelve across. unit: pixels per cm; tone: (3,) sRGB 0..255 of the enamel."""
    widths = TEETH_UPPER if upper else TEETH_LOWER
    height, gum = (0.92, 0.5) if upper else (0.7, 0.4)
    k = max(1, int(np.ceil(90 / unit)))  # draw large, scale down
    u = unit * k
    half = sum(widths)
    w, h = int(2 * half * u), int((height + gum) * u)
    gy, gx = np.mgrid[:h, :w].astype(np.float32)
    across, down = np.abs(gx - w / 2) / u, gy / u
    dim = np.clip(1.04 - 0.74 * (across / half) ** 1.8, 0.25, 1)[..., None]  # the arch runs back into the dark
    dim = dim * (0.8 + 0.2 * np.clip((down - gum) / height, 0, 1))[..., None]  # and lies in the lip's shadow
    picture = np.broadcast_to(np.array([150, 72, 72], np.float32) * (0.5 + 0.5 * tone.mean() / 230), (h, w, 3)).copy()
    picture[down > gum + 0.08] = tone * 0.74  # between the teeth it is shaded tooth that one sees, not gum
    alpha = (down < gum + 0.7 * height).astype(np.float32)
    left = 0.0
    for i, width in enumerate(widths):
        length = height * (1 - (0.07 if i == 1 and upper else 0.012 * i))
        x, y = (across - left - width / 2) / (width / 2), (down - gum - length / 2) / (length / 2)
        inside = np.clip((1 - np.abs(x * 0.985) ** 5 - np.abs(y) ** 6) * 6, 0, 1)
        edge = 1 - 0.12 * np.abs(x) ** 3 - 0.08 * np.clip(-y, 0, 1) ** 2
        picture += (tone * edge[..., None] - picture) * inside[..., None]
        alpha = np.maximum(alpha, inside)
        left += width
    picture *= dim
    if not upper:
        picture, alpha = picture[::-1], alpha[::-1]
    size = max(4, w // k), max(4, h // k)
    colour = cv2.GaussianBlur(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), (0, 0), 0.6)
    cover = cv2.resize(np.ascontiguousarray(alpha), size, interpolation=cv2.INTER_AREA)
    return Cell("upper teeth" if upper else "lower teeth", np.asarray(colour), np.asarray(cover), (0, 0), 0.45)


def cavity_cell(unit: float, width: float, level: float) -> Cell:
    """The dark of the mouth (cm `width` across): red flesh at the sides and below, the throat dark in the middle."""
    w, h = max(8, int(width * unit)), max(8, int(6.0 * unit))
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    x = np.linspace(-1, 1, w, dtype=np.float32)[None, :, None]
    flesh = np.array([128, 58, 56], np.float32) * (0.45 + 0.55 * level / 200)
    throat = np.exp(-((x / 0.55) ** 2) - ((y - 0.42) / 0.24) ** 2)
    colour = flesh * (0.5 + 0.3 * y) * (1 - 0.55 * throat)
    return Cell("mouth cavity", np.asarray(colour, np.float32), np.ones((h, w), np.float32), (0, 0), 0.1)


def tongue_cell(unit: float, level: float) -> Cell:
    """A tongue lying behind the lower teeth."""
    w, h = max(8, int(3.6 * unit)), max(8, int(2.4 * unit))
    gy, gx = np.mgrid[:h, :w].astype(np.float32)
    x, y = (gx / w - 0.5) * 2, gy / h
    # a dome without an edge: what lies behind it is as dark as its back
    top = smoothstep(y - 0.5 * (1 - np.sqrt(np.clip(1 - x**2, 0, 1))), 0.0, 0.3) * (np.abs(x) < 1)
    side = smoothstep(1 - np.abs(x), 0.0, 0.35)
    groove = 1 - 0.16 * np.exp(-((x / 0.10) ** 2)) * np.clip(y * 1.4, 0, 1)
    base = np.array([198, 104, 100], np.float32) * (0.5 + 0.5 * level / 200)
    depth = np.clip(y / 0.9, 0, 1)  # its back lies in the dark
    shade = (0.25 + 0.6 * smoothstep(depth, 0.0, 1.0)) * (0.6 + 0.4 * side) * groove
    return Cell(
        "tongue", np.asarray(base * shade[..., None], np.float32), np.asarray(top * side, np.float32), (0, 0), 0.35
    )


def pack(cells: list[Cell], width: int, top: int) -> tuple[list[tuple[int, int]], int]:
    """Shelf packing below the canvas: (x, y) of every cell in the atlas with a 2-pixel gap, and the atlas height."""
    places: dict[int, tuple[int, int]] = {}
    x, y, shelf = 2, top + 2, 0
    for i in sorted(range(len(cells)), key=lambda i: -cells[i].alpha.shape[0]):
        h, w = cells[i].alpha.shape
        if x + w + 2 > width:
            x, y, shelf = 2, y + shelf + 2, 0
        places[i] = (x, y)
        x, shelf = x + w + 2, max(shelf, h)
    return [places[i] for i in range(len(cells))], y + shelf + 2
