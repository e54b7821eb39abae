"""Skin and hair where the camera did not see: the texture of the head's shell.

A turn bares it at the far cheek, under the chin, behind the ears and at the back. Its texture is the photograph where
that saw it squarely, the other half's mirrored where only that was seen, hair as it goes on from the outline, and skin
filled in smoothly elsewhere.

Convention: texture rows run from the crown to the neck, columns round the head as in `offline/headfit.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, Image
from offline.albedo import shading_of
from offline.bake import pack_surface
from offline.geometry import Surface
from offline.headfit import HeadFit
from offline.parts import F64, head_weight, sample, smoothstep
from offline.preprocess import push_pull
from offline.scalp import EDGE, continued, dipped, ends_of, grown_hair, like_skin, seen_hair
from offline.shell import beside_ears, texels
from offline.template import facing_of, own_directions

SQUARE, GRAZING = 0.32, 0.12  # cosine to the viewer at which the photograph is taken as it is, and not at all
SCALP_ASIDE, SCALP_LOW = 95.0, -32.0  # degrees: behind and above there is hair, not cheek
BARE_EAR = 15.0  # degrees that the skin goes on farther back at the ears
SCALP_HIGH = 32.0  # the same above the forehead
CROWN = 30.0, 50.0, 60.0  # degrees above the face's axis
ABOVE_EARS = 5.0, 15.0  # the same where the camera does not see it
SOME_HAIR, LONG_HAIR = (0.25, 0.5), (0.6, 0.85)  # of what is seen there: from where on it hangs down, and goes on
BROAD = 3.0  # cells of the shell over which its normals are averaged
BRIGHTER = 0.4, 2.5  # times: how far the photograph is believed against the light that was estimated from it
SHADED = 0.3  # less light where the head turns away from the camera: there are shoulders, collar and hair around
SKIN_GLOSS, HAIR_GLOSS = 0.12, 0.08
SEEN, MIRRORED, FILLED = 255, 128, 0  # marks of the texture's origin


@dataclass(frozen=True)
class ShellPaint:
    """colour (h, w, 3) linear albedo; normal (h, w, 3) camera space; own (h, w) 0..1 how far the photograph saw it;
    at (h, w, 2) canvas pixels there; origin (h, w) SEEN, MIRRORED or FILLED; lit (h, w, 3) linear, hair in the
    portrait's own light; hair (h, w) 0..1 where it was grown; along (h, w, 3) unit, where it runs, camera space."""

    colour: F64
    normal: F64
    own: F64
    at: F64
    origin: NDArray[np.uint8]
    lit: F64
    hair: F64
    along: F64


def broad(normal: F64, sigma: float) -> F64:
    """(h, w, 3) unit normals of a texture of the shell, averaged over `sigma` texels: no template's ear nor collar."""
    reach = int(3 * sigma)
    wide = np.pad(normal, ((0, 0), (reach, reach), (0, 0)), mode="wrap")
    soft = cv2.GaussianBlur(wide, (0, 0), sigma)[:, reach:-reach]
    return np.asarray(soft / (np.linalg.norm(soft, axis=-1, keepdims=True) + 1e-9))


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


