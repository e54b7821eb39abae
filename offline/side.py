"""The side of the cheek, from the face's outline straight back to the ear, as a texture of its own.

A photograph from the front shows nothing of it. What it shows beside the outline goes on: its colour, ever softer along
the outline, so that glasses' arms and hairs draw no stripes, and its grain, mirrored in the outline; farther back it
becomes what the head's shell shows there.

Convention: textures (rows, columns): rows straight back from the outline, 0 to BACK cm; columns along the outline from
the top of the forehead round to it again; linear colours, *both* (.., 6): albedo, then the photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.canonical import canonical
from narrate_stream.types import Array
from offline.facemesh import LANDMARKS, face_topology
from offline.layers import Cell
from offline.parts import F64, smoothstep
from offline.scalp import DIP

BACK = 7.0  # cm
ROWS, MOST = 64, 720  # texels
INSET, MIRROR = 0.12, 1.6  # cm inside the outline: where its colours are sure; how far the mirror looks in
NEAR, BASE = (0.03, 0.06, 0.09), (0.1, 0.2, 0.3, 0.4, 0.5)  # cm inside the outline: the middle one is its colour
SOFTER = (0.0, 0.12), (1.0, 0.5), (4.0, 1.3)  # cm back, cm along the outline over which that is averaged
GRAIN = 0.3  # cm: what is finer
UNUSUAL, STRONGEST = 2.5, 0.25  # of its usual contrast, and deviation of the logarithm: beyond, it is something else
DARK = 0.004  # linear: what is darker has no hue
FAR = 1.0, 4.0  # cm back over which it becomes what lies there
SOON = 0.2  # of that where hair hangs over it, and under the jaw
BESIDE, ALONG = (0.3, 0.5), 0.6  # cm outside the outline: skin of an ear, or hair; cm along over which it is averaged
ROUND = 1.2  # cm over which the cheek turns to the side
TURNED = 0.6, 1.2  # how far less or more light falls there than on the outline, in the photograph


@dataclass(frozen=True)
class Brim:
    """The outline of one face, of its vertices: pixels (V, 2), step (V, 2) pixels per cm outward."""

    pixels: F64
    step: F64


@lru_cache(maxsize=1)
def loop() -> tuple[NDArray[np.int64], F64]:
    """(n + 1,) vertices of the face's outline in order from the top of the forehead, which comes twice; (n + 1,) how
    far along they lie, cm of the canonical face."""
    topology = face_topology()
    points = topology.smooth @ canonical().landmarks[:LANDMARKS]
    rim = np.flatnonzero(topology.rim)
    middle = points[rim].mean(0)
    angle = np.arctan2(points[rim, 0] - middle[0], points[rim, 1] - middle[1]) % (2 * np.pi)
    order = rim[np.argsort(angle)]
    order = np.append(order, order[0])
    return order, np.append(0, np.cumsum(np.linalg.norm(np.diff(points[order], axis=0), axis=1)))


def side_cell(width: int) -> Cell:
    """The room that the texture takes in an atlas of `width` pixels."""
    shape = ROWS, int(np.clip(width - 8, 16, MOST))
    return Cell("side", np.zeros((*shape, 3), np.float32), np.ones(shape, np.float32), (0, 0), 0.2)


def places(depth: F64, cell: Cell, place: tuple[int, int]) -> F64:
    """(V, 2) where vertices of the outline, `depth` (V,) cm back, lie in an atlas with the cell at `place`."""
    order, along = loop()
    share = np.zeros(len(depth))
    share[order[:-1]] = along[:-1] / along[-1]
    h, w = cell.alpha.shape
    at = np.column_stack([share * (w - 1), np.clip(depth / BACK, 0, 1) * (h - 1)])
    return np.asarray(at + place, np.float64)


def on_loop(values: F64, columns: int) -> F64:
    """(columns, C) values (V, C) of vertices along the outline."""
    order, along = loop()
    at = np.linspace(0, along[-1], columns)
    return np.stack([np.interp(at, along, v) for v in values[order].T], -1)


def back_of(rows: int) -> F64:
    """(rows, 1) cm straight back."""
    return np.linspace(0, BACK, rows)[:, None]


def seen(picture: NDArray[Any], at: F64) -> Array:
    """(rows, columns, C) a picture (H, W, C) at pixels (rows, columns, 2)."""
    x, y = np.moveaxis(at.astype(np.float32), -1, 0)
    found = [
        cv2.remap(np.ascontiguousarray(picture[..., i]), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for i in range(picture.shape[-1])
    ]
    return np.stack(found, -1)


def averaged(line: Array, sigma: float) -> Array:
    """(columns, C) smooth along the closed outline over `sigma` texels."""
    n = len(line)
    wide = np.concatenate([line] * 3)[None].astype(np.float32)
    soft = cv2.GaussianBlur(wide, (0, 0), max(sigma, 0.3), sigmaY=0.1)
    return np.asarray(soft.reshape(3 * n, -1)[n : 2 * n])


def softened(lines: list[Array], rows: int, per_cm: float) -> Array:
    """(rows, columns, C) lines of colours (columns, C), one for each of SOFTER, on the way back; per_cm: columns."""
    back = back_of(rows)[:, 0]
    levels = [averaged(line, sigma * per_cm) for line, (_, sigma) in zip(lines, SOFTER, strict=True)]
    at = np.interp(back, [b for b, _ in SOFTER], np.arange(len(SOFTER)))
    low = np.minimum(at.astype(int), len(SOFTER) - 2)
    stack, share = np.stack(levels), (at - low)[:, None, None]
    return np.asarray(stack[low] * (1 - share) + stack[low + 1] * share, np.float32)


def what_follows(both: Array, brim: Brim, bare: F64, hair: F64, shell: Array) -> tuple[Array, Array]:
    """(rows, columns, 6) what the side becomes: what is seen beside the outline where that is `bare` skin or `hair`
    (V,) 0..1, else the shell's albedo (rows, columns, 3); and (columns,) how soon: where hair hangs over it, and under
    the jaw. both (H, W, 6) of the canvas."""
    columns = shell.shape[1]
    outline, step = on_loop(brim.pixels, columns), on_loop(brim.step, columns)
    sigma = ALONG * columns / loop()[1][-1]
    beside = averaged(seen(both, outline + step * np.array(BESIDE)[:, None, None]).mean(0), sigma)
    inside = averaged(seen(both, outline - step * np.array(BASE)[:, None, None]).mean(0), sigma)
    behind = np.concatenate([shell, shell * (inside[:, 3:] + DARK) / (inside[:, :3] + DARK)], -1)
    under = (brim.step[:, 1] > np.abs(brim.step[:, 0])) * bare
    marks = np.column_stack([np.maximum(bare, hair), np.maximum(hair, under)])
    share = averaged(on_loop(marks, columns).astype(np.float32), sigma)
    made = behind + (beside - behind) * share[:, :1]
    return np.asarray(made, np.float32), share[:, 1]


def grain(both: Array, outline: F64, step: F64, rows: int, per_cm: float) -> Array:
    """(rows, columns, 1) factors of fine detail, mirrored in the outline (columns, 2) pixels; step: per cm outward."""
    inward = INSET + MIRROR - np.abs(MIRROR - back_of(rows) % (2 * MIRROR))
    tone = np.log(seen(both[..., :3], outline - step * inward[..., None]).mean(-1) + np.float32(DARK))
    fine = tone - cv2.GaussianBlur(tone, (0, 0), GRAIN * per_cm, sigmaY=GRAIN * rows / BACK)
    most = min(UNUSUAL * float(np.median(np.abs(fine))), STRONGEST)
    return np.asarray(np.exp(np.clip(fine, -most, most)))[..., None]


def side_normals(inside: F64, step: F64, rows: int) -> F64:
    """(rows, columns, 3) unit: from those of the cheek `inside` (columns, 3) to outward, `step` (columns, 2) pixels."""
    aside = np.column_stack([step[:, 0], -step[:, 1], DIP * np.linalg.norm(step, axis=1)])
    aside /= np.linalg.norm(aside, axis=1, keepdims=True) + 1e-9
    made = inside + (aside - inside) * smoothstep(back_of(rows), 0.0, ROUND)[..., None]
    return np.asarray(made / (np.linalg.norm(made, axis=-1, keepdims=True) + 1e-9))


def side_colours(both: Array, brim: Brim, far: Array, soon: Array, shading: F64) -> tuple[Array, Array]:
    """(rows, columns, 3) albedo and colours in the portrait's own light. both (H, W, 6) of the canvas; far (rows,
    columns, 6) what it becomes, soon (columns,) 0..1 how soon; shading (rows, columns) by the portrait's light."""
    rows, columns = shading.shape
    per_cm = columns / loop()[1][-1]
    outline, step = on_loop(brim.pixels, columns), on_loop(brim.step, columns)
    near, base = (np.median(seen(both, outline - step * np.array(b)[:, None, None]), 0) for b in (NEAR, BASE))
    begin = softened([near, base, base], rows, per_cm)
    dark = np.clip(shading / np.maximum(shading[:1], 1e-3), *TURNED)[..., None]
    begin[..., 3:] *= dark
    share = smoothstep(back_of(rows) / (1 + (SOON - 1) * soon), *FAR)[..., None]
    made = np.clip((begin + (far - begin) * share) * grain(both, outline, step, rows, per_cm), 0, 1)
    return np.asarray(made[..., :3], np.float32), np.asarray(made[..., 3:], np.float32)
