"""The photograph's light, estimated from the skin, and the albedo that is left when it is divided out (paper, 4.3)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import linear_table, luminance
from narrate_stream.ops.lighting import COSINE, fit_sh, sh_basis
from narrate_stream.types import Array, Image

F64 = NDArray[np.float64]
LOWEST = 0.22  # shading below this is not believed: dividing by it would make noise of shadows
DARKEST = 0.06  # F_A's shading in cast shadow: lower would be noise
FRONTAL = 0.5, 0.85  # share of a lamp at the camera from which a light hides its shadows, and hides them all
EVENNESS = 0.55  # how much of the skin's broad unevenness that the light does not explain is taken for shadow


def estimate_light(level: F64, normals: F64, mask: NDArray[np.bool_]) -> F64:
    """(9,) spherical harmonics (radiance, grey) of the light on the skin, mean shading 1 over `mask`.

    level (H, W) linear luminance; normals (H, W, 3). Even light when there is too little skin.
    """
    if mask.sum() < 64:
        return fit_sh(np.ones(9), np.repeat([[0.0, 0.0, 1.0]], 9, 0))
    step = max(1, int(mask.sum()) // 20000)
    return fit_sh(level[mask][::step], normals[mask][::step])


def shading_of(light: F64, normals: F64) -> F64:
    """(H, W) shading of the portrait's own light, not below LOWEST."""
    return np.asarray(np.maximum((sh_basis(normals) * COSINE) @ light, LOWEST))


def hides_shadows(light: F64) -> float:
    """0..1 how far `light` (9,) comes from where the camera stands: what it does not reach is then not seen either."""
    share = light[2] / max(float(light[0]), 1e-6) / np.sqrt(3)  # 1 for a lamp at the camera and nothing else
    t = float(np.clip((share - FRONTAL[0]) / (FRONTAL[1] - FRONTAL[0]), 0, 1))
    return t * t * (3 - 2 * t)


def with_flash(shading: F64, normals: F64, skin: NDArray[np.bool_], hidden: float) -> F64:
    """(H, W) the shading, taken for that of a lamp at the camera as far as it hides its shadows: nine harmonics with a
    prior make such a lamp too even, and the cheeks' sides too dark for their albedo."""
    flash = np.maximum(normals[..., 2], LOWEST)
    level = float(shading[skin].mean() / flash[skin].mean()) if skin.any() else 1.0
    return np.asarray(shading + hidden * (level * flash - shading))


def skin_mask(image: Image, face: NDArray[np.bool_], holes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) pixels of plain skin: in the face, outside eyes and mouth, not far darker or brighter than most."""
    level = luminance(linear_table()[image])
    inside = face & ~holes
    if inside.sum() < 64:
        return inside
    lo, hi = np.percentile(level[inside], [6, 98.5])
    return np.asarray(inside & (level > lo) & (level < hi))


def albedo_map(
    image: Image, shading: F64, occlusion: F64, skin: NDArray[np.bool_], trust: F64, hidden: float = 0.0
) -> Array:
    """(H, W, 3) linear albedo: picture / light.

    trust (H, W), 0..1, is how far the shading is believed (1 on the face, less on hair and cloth). What stays of broad
    dark and light areas on the skin is evened out by EVENNESS, since skin is even and cast shadows are not in the SH.
    `hidden`, 0..1, is how far the light hides its shadows: hidden ones are not divided out.
    """
    linear = linear_table()[image]
    light = 1 + (shading * np.clip(occlusion, 0.3, 1) ** (0.5 * (1 - hidden)) - 1) * trust
    albedo = linear / np.maximum(light, LOWEST)[..., None]
    if skin.sum() > 64:
        size = np.sqrt(skin.sum()) * 0.09
        weight = cv2.GaussianBlur(skin.astype(np.float32), (0, 0), size)
        log = np.log(np.maximum(luminance(albedo), 1e-3))
        broad = cv2.GaussianBlur(np.where(skin, log, 0).astype(np.float32), (0, 0), size) / np.maximum(weight, 1e-3)
        excess = broad - np.median(log[skin])
        apply = np.clip(weight * 1.6 - 0.3, 0, 1) * np.clip(trust, 0, 1)
        albedo = albedo * np.exp(-EVENNESS * (1 - hidden) * np.clip(excess, -0.9, 0.5) * apply)[..., None]
    return np.asarray(np.clip(albedo, 0, 1), np.float32)


def light_residual(image: Image, albedo: Array, light: F64, normals: F64, skin: NDArray[np.bool_]) -> float:
    """How far albedo times the light on the normals is from the photograph: rms of the log ratio over the skin, after
    one gain. 0.1 is ten percent; cast shadows, which the smooth light cannot hold, add to it. nan without skin."""
    if skin.sum() < 64:
        return float("nan")
    made = luminance(albedo)[skin] * shading_of(light, normals)[skin]
    ratio = np.log(luminance(linear_table()[image])[skin] + 1e-3) - np.log(made + 1e-3)
    return float(np.std(ratio))


def network_albedo(
    image: Image, plain: Array, shading: Array, trust: Array, normals: F64, skin: NDArray[np.bool_]
) -> tuple[Array, F64]:
    """(H, W, 3) linear albedo by F_A's shading where there is one, `plain` elsewhere, and the light (9,) again.

    shading (h, w, 3) linear, how much brighter the photograph is than its albedo, and trust (h, w) 0..1 are small maps;
    the picture's own detail stays in the albedo, since shading is smooth except in shadows' edges. Mean shading of the
    skin is 1, so that the exposure stays the photograph's.
    """
    h, w = image.shape[:2]
    wide = np.log(np.maximum(cv2.resize(shading, (w, h), interpolation=cv2.INTER_CUBIC), 1e-3))
    share = cv2.resize(trust, (w, h), interpolation=cv2.INTER_LINEAR)[..., None]
    if skin.sum() > 64:
        wide = wide - np.log(np.mean(np.exp(wide[skin])))
    light = np.maximum(np.exp(wide), DARKEST)
    albedo = linear_table()[image] / light
    mixed = np.exp(np.log(plain + 1e-4) * (1 - share) + np.log(albedo + 1e-4) * share) - 1e-4
    again = estimate_light(luminance(np.exp(wide)).astype(np.float64), normals, skin)
    return np.asarray(np.clip(mixed, 0, 1), np.float32), again
