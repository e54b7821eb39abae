"""The head template on the canvas: hair volume from the matte, front depth, and how it meets the fitted face.

Convention: camera space, cm; maps at the depth map's resolution; `shell` (rows, columns, 3) as in `offline/headfit.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array
from offline.headfit import HeadFit
from offline.parts import disc, nearest_fill, smoothstep
from offline.softmesh import MapRenderer, screen_of

F64 = NDArray[np.float64]
SECTORS = 72  # directions in the picture in which hair is measured
THINNEST, THICKEST = 0.92, 1.7  # hair's outline over the skull's
UNKNOWN = 1.07  # the same where the picture's border cuts the hair
SHOULDERS, COLLAR, NECK_RADIUS = -8.5, -14.5, 8.2  # cm, head space: lower than these and wider is the body
NECK_ROWS, NECK_END = 6, -17.5  # rows by which the template's neck is made longer, and the height (cm) that they reach
NECK_WIDE, NECK_DEEP = 6.6, 5.8  # cm: half-axes of the neck
JOIN = 1.8  # cm over which template and face come to agree
STEP = 0.5, 1.5  # cm of the template's depth behind the outline from which it is an ear that lies there, and surely
FARTHEST = 2.8, 3.8  # cm in the picture: how far ears reach from the outline
MISMATCH = 0.6  # cm in the picture: how far off the template may be
EVEN = 0.3  # cm over which that is averaged
GAPS = 1.6  # cm: half of what an ear's step bridges where arms of glasses or a strand of hair cross it
LOBE, SHARP = (0.3, 0.7), 0.2  # cm outside the outline where an ear must show; over which it ends
SLIGHT = 0.15  # less of an ear's step is none
EAR_FRONT, EAR_LOW, EAR_TOP = 0.9, -6.0, 0.5  # cm, head space; the kit's ears begin at 1.5, their middle is at -0.1
FLAT = 0.6  # cm by which they go back for every cm aside; the template's grid is too coarse to say
FACE_WIDE, FACE_HIGH = 62.0, 42.0  # degrees from the face's axis: bare skin, where no hair grows


@dataclass(frozen=True)
class FrontMap:
    """Depth of the template's visible side: z (h, w), nan outside; neck (h, w) true on neck and shoulders."""

    z: F64
    neck: NDArray[np.bool_]


@dataclass(frozen=True)
class EarBoard:
    """A plane across the head on which ears are drawn: z (h, w), and how far (h, w) 0..1 a pixel is at their height."""

    z: F64
    share: F64


def ear_board(fit: HeadFit, camera: Camera, width: int, height: int) -> EarBoard:
    """The plane at the front of the ears of the fitted head, seen by `camera`."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    ray = camera.unproject(np.stack([x, y], -1), -np.ones((height, width)))
    across = fit.rotation[:, 2]
    point = fit.camera(np.array([[0.0, 0.0, EAR_FRONT]]))[0]
    z = -(across @ point) / (ray @ across)
    up = fit.head(camera.unproject(np.stack([x, y], -1), z))[..., 1]
    return EarBoard(z, smoothstep(up, EAR_LOW - 1, EAR_LOW) * (1 - smoothstep(up, EAR_TOP, EAR_TOP + 2)))


def shell_triangles(rows: int, columns: int) -> NDArray[np.int64]:
    """Two triangles for every cell of a grid that is closed round the columns, wound to look outward."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = (i * columns + j).ravel(), (i * columns + (j + 1) % columns).ravel()
    c, d = a + columns, b + columns
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


def own_directions(fit: HeadFit, points: F64) -> tuple[F64, F64]:
    """Azimuth from the face's axis and elevation (degrees) of camera-space points (..., 3), seen from the head's
    middle."""
    p = fit.head(points) + np.array([0.0, 1.0, 0.0])
    return np.degrees(np.arctan2(p[..., 0], p[..., 2])), np.degrees(
        np.arctan2(p[..., 1], np.hypot(p[..., 0], p[..., 2]))
    )


def neck_axis(height: F64) -> F64:
    """z (cm, head space) of the neck's axis at a height: it leans forward from the shoulders up."""
    return np.asarray(0.2 - 0.3 * np.clip(-13.0 - height, 0.0, 5.0))


