"""The head's shell as a part of the mesh: a little behind face and sheet, so that at rest nothing of it shows.

Convention: texture rows run from the crown to the neck, columns round the head as in `offline/headfit.py`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array
from offline.geometry import Surface
from offline.headfit import HeadFit
from offline.layers import Cell
from offline.parts import F64, MeshParts, head_weight, sample, smoothstep
from offline.sheets import CELLS, behind_jaw
from offline.template import facing_of, own_directions, shoulders

TEXELS = 4  # per cell of the shell's grid, at most
BEHIND, BEHIND_LOW = 0.45, 1.8  # cm the shell stays behind what the photograph shows; the same below the jaw
SCALP_INSET, FACE_INSET = 0.1, 0.5  # cm the shell stays inside the template, at the hair and at the face
COARSE = 2  # every second row and column of the shell becomes a part of the mesh
JAW_CELL = 1.6  # cm: about a cell of that, under the chin
INNER_WIDE, INNER_LOW, INNER_HIGH = 42.0, -32.0, 28.0  # degrees: eyes and mouth, behind which is no shell
EAR_AT, EAR_WIDE, EAR_HIGH, EAR_SOFT = 98.0, 24.0, 28.0, 15.0  # degrees
TEMPLE = 7.3  # cm: half a head's width between its ears
WALL, WALL_DEEP = 0.4, 5.0  # cm inside the cheeks' sides that the shell stays, as far back as they go
CHEEK_WIDE, CHEEK_LOW, CHEEK_HIGH, TAPER = 40.0, -42.0, 2.0, 0.12  # degrees; cm per degree
SHRINKS = 22  # steps of 2 % by which the shell may shrink to stay inside the matte


def texels(shell: F64, width: int) -> int:
    """Texels per cell of the shell's grid in an atlas of `width` pixels."""
    return int(np.clip((width - 4) // (shell.shape[1] + 1), 1, TEXELS))


def shell_cell(shell: F64, width: int) -> Cell:
    """The room that the shell's texture takes in an atlas of `width` pixels."""
    k = texels(shell, width)
    h, w = shell.shape[0] * k, (shell.shape[1] + 1) * k
    return Cell("shell", np.zeros((h, w, 3), np.float32), np.ones((h, w), np.float32), (0, 0), 0.1)


def resting_shell(fit: HeadFit, surface: Surface, camera: Camera, alpha: Array) -> tuple[F64, NDArray[np.bool_]]:
    """The shell (rows, columns, 3) moved behind all that the photograph shows and inside its matte, and which of its
    points (rows, columns) may be used: none behind eyes and mouth, where deeper layers must be seen."""
    azimuth, elevation = own_directions(fit, surface.shell)
    aside = smoothstep(np.abs(azimuth), 75.0, 100.0) + smoothstep(elevation, 30.0, 50.0)
    inset = SCALP_INSET + (FACE_INSET - SCALP_INSET) * (1 - np.minimum(aside, 1))
    shell = surface.shell - inset[..., None] * facing_of(surface.shell)[1]
    place = fit.head(shell)
    narrow = np.clip(place[..., 0], -TEMPLE, TEMPLE)
    place[..., 0] += (narrow - place[..., 0]) * beside_ears(azimuth, elevation)
    shell = fit.camera(place)
    axis = np.stack([0 * place[..., 0], np.clip(place[..., 1], -14.0, 2.0), 0 * place[..., 2] - 1.0], -1)
    middle = fit.camera(axis)
    solid = cv2.erode((alpha > 0.97).astype(np.float32), np.ones((5, 5)))

    def lost(points: F64) -> NDArray[np.bool_]:
        x, y = np.moveaxis(camera.project(points), -1, 0)
        return np.asarray(sample(solid, x.ravel(), y.ravel()).reshape(x.shape) < 0.99)  # beyond the picture: its border

    keep, room, outside = np.ones(shell.shape[:2]), beside_cheek(azimuth, elevation), outside_face(surface)
    for _ in range(SHRINKS):
        shrunk = middle + keep[..., None] * (shell - middle)
        away = lost(shrunk) | before_wall(outside, surface, camera, shrunk, room)
        keep = smoothed(np.where(away, keep - 0.02, keep))
    shell = middle + keep[..., None] * (shell - middle)
    at = (camera.project(shell) + 0.5) * surface.scale - 0.5
    x, y = at[..., 0].ravel(), at[..., 1].ravel()
    front = sample(front_limit(surface), x, y).reshape(shell.shape[:2])
    behind = BEHIND + (BEHIND_LOW - BEHIND) * smoothstep(-elevation, 38.0, 52.0)
    shell *= evenly(np.minimum(shell[..., 2], front - behind) / shell[..., 2])[..., None]
    wide = INNER_WIDE - 24 * smoothstep(-elevation, 8.0, 20.0)  # narrower at the mouth: the jaw's corners stay closed
    open_ = (np.abs(azimuth) < wide) & (elevation > INNER_LOW) & (elevation < INNER_HIGH)
    return shell, ~lost(shell) & ~open_ & ~shoulders(fit, shell)


def outside_face(surface: Surface) -> Array:
    """(h, w) cm outside the face's outline, in the picture; negative inside."""
    apart = [cv2.distanceTransform(m.astype(np.uint8), cv2.DIST_L2, 5) for m in (~surface.face, surface.face)]
    return np.asarray((apart[0] - apart[1]) * np.float32(surface.unit))


def before_wall(outside: Array, surface: Surface, camera: Camera, points: F64, room: F64 | float) -> NDArray[np.bool_]:
    """(rows, columns) true for points (rows, columns, 3) farther than `room` (cm, minus a little) outside the wall that
    goes straight back from the outline of the face, as far back as that goes. outside: see `outside_face`."""
    x, y = np.moveaxis((camera.project(points) + 0.5) * surface.scale - 0.5, -1, 0)
    away, rim = (sample(a, x.ravel(), y.ravel()).reshape(x.shape) for a in (outside, surface.rim))
    return np.asarray((away > room - WALL) & (rim - points[..., 2] < WALL_DEEP))


def beside_cheek(azimuth: F64, elevation: F64) -> F64:
    """cm that the shell may reach outside a cheek's side in a direction (degrees): nothing from the ear down to the
    jaw's corner, ever more above it, where there is no side."""
    there = (np.abs(azimuth) > CHEEK_WIDE) & (elevation > CHEEK_LOW)
    return np.where(there, np.maximum(elevation - CHEEK_HIGH, 0) * TAPER, np.inf)


def beside_ears(azimuth: F64, elevation: F64) -> F64:
    """0..1 how far a direction (degrees) is that of an ear: the shell has none, the photograph shows its own."""
    aside = 1 - smoothstep(np.abs(np.abs(azimuth) - EAR_AT), EAR_WIDE - EAR_SOFT, EAR_WIDE + EAR_SOFT)
    return np.asarray(aside * (1 - smoothstep(np.abs(elevation), EAR_HIGH - EAR_SOFT, EAR_HIGH + EAR_SOFT)))


def front_limit(surface: Surface) -> F64:
    """(h, w) z of what the photograph shows; along the face's outline and below the jaw the farthest within a cell of
    the shell."""
    radius = int(JAW_CELL / surface.unit)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    face = surface.face.astype(np.uint8)
    band = cv2.erode(face, disc) == 0
    brink = np.where(surface.face, np.minimum(surface.z, surface.rim), np.inf)  # where the cheeks' sides begin
    z = np.where(surface.below & ~surface.face, np.minimum(surface.z, behind_jaw(surface)), surface.z)
    cell = int(np.ceil(max(surface.z.shape) / CELLS))
    z = np.where(surface.below & ~surface.face, cv2.erode(z, np.ones((2 * cell - 1,) * 2)), z)  # the sheet is as coarse
    z = np.where(band & surface.below, cv2.erode(z, disc), z)
    return np.asarray(np.where(band & surface.face, np.minimum(z, cv2.erode(brink, disc)), z))


def smoothed(field: F64) -> F64:
    """(rows, columns) averaged a little over a shell's neighbours, never raised."""
    wide = np.pad(field, ((0, 0), (4, 4)), mode="wrap").astype(np.float32)
    return np.asarray(np.minimum(cv2.GaussianBlur(wide, (0, 0), 1.2)[:, 4:-4], field), np.float64)


def evenly(factor: F64) -> F64:
    """(rows, columns) the least smooth field over a shell's grid that is nowhere below `factor`, roughly."""
    wide = np.pad(factor, ((0, 0), (6, 6)), mode="wrap").astype(np.float32)
    soft = cv2.GaussianBlur(cv2.dilate(wide, np.ones((5, 5))), (0, 0), 2.0)
    return np.asarray(np.maximum(soft[:, 6:-6], factor), np.float64)


def add_shell(
    parts: MeshParts, fit: HeadFit, surface: Surface, camera: Camera, alpha: Array, place: tuple[int, int]
) -> None:
    """The shell's mesh; `place`: where its cell lies in the atlas."""
    shell, usable = resting_shell(fit, surface, camera, alpha)
    rows, columns = usable.shape
    closed = np.concatenate([shell, shell[:, :1]], 1)  # the seam's column twice, for its two places in the texture
    free = np.concatenate([usable, usable[:, :1]], 1).ravel()
    j, i = np.meshgrid(np.arange(columns + 1), np.arange(rows))
    k = texels(shell, alpha.shape[1])
    source = np.column_stack([j.ravel(), i.ravel()]) * k + np.array(place) + (k - 1) / 2
    index = np.arange(rows * (columns + 1)).reshape(rows, columns + 1)
    index = index[np.unique(np.append(np.arange(0, rows, COARSE), rows - 1))]  # the live mesh needs fewer
    index = index[:, np.unique(np.append(np.arange(0, columns, COARSE), columns))]
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([k.ravel() for k in t], 1) for t in ((a, c, b), (b, c, d))])
    triangles = triangles[free[triangles].all(1)]
    used, new = np.unique(triangles, return_inverse=True)
    if len(used) == 0:
        return
    vertices = closed.reshape(-1, 3)[used]
    source = np.column_stack([source[used], np.full(len(used), 8.0)])
    parts.add(vertices, source, new.reshape(-1, 3), head=head_weight(fit, vertices))


def texture_at(fit: HeadFit, shell: F64, width: int, place: tuple[int, int], points: F64) -> F64:
    """(n, 3) source in the shell's texture for camera-space points (n, 3), by their direction from the head's middle;
    solid. `place`: where its cell lies in an atlas of `width` pixels."""

    def rays(p: F64) -> F64:
        away = fit.head(p) + np.array([0.0, 1.0, 0.0])
        return np.asarray(away / np.linalg.norm(away, axis=-1, keepdims=True))

    columns = shell.shape[1]
    far, near = cKDTree(rays(shell.reshape(-1, 3))).query(rays(points), k=4)
    share = 1 / (far + 1e-4) ** 2
    share /= share.sum(1, keepdims=True)
    i, j = np.divmod(near, columns)
    j = j[:, :1] + (j - j[:, :1] + columns // 2) % columns - columns // 2  # across the seam
    k = texels(shell, width)
    grid = np.stack([(share * j).sum(1), (share * i).sum(1)], -1)
    return np.column_stack([grid * k + np.array(place) + (k - 1) / 2, np.full(len(points), 8.0)])