def paint_shell(
    fit: HeadFit, surface: Surface, camera: Camera, alpha: Array, albedo: Array, colours: Image
) -> ShellPaint:
    """Everything about the shell's texture. albedo (H, W, 3) linear, colours (H, W, 3) sRGB, of the canvas."""
    k = texels(surface.shell, alpha.shape[1])
    point = enlarged(surface.shell, k)
    facing, normal = (enlarged(a, k) for a in facing_of(surface.shell))
    normal = broad(normal, BROAD * k)
    turned = -(normal * point).sum(-1) / np.linalg.norm(point, axis=-1)
    at = camera.project(point)
    azimuth, elevation = own_directions(fit, point)
    own = seen_squarely(surface, alpha, at, point[..., 2], facing) * (1 - beside_ears(azimuth, elevation))
    own = cv2.erode(own, np.ones((3, 3)))
    maps = at.astype(np.float32)
    photo = cv2.remap(albedo.astype(np.float32), maps[..., 0], maps[..., 1], cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    face = cv2.resize(surface.face.astype(np.float32), alpha.shape[::-1])
    bare = like_skin(photo, albedo[cv2.erode((face > 0.9).astype(np.uint8), np.ones((9, 9))) > 0])
    everything, origin = completed(photo, (own * bare).astype(np.float32), k)
    everything = everything + (photo - everything) * own[..., None]
    hair, share = hair_behind(fit, surface, alpha, albedo, colours, at, turned, own)
    both = np.concatenate([everything, photo], -1)
    both = both + (hair - both) * share[..., None]
    both = both * (1 - SHADED * (1 - own) * (1 - share) * smoothstep(EDGE - turned, 0.0, 0.6))[..., None]
    colour, lit = np.split(np.clip(both, 0, 1).astype(np.float64), 2, -1)
    along = np.gradient(point, axis=0)
    along /= np.linalg.norm(along, axis=-1, keepdims=True) + 1e-9
    return ShellPaint(colour, dipped(normal, 1 - own), own.astype(np.float64), at, origin, lit, share, along)


def seen_squarely(surface: Surface, alpha: Array, at: F64, z: F64, facing: F64) -> F64:
    """(h, w) 0..1 how far the photograph shows a texture's texels, at (h, w, 2) canvas pixels, z (h, w) cm."""
    x, y = at[..., 0].ravel(), at[..., 1].ravel()
    h, w = alpha.shape
    solid = cv2.erode((alpha > 0.97).astype(np.float32), np.ones((7, 7)))
    there = (x >= 2) & (y >= 2) & (x <= w - 3) & (y <= h - 3) & (sample(solid, x, y) > 0.9)
    front = sample(surface.z, (x + 0.5) * surface.scale - 0.5, (y + 0.5) * surface.scale - 0.5)
    there &= np.abs(front - z.ravel()) < 1.2
    return smoothstep(facing, GRAZING, SQUARE) * there.reshape(z.shape)


def hair_behind(
    fit: HeadFit, surface: Surface, alpha: Array, albedo: Array, colours: Image, at: F64, facing: F64, own: F64
) -> tuple[Array, F64]:
    """(h, w, 6) hair for a texture of the shell, albedo and photograph's colours, and (h, w) 0..1 where it grows."""
    k = texels(surface.shell, alpha.shape[1])
    mh, mw = surface.z.shape
    small = cv2.resize(alpha, (mw, mh), interpolation=cv2.INTER_AREA)
    solid = cv2.erode((small > 0.97).astype(np.uint8), np.ones((3, 3))) > 0
    x, y = np.meshgrid(np.arange(mw, dtype=np.float64), np.arange(mh, dtype=np.float64))
    height = fit.head(surface.camera.unproject(np.stack([x, y], -1), surface.z))[..., 1]
    seen = seen_hair(albedo, colours, solid, surface.face, height, surface.unit)
    ends = ends_of(facing, own.shape[1] - k)
    place = (at + 0.5) * surface.scale - 0.5
    there = continued(seen.there[..., None], place, ends)[..., 0].astype(np.float64)
    azimuth, elevation = own_directions(fit, enlarged(surface.shell, k))
    high = smoothstep(elevation, -25.0, -10.0)
    around = there[(elevation > CROWN[0]) & (elevation < CROWN[2])].mean()  # with hair all round, there is on the crown
    crown = smoothstep(around, *SOME_HAIR) * smoothstep(elevation, *CROWN[:2])
    above = np.maximum.accumulate(np.maximum(smoothstep(there, *SOME_HAIR), crown), 0)  # it hangs from where it grows
    unseen = (1 - smoothstep(facing, 0.0, 2 * EDGE)) * smoothstep(elevation, *ABOVE_EARS)
    grows = np.maximum(scalp_share(azimuth, elevation), unseen) * above
    long = smoothstep(there, *LONG_HAIR) * smoothstep(np.abs(azimuth), 50.0, 75.0)
    share = np.maximum(np.maximum(grows, smoothstep(there, *SOME_HAIR) * high), long) * (1 - own)
    return grown_hair(seen, place, ends, own.shape[1] - k), np.asarray(share)


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
    lit = lit + (paint.lit - lit) * paint.hair[..., None]
    texture, flat = (np.asarray(srgb_from_linear(np.clip(a, 0, 1)) * 255 + 0.5, np.uint8) for a in (lit, paint.colour))
    shape = paint.own.shape
    k = texels(surface.shell, colours.shape[1])
    head = head_weight(fit, enlarged(surface.shell, k).reshape(-1, 3)).reshape(shape)
    return texture, flat, pack_surface(paint.normal, head, SKIN_GLOSS + (HAIR_GLOSS - SKIN_GLOSS) * paint.hair)