def with_neck(fit: HeadFit) -> F64:
    """(rows + NECK_ROWS, columns, 3) the fitted shell with a neck, camera space: its lowest rows without the flare
    toward the shoulders, and a tube below them."""
    p = fit.head(fit.shell)
    reach = 9.5 - (9.5 - NECK_WIDE) * smoothstep(-p[..., 1], 5.5, 9.5)
    p[..., 0] = np.where(p[..., 1] < -5.5, np.clip(p[..., 0], -reach, reach), p[..., 0])
    last = p[-1]
    around = np.arctan2(last[:, 0] / NECK_WIDE, (last[:, 2] - neck_axis(last[:, 1])) / NECK_DEEP)
    t = np.arange(1, NECK_ROWS + 1)[:, None] / NECK_ROWS
    y = last[:, 1] + (NECK_END - last[:, 1]) * t
    tube = np.stack([NECK_WIDE * np.sin(around) + 0 * y, y, neck_axis(y) + NECK_DEEP * np.cos(around)], -1)
    share = smoothstep(t, 0.0, 0.7)[..., None]
    below = np.stack([np.broadcast_to(last[:, 0], y.shape), y, np.broadcast_to(last[:, 2], y.shape)], -1)
    return np.asarray(fit.camera(np.concatenate([p, below + (tube - below) * share])))


def shoulders(fit: HeadFit, shell: F64) -> NDArray[np.bool_]:
    """(rows, columns) points of a shell that are no longer head or neck."""
    p = fit.head(shell)
    wide = (p[..., 1] < SHOULDERS) & (np.abs(p[..., 0]) > NECK_RADIUS)
    return np.asarray(wide | ((p[..., 1] < COLLAR) & (np.hypot(p[..., 0], p[..., 2] + 0.5) > NECK_RADIUS)))


