"""Skin and hair where the camera did not see: the head's shell as a part of the mesh with a texture of its own.

The shell lies a little behind face and sheet, so that at rest nothing of it shows; a turn bares it at the far cheek,
under the chin, behind the ears and at the back. Its texture is the photograph where that saw it squarely, the other
half's mirrored where only that was seen, and filled in smoothly elsewhere.

Convention: texture rows run from the crown to the neck, columns round the head as in `offline/headfit.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, Image
from offline.albedo import shading_of
from offline.bake import pack_surface
from offline.geometry import Surface
from offline.headfit import HeadFit
from offline.layers import Cell
from offline.parts import F64, MeshParts, head_weight, sample, smoothstep
from offline.preprocess import push_pull
from offline.scalp import grown_hair, like_skin
from offline.sheets import CELLS, behind_jaw
from offline.template import facing_of, own_directions, shoulders

TEXELS = 4  # per cell of the shell's grid, at most
BEHIND, BEHIND_LOW = 0.45, 1.8  # cm the shell stays behind what the photograph shows; the same below the jaw
SCALP_INSET, FACE_INSET = 0.1, 0.5  # cm the shell stays inside the template, at the hair and at the face
COARSE = 2  # every second row and column of the shell becomes a part of the mesh
JAW_CELL = 1.6  # cm: about a cell of that, under the chin
INNER_WIDE, INNER_LOW, INNER_HIGH = 42.0, -32.0, 28.0  # degrees: eyes and mouth, behind which is no shell
EAR_AT, EAR_WIDE, EAR_HIGH, TEMPLE = 98.0, 24.0, 28.0, 7.3  # degrees; cm: half a head's width between its ears
SHRINKS = 22  # steps of 2 % by which the shell may shrink to stay inside the matte
SQUARE, GRAZING = 0.32, 0.12  # cosine to the viewer at which the photograph is taken as it is, and not at all
SCALP_ASIDE, SCALP_LOW = 95.0, -32.0  # degrees: behind and above there is hair, not cheek
BARE_EAR = 15.0  # degrees that the skin goes on farther back at the ears
SCALP_HIGH = 32.0  # the same above the forehead
FEW = 0.004  # of the texture: with less hair than this seen the head is bald
BROAD = 3.0  # cells of the shell over which its normals are averaged
BRIGHTER = 0.4, 2.5  # times: how far the photograph is believed against the light that was estimated from it
SEEN, MIRRORED, FILLED = 255, 128, 0  # marks of the texture's origin


@dataclass(frozen=True)
class ShellPaint:
    """colour (h, w, 3) linear albedo; normal (h, w, 3) camera space; own (h, w) 0..1 how far the photograph saw it;
    at (h, w, 2) canvas pixels there; origin (h, w) SEEN, MIRRORED or FILLED."""

    colour: F64
    normal: F64
    own: F64
    at: F64
    origin: NDArray[np.uint8]


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
    place[..., 0] = np.where(beside_ears(azimuth, elevation), np.clip(place[..., 0], -TEMPLE, TEMPLE), place[..., 0])
    shell = fit.camera(place)
    axis = np.stack([0 * place[..., 0], np.clip(place[..., 1], -14.0, 2.0), 0 * place[..., 2] - 1.0], -1)
    middle = fit.camera(axis)
    solid = cv2.erode((alpha > 0.97).astype(np.float32), np.ones((5, 5)))

    def lost(points: F64) -> NDArray[np.bool_]:
        x, y = np.moveaxis(camera.project(points), -1, 0)
        return np.asarray(sample(solid, x.ravel(), y.ravel()).reshape(x.shape) < 0.99)  # beyond the picture: its border

    keep = np.ones(shell.shape[:2])
    for _ in range(SHRINKS):
        away = lost(middle + keep[..., None] * (shell - middle))
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


def beside_ears(azimuth: F64, elevation: F64) -> NDArray[np.bool_]:
    """True where a direction (degrees) is that of an ear: the shell has none, the photograph shows its own."""
    return np.asarray((np.abs(np.abs(azimuth) - EAR_AT) < EAR_WIDE) & (np.abs(elevation) < EAR_HIGH))


def front_limit(surface: Surface) -> F64:
    """(h, w) z of what the photograph shows; along the jaw and below it the farthest within a cell
    of the shell."""
    radius = int(JAW_CELL / surface.unit)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    face = surface.face.astype(np.uint8)
    band = (cv2.erode(face, disc) == 0) & surface.below
    z = np.where(surface.below & ~surface.face, np.minimum(surface.z, behind_jaw(surface)), surface.z)
    cell = int(np.ceil(max(surface.z.shape) / CELLS))
    z = np.where(surface.below & ~surface.face, cv2.erode(z, np.ones((2 * cell - 1,) * 2)), z)  # the sheet is as coarse
    return np.asarray(np.where(band, cv2.erode(z, disc), z))


def smoothed(field: F64) -> F64:
    """(rows, columns) averaged a little over a shell's neighbours, never raised."""
    wide = np.pad(field, ((0, 0), (4, 4)), mode="wrap").astype(np.float32)
    return np.asarray(np.minimum(cv2.GaussianBlur(wide, (0, 0), 1.2)[:, 4:-4], field), np.float64)


