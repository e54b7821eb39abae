"""The creases of one model's skin, at the resolution of its colours: finer than the live light's map can hold.

The map of light gets, where skin creases, by how much light changes with a tilt of the surface (`slopes`); that, times
the tilt of every pixel, deepens the creases where the light is laid on. The reference tilts normals pixel by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from narrate_stream.bundle import HybridModel
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.creases import GROUPS, LASHES, RIGHT_SIDE, RIM, SHALLOWEST, Crease, curve_points, profile
from narrate_stream.types import Array

F64 = NDArray[np.float64]
REACH = 6.0  # widths of a crease, beyond which it does nothing
TAPER = 0.25  # of a curve, in which it begins and ends
RANGE = (0.4, 4.0)  # how far creases may darken and brighten
ABOVE_RIM = (33, 246, 161, 160, 159, 158, 157, 173, 133, 189, 221, 222, 223, 224, 225, 113)  # the skin of an upper lid
LINE, LASHES_END = 0.45, (0.12, 0.3)  # cm: wider dark lines on a lid are no folds; over which its lashes end


@dataclass(frozen=True)
class Field:
    """One group at its deepest, in a box of the picture: tilt (h, w, 5), what is added to the normal's x and y (right
    and up) and the share of red, green and blue light kept off."""

    box: tuple[slice, slice]
    tilt: Array


class Creases:
    """All groups of one model, for pictures of the atlas of one size (h, w)."""

    def __init__(self, model: HybridModel, shape: tuple[int, ...]) -> None:
        self.shape = shape[:2]
        k = shape[1] / model.alpha.shape[1]
        marks = (model.source[:468, :2].astype(np.float64) + 0.5) * k - 0.5
        eyes = float(np.linalg.norm(model.neutral[33] - model.neutral[263]))
        self.fields: list[Field] = []
        if len(marks) < 468 or eyes < 1e-3:  # a mesh that is no face
            return
        unit = float(np.linalg.norm(marks[33] - marks[263])) / eyes
        bald = 1 - cv2.resize(model.material[..., 3], self.shape[::-1], interpolation=cv2.INTER_AREA) / np.float32(255)
        sides = zip(GROUPS, RIGHT_SIDE, strict=True)
        self.fields = [field_of(group, right, marks, unit, bald) for group, right in sides]
        picture = cv2.resize(model.texture, self.shape[::-1], interpolation=cv2.INTER_AREA)
        for group in LASHES:
            self.fields[group] = joined(self.fields[group], unfolded(picture, bool(RIGHT_SIDE[group]), marks, unit))

    def tilt(self, amplitudes: Array) -> Array:
        """(h, w, 5) the tilt of every pixel, see `Field`."""
        out = np.zeros((*self.shape, 5), np.float32)
        for field, amplitude in self.active(amplitudes):
            out[field.box] += amplitude * field.tilt
        return out

    def active(self, amplitudes: Array) -> list[tuple[Field, np.float32]]:
        """The groups that are to be seen, with their depth."""
        pairs = zip(self.fields, amplitudes, strict=False)  # a face at rest has no amplitudes
        return [(field, a) for field, a in pairs if a > SHALLOWEST and field.tilt.size]

    def deepen(self, root: Array, slopes: tuple[Array, Array], amplitudes: Array) -> None:
        """Into root (h, w, 3), the square root of the light, in place. slopes: of every texel of the map (h', w', 3),
        by how much its light changes with a tilt to the right and up, over that light."""
        for field, amplitude in self.active(amplitudes):
            right, up = (enlarged(s, self.shape, field.box) for s in slopes)
            tilt = amplitude * field.tilt
            change = right * tilt[..., :1] + up * tilt[..., 1:2] - tilt[..., 2:]
            root[field.box] *= np.sqrt(np.clip(1 + change, *RANGE))


def enlarged(small: Array, shape: tuple[int, ...], box: tuple[slice, slice]) -> Array:
    """A box of a map (h', w', C) enlarged to `shape` (h, w), as `cv2.resize` enlarges it."""
    down, across = box
    ky, kx = small.shape[0] / shape[0], small.shape[1] / shape[1]
    move = np.array([[kx, 0, (across.start + 0.5) * kx - 0.5], [0, ky, (down.start + 0.5) * ky - 0.5]])
    size = across.stop - across.start, down.stop - down.start
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(small, move, size, flags=how, borderMode=cv2.BORDER_REPLICATE), np.float32)


def field_of(group: tuple[Crease, ...], right: bool | None, marks: F64, unit: float, bald: Array) -> Field:
    """A group on a face with landmarks `marks` (468, 2) pixels, `unit` pixels to the cm, on its right side, its left or
    (None) on both; bald (h, w): where skin shows."""
    sides = (True, False) if right is None else (right,)
    mirror = canonical().mirror[:468]
    curves = [(c, side, curve_points(marks if side else marks[mirror], c.knots)) for c in group for side in sides]
    reach = REACH * unit * max(c.width for c in group)
    every = np.concatenate([points for *_, points in curves])
    lo = np.maximum(np.floor(every.min(0) - reach), 0).astype(int)
    hi = np.minimum(np.ceil(every.max(0) + reach), np.array(bald.shape[::-1]) - 1).astype(int)
    box = slice(lo[1], max(hi[1] + 1, lo[1])), slice(lo[0], max(hi[0] + 1, lo[0]))
    at = np.stack(np.meshgrid(np.arange(lo[0], box[1].stop), np.arange(lo[1], box[0].stop)), -1).astype(np.float64)
    tilt = np.zeros((*at.shape[:2], 5))
    for crease, side, points in curves:
        tilt += tilted(crease, points, at, unit, 1.0 if side else -1.0)
    return Field(box, (tilt * bald[box][..., None]).astype(np.float32))


def tilted(crease: Crease, points: F64, at: F64, unit: float, outer: float) -> F64:
    """(h, w, 5) what one crease along points (n, 2) does to pixels at (h, w, 2); outer: 1 or -1, on which hand its
    outer side lies."""
    n = len(points)
    far, nearest = cKDTree(points).query(at, distance_upper_bound=REACH * crease.width * unit)
    found = nearest < n
    nearest = np.minimum(nearest, n - 1)
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    step, t = at - points[nearest], along[nearest]
    across = outer * (t[..., 0] * step[..., 1] - t[..., 1] * step[..., 0]) / unit
    slope, kept_off = profile(across, crease)
    ends = np.clip(np.minimum(nearest, n - 1 - nearest) / (TAPER * (n - 1)), 0, 1) * found
    beyond = np.maximum(np.where(found, far, 0) / unit - np.abs(across), 0) / crease.width  # its ends
    ends *= np.exp(-0.5 * beyond**2)
    toward = outer * np.stack([-t[..., 1], t[..., 0]], -1)  # in which the distance grows, x right and y down
    tilt = np.stack([-slope * toward[..., 0], slope * toward[..., 1], *[kept_off] * 3], -1)
    return np.asarray(tilt * (ends**2 * (3 - 2 * ends))[..., None])


def unfolded(picture: NDArray[np.uint8], right: bool, marks: F64, unit: float) -> Field:
    """By how much the folds of an upper lid, dark lines in the picture of the atlas (h, w, 3), get brighter when it is
    shut and smooth; lashes stay. marks (468, 2) pixels, `unit` to the cm."""
    h, w = picture.shape[:2]
    mirror = canonical().mirror[:468]
    rim, around = ((marks if right else marks[mirror])[list(ring)] for ring in (RIM, ABOVE_RIM))
    edge = 2 * LINE * unit
    x0, y0 = np.clip(np.floor(around.min(0) - edge), 0, [w, h]).astype(int)
    x1, y1 = np.clip(np.ceil(around.max(0) + edge), 0, [w, h]).astype(int)
    box = slice(y0, y1), slice(x0, x1)
    tilt = np.zeros((y1 - y0, x1 - x0, 5), np.float32)
    if tilt.size == 0:
        return Field(box, tilt)
    light = linear_table()[picture[box]]
    side = 2 * round(LINE * unit / 2) + 1
    smooth = cv2.morphologyEx(light, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    smooth = cv2.GaussianBlur(smooth, (0, 0), max(0.15 * unit, 0.5))
    canvas = np.zeros(light.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [np.round(around - [x0, y0]).astype(np.int32)], 1)
    lashes = np.ones(light.shape[:2], np.uint8)
    cv2.polylines(lashes, [np.round(rim - [x0, y0]).astype(np.int32)], False, 0)
    far = cv2.distanceTransform(lashes, cv2.DIST_L2, 5) / unit
    share = cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), max(0.12 * unit, 0.5)) * canvas
    share *= np.clip((far - LASHES_END[0]) / (LASHES_END[1] - LASHES_END[0]), 0, 1)
    tilt[..., 2:] = share[..., None] * np.clip(1 - smooth / np.maximum(light, 1e-3), 1 - RANGE[1], 0)
    return Field(box, tilt)


def joined(one: Field, other: Field) -> Field:
    """Two fields of one group as one."""
    (a, b), (c, d) = one.box, other.box
    box = slice(min(a.start, c.start), max(a.stop, c.stop)), slice(min(b.start, d.start), max(b.stop, d.stop))
    tilt = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start, 5), np.float32)
    for (down, across), part in ((one.box, one.tilt), (other.box, other.tilt)):
        tilt[down.start - box[0].start :, across.start - box[1].start :][: part.shape[0], : part.shape[1]] += part
    return Field(box, tilt)
