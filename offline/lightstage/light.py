"""Light on a head: one light at a time, and their sum under any environment (Total Relighting, 3.1; paper, 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.lighting import stage_directions
from offline.lightstage.gbuffer import StageBuffer, unit
from offline.lightstage.heads import EYE, HAIR, SKIN
from offline.window import FACE_CM, STAGE_SPAN

F32 = NDArray[np.float32]
BLEED = (0.36, 0.13, 0.07)  # cm that light travels under skin, red, green, blue
BOUNCE = 0.5  # share of the light that hidden sky would have given and neighbouring skin gives instead
LIGHT_SIZE = 0.14  # roughness added for the angle between the stage's lights
CORNEA = 0.08


@dataclass(frozen=True)
class Transport:
    """Response of every seen pixel to every stage light: diffuse and specular (P, L), of radiance times solid angle;
    at (S, S) the seen pixels; open (P,) share of the cosine-weighted sky that is seen."""

    diffuse: F32
    specular: F32
    at: NDArray[np.bool_]
    open: F32


def transport(buffer: StageBuffer) -> Transport:
    """One light at a time: Lambert and GGX with the traced visibility."""
    lights = stage_directions().astype(np.float32)
    at, size = buffer.matte, buffer.matte.shape
    seen = np.stack(
        [
            cv2.resize(np.ascontiguousarray(buffer.seen[..., k : k + 3]) * np.float32(1), size[::-1])
            for k in range(0, len(lights), 3)
        ],
        2,
    ).reshape(*size, -1)[at]
    # half-resolution visibility leaks round silhouettes: what faces away gets nothing anyway
    normal = buffer.normal[at]
    cosine = np.clip(normal @ lights.T, 0, None)
    diffuse = cosine * seen / np.float32(np.pi)
    rough = np.where(buffer.label[at] == EYE, CORNEA, buffer.roughness[at])
    specular = ggx(normal, lights, np.sqrt(rough**2 + LIGHT_SIZE**2)) * (buffer.specular[at] * 0.033)[:, None] * seen
    return Transport(diffuse, specular, at, (cosine * seen).sum(1) / (cosine.sum(1) + 1e-6))


def ggx(normal: F32, lights: F32, roughness: F32) -> F32:
    """(P, L) GGX lobe times cosine seen from +z, without the Fresnel reflectance at normal incidence; Schlick's rise
    toward grazing angles included as a factor. normal (P, 3), lights (L, 3), roughness (P,)."""
    half = unit(lights + np.array([0, 0, 1], np.float32))
    nh = np.clip(normal @ half.T, 0, 1)
    nl = np.clip(normal @ lights.T, 0, 1)
    nv = np.clip(normal[:, 2:3], 0.05, 1)
    a2 = (roughness**4)[:, None]
    lobe = a2 / (np.pi * (nh * nh * (a2 - 1) + 1) ** 2)
    k = (roughness[:, None] ** 2) / 2
    shadowing = 1 / ((nl * (1 - k) + k) * (nv * (1 - k) + k))
    rise = 1 + 24 * (1 - half[:, 2])[None] ** 5  # (1 - F0) / F0 at F0 = 0.04
    return np.asarray(lobe * shadowing * rise * nl / 4, np.float32)


def lit(buffer: StageBuffer, olat: Transport, weights: F32) -> F32:
    """(S, S, 3) linear picture of the head under `weights` (L, 3), radiance times solid angle of each stage light;
    black where there is no head."""
    irradiance = np.zeros((*olat.at.shape, 3), np.float32)
    direct = olat.diffuse @ weights
    skin = buffer.label[olat.at]
    around = direct.mean(0) * BOUNCE * (1 - olat.open)[:, None] * np.clip(buffer.albedo[olat.at], 0, 1)
    irradiance[olat.at] = direct + around
    irradiance = bled(irradiance, buffer)
    out = np.zeros_like(irradiance)
    out[olat.at] = irradiance[olat.at] * buffer.albedo[olat.at] * np.float32(1.0)
    shine = olat.specular @ weights
    shine[skin == HAIR] *= 0.6
    out[olat.at] += shine
    return out


def bled(irradiance: F32, buffer: StageBuffer) -> F32:
    """Light spread under the skin by colour: a blur in the picture that stays on the skin and on one depth."""
    mask = (buffer.label == SKIN).astype(np.float32)
    if mask.sum() < 16:
        return irradiance
    pixel = buffer_unit(buffer)
    out = irradiance.copy()
    for c, distance in enumerate(BLEED):
        sigma = distance / pixel
        if sigma < 0.25:
            continue
        weight = cv2.GaussianBlur(mask, (0, 0), sigma)
        soft = cv2.GaussianBlur(irradiance[..., c] * mask, (0, 0), sigma) / np.maximum(weight, 1e-3)
        out[..., c] = np.where(mask > 0, soft, irradiance[..., c])
    return out


def buffer_unit(buffer: StageBuffer) -> float:
    """cm per pixel, from the framing."""
    return STAGE_SPAN * FACE_CM / len(buffer.matte)
