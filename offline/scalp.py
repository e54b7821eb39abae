"""Hair where nobody saw it: the back of the head, continued from the hair that the photograph shows at its outline.

Colour goes on, row by row, from where the head's shell turns away from the camera, and gets darker on the way round;
over it run strands from the crown down, as strong in contrast as those that are seen.

Convention: textures (h, w) of the shell as in `offline/complete.py`, period columns round the head; maps (H, W) over
the canvas at the size of the depth maps; linear colours, *both* (.., 6): albedo, then the photograph.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import linear_table, luminance
from narrate_stream.types import Array, Image
from offline.parts import F64, disc, smoothstep
from offline.preprocess import push_pull
from offline.skin import like_cheek

ALIKE = 2.2  # deviations from the colour of the face's skin within which a texel is skin
UNLIKE = 0.5  # likeness to the nearest cheek below which it is none
PIECE = 0.05  # of the largest: smaller ones are ears, or shine
HIGH, LOW = 1.0, -11.0  # cm, head space: above everything on the head that is not skin is hair, or a hat; below, cloth
AS_ABOVE, LOCK = 2.0, 0.5  # deviations from its colour within which it goes on below, as long hair; cm, half a lock
SOFT, WIDE = 0.7, 1.0  # cm over which hair's colour, and whether there is any, are averaged
GAPS = 1.0  # cm: half the width of gaps in it that are none: shine, and ears
HANGS = 0.12  # of its colour that is made anew from texel to texel downward
ROUGH = 2.0  # times the detail of skin: hair, whatever its colour
EDGE = 0.25  # cosine to the camera to which the photograph is asked
DARKER = 0.3  # less light at the very back, within the hair
STRANDS = (0.7, 5.0, 0.6), (2.2, 12.0, 0.5)  # texels across and along, share: of fine strands and of locks
WAVE = 5.0, 14.0  # texels by which, and over which, locks are bent
LIVELY = 0.04, 0.3  # contrast of strands, deviation of the logarithm: least and most
SHEEN = 0.02  # linear
FINE = 0.25  # cm: finer than this is strands, coarser is colour
DIP = 0.35  # least z of the normals of what was not seen: no light from behind makes it brighter than its outline


@dataclass(frozen=True)
class SeenHair:
    """both (H, W, 6) its colours, soft and everywhere; sure (H, W) 0..1 how far they are its own; there (H, W) 0..1
    whether it covers what is beside the face; mean (6,); contrast of its strands (deviation of the logarithm)."""

    both: Array
    sure: Array
    there: Array
    mean: Array
    contrast: float


@dataclass(frozen=True)
class Ends:
    """Where rows of the shell turn away from the camera: column (h, 2) to the right and to the left of the front;
    back (h, w) how far round from the one to the other a texel is, 0 and 1 in front of them."""

    column: F64
    back: F64


def like_skin(colour: Array, skin: Array, within: float = ALIKE) -> NDArray[np.bool_]:
    """(h, w) true where a linear `colour` (h, w, 3) is that of the sample of `skin` (n, 3)."""
    tone: F64 = np.log(np.maximum(skin.astype(np.float64), 1e-3))
    middle = np.median(tone, 0)
    spread = np.maximum(1.48 * np.median(np.abs(tone - middle), 0), 0.1)
    off = (np.log(np.maximum(colour.astype(np.float64), 1e-3)) - middle) / spread
    return np.asarray(np.sqrt((off**2).mean(-1)) < within)


def hair_mask(
    albedo: Array, cheek: F64, rough: Array, solid: NDArray[np.bool_], face: NDArray[np.bool_], height: F64, unit: float
) -> NDArray[np.bool_]:
    """(H, W) hair, and what else covers a head; cheek (H, W) 0..1 likeness to the skin beside; rough (H, W) contrast of
    fine detail; height (H, W) cm, head space; unit: cm per pixel."""
    inner = cv2.erode(face.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    skin = albedo[inner]
    if len(skin) < 50:
        return np.zeros_like(face)
    beside = solid & (cv2.dilate(face.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0) & (height > LOW)
    other = (cheek < UNLIKE) | (rough > ROUGH * np.median(rough[inner]))
    hair = at_outline(beside & other & (height > HIGH), solid)
    sample = albedo[hair]
    if len(sample) > 50:
        below = beside & (cheek < UNLIKE) & like_skin(albedo, sample, AS_ABOVE) & ~hair
        hair |= cv2.morphologyEx(below.astype(np.uint8), cv2.MORPH_OPEN, disc(LOCK / unit)) > 0
    return hair


def at_outline(mask: NDArray[np.bool_], solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) the large pieces of a mask that reach the border of what is `solid`: no shine on a forehead, no ear."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    label = cv2.connectedComponents(opened)[1]
    border = cv2.dilate((~solid).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    size = np.bincount(label.ravel()) * np.isin(np.arange(label.max() + 1), label[border])
    size[0] = 0
    return np.asarray((size >= max(PIECE * float(size.max()), 1.0))[label], np.bool_)


def roughness(grey: Array, sigma: float) -> Array:
    """(H, W) deviation of the logarithm of `grey` (H, W) around its mean over `sigma` pixels."""
    level = np.log(np.maximum(grey, 1e-3))
    fine = level - cv2.GaussianBlur(level, (0, 0), sigma)
    return np.asarray(np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), sigma)), np.float32)


def seen_hair(
    albedo: Array, colours: Image, solid: NDArray[np.bool_], face: NDArray[np.bool_], height: F64, unit: float
) -> SeenHair:
    """What is to be known of the hair in the photograph. albedo, linear, and colours, sRGB, of any size; solid (H, W)
    where the matte is sure; face (H, W); unit: cm per map pixel."""
    size = face.shape[::-1]
    per_cm = albedo.shape[1] / (size[0] * unit)
    rough = roughness(luminance(albedo).astype(np.float32), FINE * per_cm)
    small, seen, grain = (
        cv2.resize(a, size, interpolation=cv2.INTER_AREA) for a in (albedo, linear_table()[colours], rough)
    )
    hair = hair_mask(small, like_cheek(colours, face, unit), grain, solid, face, height, unit)
    weight = hair.astype(np.float32)
    inner = cv2.erode(weight, np.ones((3, 3), np.uint8))  # beside skin the colours are mixed
    both = np.concatenate([small, seen], -1).astype(np.float32)
    dark = inner / np.sqrt(luminance(small) + SHEEN)  # what shines there is less the colour of hair
    soft, total = (cv2.GaussianBlur(a, (0, 0), SOFT / unit) for a in (inner, dark))
    mean = cv2.GaussianBlur(both * dark[..., None], (0, 0), SOFT / unit) / np.maximum(total, 1e-4)[..., None]
    beside = solid & ~face
    whole = cv2.morphologyEx(weight, cv2.MORPH_CLOSE, disc(GAPS / unit)) * beside
    around, every = (cv2.GaussianBlur(np.asarray(a, np.float32), (0, 0), WIDE / unit) for a in (whole, beside))
    share = np.repeat((around / np.maximum(every, 0.02))[..., None], 3, -1)
    there = push_pull(share, np.clip(every * 4, 0, 1))[..., 0]
    contrast = float(np.clip(np.median(grain[hair]), *LIVELY)) if hair.any() else LIVELY[0]
    sure = np.clip(soft * 4, 0, 1)
    everywhere = np.concatenate([push_pull(mean[..., i : i + 3], sure) for i in (0, 3)], -1)
    darkest = inner / (luminance(small) + SHEEN)  # of all that is hair: an ear among it must not count
    average = (both * darkest[..., None]).sum((0, 1)) / max(float(darkest.sum()), 1e-6)
    return SeenHair(everywhere, np.asarray(sure, np.float32), np.clip(there, 0, 1), average, contrast)


def ends_of(facing: F64, period: int) -> Ends:
    """The `Ends` of a texture of cosines to the camera (h, w)."""
    turns = facing[:, :period]
    angle = np.arange(period) * 2 * np.pi / period
    front = np.angle(((turns - turns.min(1, keepdims=True)) ** 4) @ np.exp(1j * angle)) / (2 * np.pi) * period
    order = (np.round(front).astype(int)[:, None] + np.arange(period)) % period
    away = np.take_along_axis(turns, order, 1) < EDGE
    reach = [np.where(a.any(1), a.argmax(1), period // 2) for a in (away, np.roll(away[:, ::-1], 1, 1))]
    right, left = (cv2.GaussianBlur(a.astype(np.float64)[:, None], (0, 0), 3.0).ravel() for a in reach)
    along = (np.arange(facing.shape[1]) - front[:, None]) % period
    back = np.clip((along - right[:, None]) / np.maximum(period - left - right, 1.0)[:, None], 0, 1)
    return Ends(np.stack([front + right, front - left], -1) % period, back)


def at_ends(values: Array, at: F64, ends: Ends) -> list[Array]:
    """Two of (h, w, C): a map's `values` (H, W, C) where the shell is seen at `at` (h, w, 2) map pixels; behind its
    ends those at the right end, and at the left."""
    row = np.arange(len(at), dtype=np.float32)
    hidden = (ends.back > 0) & (ends.back < 1)
    found = []
    for column in ends.column.T.astype(np.float32):
        end = cv2.remap(at.astype(np.float32), column[:, None], row[:, None], cv2.INTER_LINEAR)
        found.append(sampled(values, np.where(hidden[..., None], end, at)))
    return found


def sampled(values: Array, place: F64) -> Array:
    """(h, w, C) a map's `values` (H, W, C) at `place` (h, w, 2) map pixels."""
    x, y = np.moveaxis(place.astype(np.float32), -1, 0)
    planes = (np.ascontiguousarray(values[..., i]) for i in range(values.shape[-1]))
    found = [cv2.remap(p, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for p in planes]
    return np.stack(found, -1)


def continued(values: Array, at: F64, ends: Ends) -> Array:
    """(h, w, C) a map's `values` (H, W, C) on the shell, and from both its ends on round the back."""
    right, left = at_ends(values, at, ends)
    return np.asarray(right + (left - right) * smoothstep(ends.back, 0.3, 0.7)[..., None], np.float32)


def strands(shape: tuple[int, int], period: int) -> Array:
    """(h, w) strands from the crown down: mean 0, deviation 1, the same for every head."""
    rng = np.random.default_rng(7)
    h, w = shape

    def noise(across: float, along: float) -> Array:
        field = np.tile(rng.standard_normal((h, period)).astype(np.float32), (1, 3))
        soft = cv2.GaussianBlur(field, (0, 0), across, sigmaY=along)[:, period : 2 * period]
        return np.asarray(soft / soft.std(), np.float32)

    straight = sum(share * noise(across, along) for across, along, share in STRANDS)
    bend, length = WAVE
    x, y = np.meshgrid(np.arange(w, dtype=np.float32) % period, np.arange(h, dtype=np.float32))
    x = x + bend * noise(length, length)[:, np.arange(w) % period]
    made = cv2.remap(np.asarray(straight), x % period, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(made / made.std(), np.float32)


def hanging(colour: Array, sure: Array, first: Array) -> Array:
    """(h, w, C) colours that go on downward from row to row, at first from `first` (C,), where not `sure` (h, w)."""
    made, last = np.empty_like(colour), np.broadcast_to(first, colour.shape[1:]).astype(np.float32)
    for row, share in enumerate(HANGS * sure[..., None]):
        last = last + (colour[row] - last) * share
        made[row] = last
    return made


def grown_hair(hair: SeenHair, at: F64, ends: Ends, period: int) -> Array:
    """(h, w, 6) hair all over the shell, both colours; at (h, w, 2) map pixels where its texels are seen."""
    inward = smoothstep(np.asarray(2.0 * np.minimum(ends.back, 1 - ends.back), np.float64), 0.0, 0.6)
    rows, columns = ends.back.shape
    tone = hair.contrast * strands((rows, columns), period) + np.log(1 - DARKER * inward)
    known = np.dstack([hair.both, hair.sure])
    found = continued(known, at, ends)
    return np.asarray(hanging(found[..., :6], found[..., 6], hair.mean) * np.exp(tone)[..., None], np.float32)


def dipped(normal: F64, share: F64) -> F64:
    """(h, w, 3) unit normals that as far as `share` (h, w) says look no farther away from the camera than DIP."""
    z = normal[..., 2]
    least = DIP * np.exp(np.minimum(z - DIP, 0) / DIP)  # meets z at DIP with the same slope, and never gets below 0
    lifted = normal.copy()
    lifted[..., 2] = np.where(z < DIP, z + (least - z) * share, z)
    return np.asarray(lifted / (np.linalg.norm(lifted, axis=-1, keepdims=True) + 1e-9))
