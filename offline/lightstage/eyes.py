"""What eyes and mouth of a synthetic head are made of, at points of the neutral average head.

Convention: cm, x right in the image, y up, z out of the face; colours are linear sRGB albedo, 0..1.
"""

from __future__ import annotations

import numpy as np

from offline.lightstage.person import Skin
from offline.lightstage.skin import Surface
from offline.lightstage.texture import F32, f32, mix, noise, smoothstep


def eye_at(skin: Skin, points: F32, marks: F32) -> Surface:
    """Surface of both eyeballs at `points` (N, 3) of sclera or iris parts of the neutral head: the iris is painted by
    the distance from the axis of the eye, so it also shows on the kit's outer (sclera) ball, which hides the inner."""
    points = np.asarray(points, np.float32)
    left = points[:, :1] > 0
    middle = np.where(left, marks[42:48].mean(0)[None], marks[36:42].mean(0)[None])
    # The pupil sits a little nearer the nose and above the middle of the open lids of the kit.
    off = points - (middle + np.where(left, f32([-0.05, 0.17, 0]), f32([0.05, 0.17, 0])))
    r = np.where(off[:, 2] > -3, np.hypot(off[:, 0], off[:, 1]), 9.0) / skin.iris_radius
    angle = np.arctan2(off[:, 1], off[:, 0])
    wet = noise(skin.seed, points, 3.0, 20)
    corner = smoothstep(np.abs(off[:, 0]), 0.65, 1.35)
    vein = noise(skin.seed, points * f32([0.3, 1.0, 1.0]), 2.5, 21) > 1.1
    white = f32([0.52, 0.475, 0.435]) * (1 + 0.03 * wet[:, None])
    pink = (0.15 + 0.5 * skin.eye_red) * corner + 0.25 * skin.eye_red * vein * (0.3 + corner)
    white = white * (1 - pink[:, None] * f32([0.25, 0.75, 0.7]))
    fibre = noise(
        skin.seed, np.stack([np.cos(angle), np.sin(angle), 0.15 * r], 1).astype(np.float32), 3.0, 22, fine=True
    )
    ring = 1 - 0.6 * smoothstep(r, 0.78, 1.0)
    inner = 1 + 0.5 * np.exp(-(((r - 0.48) / 0.12) ** 2))
    iris = f32(skin.iris) * (ring * inner * (1 + 0.22 * fibre))[:, None]
    iris = mix(np.asarray(iris, np.float32), (0.006, 0.005, 0.005), 1 - smoothstep(r, 0.36, 0.44))
    albedo = mix(np.asarray(white, np.float32), iris, 1 - smoothstep(r, 0.93, 1.07))
    count = len(points)
    return Surface(
        albedo=np.clip(albedo, 0.004, 0.9),
        roughness=np.full(count, 0.08, np.float32),
        specular=np.ones(count, np.float32),
        bump=np.zeros(count, np.float32),
    )


def mouth_at(skin: Skin, points: F32, kind: str) -> Surface:
    """Surface inside the mouth at `points` (N, 3) of the neutral head; `kind` is "teeth" or "gums" (and tongue).

    Raises ValueError for another kind.
    """
    if kind not in ("teeth", "gums"):
        raise ValueError(f"kind is teeth or gums, not {kind!r}")
    points = np.asarray(points, np.float32)
    count = len(points)
    grain = noise(skin.seed, points, 4.0, 30)[:, None]
    # Light hardly reaches the back of the mouth, however open; the shader has no shadows between lips and teeth.
    deep = (0.35 + 0.65 * smoothstep(points[:, 2], 5.5, 10.0))[:, None]
    if kind == "teeth":
        stain = 1 - skin.teeth_yellow * f32([0.05, 0.12, 0.3])
        albedo = f32([0.58, 0.53, 0.44]) * stain * (1 + 0.04 * grain)
    else:
        albedo = f32([0.4, 0.16, 0.14]) * (1 - 0.3 * min(skin.melanin * 3, 1)) * (1 + 0.1 * grain)
    return Surface(
        albedo=np.clip(albedo * deep, 0.004, 0.9).astype(np.float32),
        roughness=np.full(count, 0.22 if kind == "teeth" else 0.3, np.float32),
        specular=np.full(count, 0.9, np.float32),
        bump=np.zeros(count, np.float32),
    )