def outline_radius(coverage: Array, middle: F64) -> tuple[F64, NDArray[np.bool_]]:
    """(SECTORS,) pixels from `middle` to where the matte ends, and where it ends at the picture's border instead."""
    h, w = coverage.shape
    angle = np.arange(SECTORS) * 2 * np.pi / SECTORS
    reach = np.arange(1.0, 1.5 * max(h, w))
    x = middle[0] + np.outer(np.cos(angle), reach)
    y = middle[1] + np.outer(np.sin(angle), reach)
    inside = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    seen = cv2.remap(coverage.astype(np.float32), x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    over = ~inside | (seen < 0.5)
    first = over.argmax(1)
    return reach[first], ~inside[np.arange(SECTORS), first]


def with_hair(fit: HeadFit, skull_shell: F64, coverage: Array, camera: Camera) -> F64:
    """(rows, columns, 3) `skull_shell` grown to the matte where hair is: above the ears and round the back, as far as
    the outline of the matte lies beyond that of the skull."""
    middle3 = fit.camera(np.array([[0.0, 3.0, 1.0]]))
    middle = camera.project(middle3)[0]
    azimuth, elevation = own_directions(fit, skull_shell)
    bare = 1 - smoothstep(np.abs(azimuth), 0.8 * FACE_WIDE, 1.2 * FACE_WIDE)
    bare = bare * (1 - smoothstep(elevation, 0.75 * FACE_HIGH, 1.15 * FACE_HIGH))
    high = smoothstep(elevation, -38.0, -8.0)
    away = camera.project(skull_shell) - middle
    angle = np.arctan2(away[..., 1], away[..., 0]) % (2 * np.pi)
    sector = (angle / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    radius = np.hypot(away[..., 0], away[..., 1])
    skull = np.zeros(SECTORS)
    np.maximum.at(skull, sector.ravel(), np.where(elevation > -25, radius, 0).ravel())
    matte, cut = outline_radius(coverage, middle)
    growth = np.clip(matte / np.maximum(skull, 1e-6), THINNEST, THICKEST)
    growth = np.where(cut, np.minimum(growth, UNKNOWN), growth)
    growth = np.where(skull > 0, growth, 1.0)
    around = np.concatenate([growth[-4:], growth, growth[:4]])
    growth = np.convolve(around, np.hanning(9) / np.hanning(9).sum(), "same")[4:-4]
    upper = np.sin(np.arange(SECTORS) * 2 * np.pi / SECTORS) < 0.2
    mean = float(np.median(growth[upper]))
    share = np.clip(radius / np.maximum(skull[sector], 1e-6), 0, 1)
    k = mean + (growth[sector] - mean) * share
    k = 1 + (k - 1) * high * (1 - bare)
    return np.asarray(middle3 + (skull_shell - middle3) * k[..., None])


def facing_of(shell: F64) -> tuple[F64, F64]:
    """Cosine to the camera (rows, columns) and outward normals (rows, columns, 3) of a shell in camera space."""
    around = np.concatenate([shell[:, -1:], shell, shell[:, :1]], 1)
    across, down = (around[:, 2:] - around[:, :-2]), np.gradient(shell, axis=0)
    normal = np.cross(down, across)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    facing = -(normal * shell).sum(-1) / (np.linalg.norm(shell, axis=-1) + 1e-9)
    return np.asarray(facing), np.asarray(normal)


def front_map(
    shell: F64, neck: NDArray[np.bool_], body: NDArray[np.bool_], camera: Camera, width: int, height: int
) -> FrontMap:
    """Depth of the shell as the camera sees it. neck (rows, columns): vertices under the chin; body (rows, columns):
    vertices of the shoulders, which are left out."""
    rows, columns = shell.shape[:2]
    triangles = shell_triangles(rows, columns)
    triangles = triangles[~body.ravel()[triangles].any(1)]
    points = shell.reshape(-1, 3)
    facing = facing_of(shell)[0].ravel()
    values = np.column_stack([points[:, 2], neck.ravel().astype(np.float64), facing])
    found = MapRenderer(triangles).map(screen_of(points, camera.project(points)), values, width, height)
    found[found[..., 2] < 0] = np.nan  # the inside of the far wall, through an opening
    return FrontMap(found[..., 0], np.nan_to_num(found[..., 1]) > 0.5)


def rest_with_template(
    front: FrontMap,
    inflated: F64,
    face: NDArray[np.bool_],
    face_z: F64,
    below: NDArray[np.bool_],
    cover: Array,
    ears: EarBoard,
    unit: float,
) -> tuple[F64, NDArray[np.bool_]]:
    """z (h, w) outside the face: the template's where it is, meeting the face's outline smoothly (not at the jaw, where
    the neck lies behind, nor at the ear), the inflated silhouette's elsewhere; and where (h, w) it lies behind the
    face's outline by a step, as ears do: a step that grows and closes smoothly along the outline."""
    known = ~np.isnan(front.z) & (cover > 0.5)
    gap = np.where(face, face_z - np.nan_to_num(front.z), 0)
    rim = face & known & (cv2.erode(face.astype(np.uint8), np.ones((3, 3))) == 0)
    distance, label = cv2.distanceTransformWithLabels(
        (~rim).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table, level = np.zeros((2, label.max() + 1))
    table[label[rim]], level[label[rim]] = gap[rim], front.z[rim]
    step = cv2.GaussianBlur(table[label], (0, 0), 1.0 / unit * 0.5)
    neck = below & front.neck
    z = np.where(known, np.nan_to_num(front.z) + step * np.exp(-((distance * unit / JOIN) ** 2)) * ~neck, inflated)
    apart = level[label] - nearest_fill(np.nan_to_num(front.z), known | face)
    # the template's own cheek may reach beyond the outline
    apart = cv2.dilate(np.where(face, -np.inf, apart), disc(MISMATCH / unit))
    reach = smoothstep(apart, *STEP) * (1 - smoothstep(distance * unit, *FARTHEST)) * ~(face | neck)
    share: F64 = ears.share * reach * something(cover, ~face, distance * unit, label, unit)
    bridged = cv2.morphologyEx(share.astype(np.float64), cv2.MORPH_CLOSE, disc(GAPS / unit)) * ~(face | neck)
    weight = cv2.GaussianBlur((~face).astype(np.float64), (0, 0), EVEN / unit)
    share = cv2.GaussianBlur(bridged, (0, 0), EVEN / unit) / np.maximum(weight, 1e-3) * ~(face | neck)
    return z + np.minimum(ears.z - FLAT * distance * unit - z, 0) * share, share > SLIGHT


def something(cover: Array, outside: NDArray[np.bool_], distance: F64, label: NDArray[np.int32], unit: float) -> F64:
    """(h, w) 0..1 whether the person goes on `outside` the outline's nearest point: the same for all pixels (h, w) of a
    `label`. distance (h, w) cm from the outline; where it ends there, only the background is behind the cheek."""
    ring = outside & (distance > LOBE[0]) & (distance < LOBE[1])
    count, total = (np.bincount(label[ring], w, label.max() + 1) for w in (None, (cover[ring] > 0.5) * 1.0))
    return smoothstep(cv2.GaussianBlur((total / np.maximum(count, 1))[label], (0, 0), SHARP / unit), 0.3, 0.6)