def evenly(factor: F64) -> F64:
    """(rows, columns) the least smooth field over a shell's grid that is nowhere below `factor`, roughly."""
    wide = np.pad(factor, ((0, 0), (6, 6)), mode="wrap").astype(np.float32)
    soft = cv2.GaussianBlur(cv2.dilate(wide, np.ones((5, 5))), (0, 0), 2.0)
    return np.asarray(np.maximum(soft[:, 6:-6], factor), np.float64)


def broad(normal: F64, sigma: float) -> F64:
    """(h, w, 3) unit normals of a texture of the shell, averaged over `sigma` texels: no template's ear nor collar."""
    reach = int(3 * sigma)
    wide = np.pad(normal, ((0, 0), (reach, reach), (0, 0)), mode="wrap")
    soft = cv2.GaussianBlur(wide, (0, 0), sigma)[:, reach:-reach]
    return np.asarray(soft / (np.linalg.norm(soft, axis=-1, keepdims=True) + 1e-9))


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


def enlarged(values: F64, k: int) -> F64:
    """(rows, columns[, C]) values of a shell with k texels for each, and the first column again behind the last."""
    h, w = values.shape[0] * k, (values.shape[1] + 1) * k
    y, x = np.meshgrid((np.arange(h) - (k - 1) / 2) / k, (np.arange(w) - (k - 1) / 2) / k + 2, indexing="ij")
    wide = np.concatenate([values[:, -2:], values, values[:, :3]], 1).astype(np.float32)
    maps = x.astype(np.float32), y.astype(np.float32)
    return np.asarray(cv2.remap(wide, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float64)


def mirrored(values: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """A texture of the shell as the other half would show it; k texels a cell."""
    w = values.shape[1] - k
    columns = (k - 1 - np.arange(values.shape[1])) % w
    return np.asarray(values[:, columns])


def paint_shell(fit: HeadFit, surface: Surface, camera: Camera, alpha: Array, albedo: Array) -> ShellPaint:
    """Everything about the shell's texture. albedo (H, W, 3) linear, of the canvas."""
    k = texels(surface.shell, alpha.shape[1])
    point = enlarged(surface.shell, k)
    facing, normal = (enlarged(a, k) for a in facing_of(surface.shell))
    normal = broad(normal, BROAD * k)
    at = camera.project(point)
    x, y = at[..., 0].ravel(), at[..., 1].ravel()
    h, w = alpha.shape
    solid = cv2.erode((alpha > 0.97).astype(np.float32), np.ones((7, 7)))
    there = (x >= 2) & (y >= 2) & (x <= w - 3) & (y <= h - 3) & (sample(solid, x, y) > 0.9)
    front = sample(surface.z, (x + 0.5) * surface.scale - 0.5, (y + 0.5) * surface.scale - 0.5)
    there &= np.abs(front - point[..., 2].ravel()) < 1.2
    shape = point.shape[:2]
    azimuth, elevation = own_directions(fit, point)
    own = smoothstep(facing, GRAZING, SQUARE) * (there.reshape(shape) & ~beside_ears(azimuth, elevation))
    own = cv2.erode(own, np.ones((3, 3)))
    maps = at.astype(np.float32)
    photo = cv2.remap(albedo.astype(np.float32), maps[..., 0], maps[..., 1], cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    face = cv2.resize(surface.face.astype(np.float32), (w, h))
    skin = cv2.remap(face, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    bare = like_skin(photo, albedo[cv2.erode((face > 0.9).astype(np.uint8), np.ones((9, 9))) > 0])
    everything, origin = completed(photo, (own * bare).astype(np.float32), k)
    everything = everything + (photo - everything) * own[..., None]
    high = smoothstep(elevation, -5.0, 12.0)
    hair = cv2.morphologyEx(
        (own * (skin < 0.05) * high * ~bare > 0.5).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))
    )
    grows = np.maximum(
        scalp_share(azimuth, elevation), nearer(hair > 0, own * bare > 0.5) * smoothstep(elevation, -25, -10)
    )
    share = grows * (1 - own) if hair.sum() > FEW * own.size else 0 * own
    mixed, known = completed(photo, hair.astype(np.float32), k)
    grown = grown_hair(mixed, known != FILLED, own.shape[1] - k) if share.any() else everything
    colour = np.clip(everything + (grown - everything) * share[..., None], 0, 1)
    return ShellPaint(np.asarray(colour, np.float64), normal, np.asarray(own, np.float64), at, origin)


def nearer(this: NDArray[np.bool_], other: NDArray[np.bool_]) -> F64:
    """(h, w) 0..1 where a texture of the shell is nearer to what is `this` than to what is `other`, round the head."""
    pad = this.shape[1] // 3
    far = [
        cv2.distanceTransform(np.pad(~a, ((0, 0), (pad, pad)), mode="wrap").astype(np.uint8), cv2.DIST_L2, 5)[
            :, pad:-pad
        ]
        for a in (this, other)
    ]
    return smoothstep(far[1] - far[0], 0.0, 2.0 * TEXELS)


def scalp_share(azimuth: F64, elevation: F64) -> F64:
    """0..1 how far hair grows in a direction (degrees from the face's axis): behind the ears and above the forehead."""
    aside = SCALP_ASIDE + BARE_EAR * (1 - smoothstep(elevation, 5.0, 20.0))
    behind = smoothstep(np.abs(azimuth) - aside, -15.0, 15.0)
    behind = behind * smoothstep(elevation, SCALP_LOW - 6, SCALP_LOW + 6)
    return np.maximum(behind, smoothstep(elevation, SCALP_HIGH - 8, SCALP_HIGH + 8))


def completed(values: Array, weight: NDArray[np.float32], k: int) -> tuple[Array, NDArray[np.uint8]]:
    """(h, w, 3) values where `weight` (h, w) is one; their mirror image where that has more; filled elsewhere. And the
    origin of each texel."""
    other, other_weight = mirrored(values, k), mirrored(weight, k)
    take = np.clip(other_weight - weight, 0, 1)[..., None]
    known = np.maximum(weight, other_weight)
    mixed = (values * weight[..., None] + other * take) / np.maximum(weight[..., None] + take, 1e-4)
    filled = filled_round(mixed, known)
    origin = np.where(weight > 0.5, SEEN, np.where(other_weight > 0.5, MIRRORED, FILLED)).astype(np.uint8)
    return filled, origin


def filled_round(values: Array, weight: Array) -> Array:
    """(h, w, C) values of a texture of the shell where `weight` (h, w) is one, smoothly continued elsewhere, round the
    head."""
    pad = weight.shape[1] // 3
    wide = np.pad(values, ((0, 0), (pad, pad), (0, 0)), mode="wrap")
    sure = np.pad(weight, ((0, 0), (pad, pad)), mode="wrap")
    return push_pull(wide.astype(np.float32), sure.astype(np.float32))[:, pad:-pad]


def origin_shares(paint: ShellPaint) -> dict[str, float]:
    """How much of the texture (0..1) the photograph showed, was mirrored and was filled in."""
    marks = {"seen": SEEN, "mirrored": MIRRORED, "filled": FILLED}
    return {name: round(float((paint.origin == mark).mean()), 3) for name, mark in marks.items()}


def brightness(photo: Array, lit: F64, known: F64) -> Array:
    """(h, w, 3) how much brighter the photograph is than what the light makes of the albedo (both (h, w, 3), linear),
    continued from where it is `known` (h, w): no step of light where the seen skin ends."""
    ratio = np.log((photo + 0.004) / (lit + 0.004))
    everywhere = filled_round(np.asarray(ratio, np.float32), known.astype(np.float32))
    return np.asarray(np.exp(np.clip(everywhere, *np.log(BRIGHTER))))


def shell_textures(
    fit: HeadFit, surface: Surface, paint: ShellPaint, colours: Image, light: F64
) -> tuple[Image, Image, NDArray[np.uint8]]:
    """Texture (portrait's light), albedo (both sRGB bytes) and packed surface of the shell's cell. colours (H, W, 3)
    sRGB of the canvas; light (9,) the portrait's own."""
    maps = paint.at.astype(np.float32)
    photo = cv2.remap(linear_table()[colours], maps[..., 0], maps[..., 1], cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    lit = paint.colour * shading_of(light, paint.normal)[..., None]
    lit = lit * brightness(photo, lit, np.clip(2 * paint.own - 1, 0, 1))
    lit = lit + (photo - lit) * paint.own[..., None]
    texture, flat = (np.asarray(srgb_from_linear(np.clip(a, 0, 1)) * 255 + 0.5, np.uint8) for a in (lit, paint.colour))
    shape = paint.own.shape
    k = texels(surface.shell, colours.shape[1])
    head = head_weight(fit, enlarged(surface.shell, k).reshape(-1, 3)).reshape(shape)
    return texture, flat, pack_surface(paint.normal, head, np.full(shape, 0.12))
