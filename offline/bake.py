"""Baking: the horizons of the finished mesh, from which shadows come, and the packed surface texture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from narrate_stream.kernels.visibility import distances
from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.horizon import AZIMUTHS, encoded, transfer
from narrate_stream.ops.lighting import EXTENT, encode_normals, sh_basis
from offline.geometry import Surface
from offline.layers import INNER_LOWER, INNER_UPPER, LEFT_EYE, RIGHT_EYE, polygon_mask
from offline.march import NOWHERE, highest
from offline.multigrid import Membrane, solve
from offline.relief import finer, relief_of, with_relief
from offline.volume import spread, thinned

F64 = NDArray[np.float64]
HORIZON_SIZE = 192  # longer side of the horizon maps: an edge is two pixels of a 512 frame
STEPS = 44
NEAREST = 0.08  # cm: what lies nearer than this beside a point is the point itself
ROUND = 0.25  # radians: what stands within a cm beside a point does not stop light, which goes round inside the skin
STEP = 0.6  # cm between neighbours: the border of one thing before another
FOLD = 3  # texels: where the mesh folds over itself, at the nose's wings, is narrower than this
SOFT = 0.7  # texels: layers of hair, jaw and collar meet in steps as wide as a texel, and so would their shadows
CALM, POCKET = 0.6, 1.6  # cm: how smooth, and half the width of the pits that are filled, as between ear and cheek


def horizons(points: F64, seen_from: F64 | None = None, count: int = AZIMUTHS) -> NDArray[np.uint8]:
    """(count, h, w) the highest elevation at which points (h, w, 3) hide the sky (`ops.horizon`) from `seen_from`
    (h, w, 3), by default themselves."""
    h, w = points.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float32)
    whole = points.astype(np.float32)
    at = whole if seen_from is None else seen_from.astype(np.float32)
    turns = 2 * np.pi * np.arange(count) / count
    made = [highest(whole, x, y, at, float(turn), steps=STEPS, nearest=NEAREST, slack=ROUND) for turn in turns]
    return np.stack([encoded(plane) for plane in made])


def bake_horizons(
    surface: Surface, mesh: dict[str, NDArray[Any]], alpha: NDArray[Any], marks: F64, hair: F64
) -> NDArray[np.uint8]:
    """(A, h, w) horizons of the person, whom alpha (H, W) of the canvas covers; the background hides nothing.

    The face's are those of its fine relief, the mesh's own; the rest is `calmed`, and as far as it is `hair` (0..1, of
    the surface's shape) a volume. In the openings of eyes and mouth, marks (478, 3) pixels, the surface goes on:
    eyeballs and teeth lie behind it by more than their shadows should show.
    """
    h, w = surface.z.shape
    k = HORIZON_SIZE / max(h, w)
    size = max(4, round(w * k)), max(4, round(h * k))
    count = finer(surface.unit / k)
    pixels, z, skin, somebody = front_of(surface, mesh, alpha, marks, (count * size[0], count * size[1]))
    z = thinned(z, cv2.resize(hair, (count * size[0], count * size[1])) * ~skin)
    relief = relief_of(surface.camera, pixels, z, somebody, skin, size)
    pixels, z, skin, somebody = front_of(surface, mesh, alpha, marks, size)
    z = np.where(skin, cv2.medianBlur(z.astype(np.float32), FOLD), z)
    face = cv2.resize(surface.face.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    own = np.where(cv2.erode(face.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0, z, in_front(z))
    share = cv2.resize(hair, size, interpolation=cv2.INTER_AREA)
    z = np.where(somebody, thinned(z, share), NOWHERE)
    made = horizons(with_depth(surface.camera, pixels, z), with_depth(surface.camera, pixels, own))
    made = np.stack([(spread(plane, share, surface.unit / k) + 0.5).astype(np.uint8) for plane in made])
    if somebody.any():
        rows, columns = distance_transform_edt(~somebody, return_distances=False, return_indices=True)
        made = made[:, rows, columns]  # a soft edge looks up beyond it
    soft = np.stack([cv2.GaussianBlur(cv2.medianBlur(plane, FOLD), (0, 0), SOFT) for plane in made])
    return with_relief(soft, relief)


def front_of(
    surface: Surface, mesh: dict[str, NDArray[Any]], alpha: NDArray[Any], marks: F64, size: tuple[int, int]
) -> tuple[F64, F64, NDArray[np.bool_], NDArray[np.bool_]]:
    """At `size` (w, h): pixels (h, w, 2) of the surface's map, z (h, w) of what is seen there, the mesh's on the skin
    of the face (h, w), and where somebody is (h, w)."""
    h, w = surface.z.shape
    kx, ky = size[0] / w, size[1] / h
    x, y = np.meshgrid((np.arange(size[0]) + 0.5) / kx - 0.5, (np.arange(size[1]) + 0.5) / ky - 0.5)
    pixels = np.stack([x, y], -1)
    face = cv2.resize(surface.face.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    z = cv2.resize(calmed(surface), size, interpolation=cv2.INTER_AREA)
    front = front_depth(mesh["vertices"], mesh["triangles"], surface.camera.unproject(pixels, -1.0))
    eyes, mouth = openings(marks * kx * w / alpha.shape[1], (size[1], size[0]))
    skin = face & ~(eyes | mouth) & (front < 0)
    z[skin] = front[skin]
    z = bridged(z, mouth)  # the lips' inner rims lie deep: teeth would lie in a gorge
    somebody = cv2.resize(alpha.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    return pixels, z, skin, somebody


def openings(marks: F64, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(h, w) within the lids and (h, w) between the lips, each with a texel around."""
    right, left, mouth = (
        cv2.dilate(polygon_mask(marks[list(ring)], shape).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        for ring in (RIGHT_EYE, LEFT_EYE, INNER_UPPER + INNER_LOWER[::-1])
    )
    return right | left, mouth


def bridged(z: F64, hole: NDArray[np.bool_]) -> F64:
    """(h, w) z with a membrane over the `hole`, which hangs on what is around."""
    if not hole.any():
        return z
    right, down, tie = np.ones(z.shape), np.ones(z.shape), np.where(hole, 1e-6, 1e3)
    right[:, -1], down[-1] = 0, 0
    return np.where(hole, solve(Membrane(right, down, tie), tie * z, z), z)


def front_depth(vertices: F64, triangles: NDArray[np.int32], toward: F64) -> F64:
    """(h, w) z at which the camera sees the mesh first along directions (h, w, 3); 0 where it does not."""
    rays = toward / np.linalg.norm(toward, axis=-1, keepdims=True)
    far = distances(vertices, triangles, rays.reshape(-1, 3)).reshape(toward.shape[:2])
    return np.asarray(np.where(far > 0, far * rays[..., 2], 0.0), np.float64)


def with_depth(camera: Camera, pixels: F64, z: F64) -> F64:
    """(h, w, 3) points at depth z (h, w), NOWHERE being nowhere near."""
    points = camera.unproject(pixels, np.maximum(z, 0.1 * NOWHERE))
    points[z <= NOWHERE, 2] = NOWHERE
    return points


def in_front(z: F64) -> F64:
    """(h, w) z, but beside a step that of its front: the texel in between shows the front's edge, not the dark."""
    return np.where(stepped(z), cv2.dilate(z, np.ones((3, 3), np.uint8)), z)


def stepped(z: F64) -> NDArray[np.bool_]:
    """(h, w) where neighbours are more than STEP apart."""
    around = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(z, around) - cv2.erode(z, around) > STEP)


def calmed(surface: Surface) -> F64:
    """(h, w) z with all but the face smooth: what is known there is the shape of a head of hair, not its locks, and
    every step between its layers would throw a shadow."""
    sigma = CALM / surface.unit
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(POCKET / surface.unit) + 1,) * 2)
    filled = cv2.morphologyEx(surface.z.astype(np.float32), cv2.MORPH_CLOSE, disc)
    smooth = cv2.GaussianBlur(filled, (0, 0), sigma)
    face = cv2.dilate(surface.face.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    weight = cv2.GaussianBlur(face, (0, 0), 1.0)
    return np.asarray(smooth + (surface.z - smooth) * weight, np.float64)


def openness(planes: NDArray[np.uint8], normals: F64) -> F64:
    """(h, w) 0..1 the part of an even sky that is seen, weighted by the cosine, with normals (H, W, 3)."""
    small = cv2.resize(normals, planes.shape[2:0:-1], interpolation=cv2.INTER_AREA)
    small /= np.linalg.norm(small, axis=-1, keepdims=True) + 1e-9
    whole = float(sh_basis(np.array([0.0, 0.0, 1.0]))[0])  # an even sky of coefficient 1 shades everything this much
    return np.clip(transfer(planes, small.astype(np.float32))[..., 0] / whole, 0, 1).astype(np.float64)


def pack_surface(normals: F64, head: F64, gloss: F64) -> NDArray[np.uint8]:
    """(H, W, 4) bytes: equal-area normal x and y over +-EXTENT, head weight, gloss."""
    e = encode_normals(normals) / EXTENT * 0.5 + 0.5
    packed = np.concatenate([e, head[..., None], gloss[..., None]], -1)
    return np.asarray(np.clip(packed, 0, 1) * 255 + 0.5, np.uint8)
