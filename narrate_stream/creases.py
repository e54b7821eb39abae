"""The creases of one model's skin, at the resolution of its colours: finer than the live light's map can hold.

The map of light gets, where skin creases, by how much light changes with a tilt of the surface (`slopes`); that, times
the tilt of every pixel, deepens the creases where the light is laid on. The reference tilts normals pixel by pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from narrate_stream.bundle import HybridModel
from narrate_stream.lids import shut_lid
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.creases import GROUPS, RIGHT_SIDE, SHALLOWEST, Crease, curve_points, profile
from narrate_stream.types import Array

F64 = NDArray[np.float64]
REACH = 6.0  # widths of a crease, beyond which it does nothing
TAPER = 0.25  # of a curve, in which it begins and ends
BESIDE = 1.5  # cm from the middle of the lips at which a piece of the inside of the mouth is seen
RANGE = (0.4, 4.0)  # how far creases may darken and brighten


@dataclass(frozen=True)
class Field:
    """One group at its deepest, in a box of the picture: tilt (h, w, 5), what is added to the normal's x and y (right
    and up) and the share of red, green and blue light kept off."""

    box: tuple[slice, slice]
    tilt: Array

    @cached_property
    def bends(self) -> bool:
        """Whether it tilts anything: lids and mouths only change what light there is."""
        return bool(self.tilt[..., :2].any())


class Creases:
    """All groups of one model, then its upper lids' skin and the pieces of the inside of its mouth, for a picture of
    its atlas (h, w, 3): the albedo or the portrait's own light. A lid gets brighter by as much as it is dark there."""

    def __init__(self, model: HybridModel, picture: NDArray[np.uint8]) -> None:
        self.shape, self.picture = picture.shape[:2], picture
        k = picture.shape[1] / model.alpha.shape[1]
        marks = (model.source[:468, :2].astype(np.float64) + 0.5) * k - 0.5
        eyes = float(np.linalg.norm(model.neutral[33] - model.neutral[263]))
        self.fields: list[Field] = []
        self._lines: list[Field] = []
        self._mouth: list[Field] = []
        if len(marks) < 468 or eyes < 1e-3:  # a mesh that is no face
            return
        unit = float(np.linalg.norm(marks[33] - marks[263])) / eyes
        bald = 1 - cv2.resize(model.material[..., 3], self.shape[::-1], interpolation=cv2.INTER_AREA) / np.float32(255)
        sides = zip(GROUPS, RIGHT_SIDE, strict=True)
        self._marks, self._unit = marks, unit
        self._lines = [field_of(group, right, marks, unit, bald) for group, right in sides]
        self._mouth = inside_of_mouth(model, self.shape, unit)
        self.lay_on(picture)

    def lay_on(self, picture: NDArray[np.uint8]) -> None:
        """Another picture of the atlas, of the same size, from now on."""
        self.picture = picture
        sides = (True, False) if self._lines else ()
        lids = [lid_of(picture, right, self._marks, self._unit) for right in sides]
        self.fields = [*self._lines, *lids, *self._mouth]

    def tilt(self, amplitudes: Array) -> Array:
        """(h, w, 5) the tilt of every pixel, see `Field`."""
        out = np.zeros((*self.shape, 5), np.float32)
        for field, amplitude in self.active(amplitudes):
            part, more = out[field.box], amplitude * field.tilt
            more[..., 2:] *= 1 - part[..., 2:]  # each keeps off a share of what the others let through
            part += more
        return out

    def active(self, amplitudes: Array) -> list[tuple[Field, np.float32]]:
        """The groups that are to be seen, with their depth."""
        rest = len(amplitudes) == 0  # a face at rest has no amplitudes
        depths = [] if rest else [*amplitudes, *[amplitudes[-1]] * (len(self._mouth) - 1)]
        pairs = zip(self.fields, depths, strict=False)
        return [(field, a) for field, a in pairs if a > SHALLOWEST and field.tilt.size]

    def deepen(self, root: Array, slopes: tuple[Array, Array], amplitudes: Array) -> None:
        """Into root (h, w, 3), the square root of the light, in place. slopes: of every texel of the map (h', w', 3),
        by how much its light changes with a tilt to the right and up, over that light."""
        for field, amplitude in self.active(amplitudes):
            tilt = amplitude * field.tilt
            light = 1 - tilt[..., 2:]
            if field.bends:
                right, up = (enlarged(s, self.shape, field.box) for s in slopes)
                light *= np.clip(1 + right * tilt[..., :1] + up * tilt[..., 1:2], *RANGE)
            root[field.box] *= np.sqrt(light)


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


def inside_of_mouth(model: HybridModel, shape: tuple[int, ...], unit: float) -> list[Field]:
    """The atlas cells that are seen between the lips, in a picture of `shape` (h, w), `unit` pixels to the cm."""
    k, middle = shape[1] / model.alpha.shape[1], model.source[[13, 14], :2].mean(0)
    seen = np.linalg.norm(model.cells[:, 4:] - middle, axis=1) < BESIDE * unit / k
    fields = []
    for x, y, w, h in model.cells[seen, :4] * k:
        ends = (min(math.ceil(end), most) for end, most in zip((y + h, x + w), shape, strict=True))
        box = slice(math.floor(y), next(ends)), slice(math.floor(x), next(ends))
        tilt = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start, 5), np.float32)
        tilt[..., 2:] = 1
        fields.append(Field(box, tilt))
    return fields


def lid_of(picture: NDArray[np.uint8], right: bool, marks: F64, unit: float) -> Field:
    """By how much the skin of an upper lid changes in the picture of the atlas (h, w, 3) when it is shut and smooth.
    marks (468, 2) pixels, `unit` to the cm."""
    box, brighter = shut_lid(picture, marks if right else marks[canonical().mirror[:468]], unit)
    tilt = np.zeros((*brighter.shape[:2], 5), np.float32)
    tilt[..., 2:] = -brighter
    return Field(box, tilt)
