"""What skin and hair of a synthetic head are made of: colour, gloss and fine relief, at points of the average head.

Points and landmarks are solid texture coordinates, so no UV layout is needed and features stay where they belong under
identity and expression. Bare skin comes from melanin and blood (`tone`); everything else (brows, lips, stubble,
make-up) is painted over that.

Convention: cm, x right in the image, y up, z out of the face; colours are linear sRGB albedo, 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.lightstage.painted import AXIS_Z, ROUND_RADIUS, Place, place_of
from offline.lightstage.person import Skin
from offline.lightstage.texture import F32, blob, f32, mix, noise, smoothstep
from offline.lightstage.tone import tone


@dataclass(frozen=True)
class Surface:
    """Albedo (N, 3) linear 0..1, roughness (N,) 0.05..1, specular (N,) 0..1 (of the F0), bump (N,) cm outwards."""

    albedo: F32
    roughness: F32
    specular: F32
    bump: F32


def skin_at(skin: Skin, points: F32, marks: F32) -> Surface:
    """Surface of face, ears, neck and scalp at `points` (N, 3) of the neutral head; `marks` (68, 3): its landmarks."""
    points = np.asarray(points, np.float32)
    place = place_of(skin, points, np.asarray(marks, np.float32))
    speckle = noise(skin.seed, points, 4.0, 1, fine=True)
    albedo = _complexion(skin, points, place)
    albedo = _made_up(skin, points, place, albedo)
    albedo, cover = _haired(skin, points, place, albedo, speckle)
    lip = smoothstep(place.lips, -0.08, 0.12) * place.front
    zone = blob(points, (0.0, 3.5, 11.5), (2.0, 5.0, 3.0)) + blob(points, (0.0, 8.5, 10.0), (4.5, 2.0, 3.0))
    roughness = 0.52 - 0.16 * skin.oil * np.clip(zone, 0, 1) - 0.06 * skin.oil + 0.03 * speckle
    roughness = roughness - 0.12 * lip + (0.62 - roughness) * cover
    specular = (0.7 + 0.25 * skin.oil * np.clip(zone, 0, 1) + 0.1 * lip) * (1 - 0.75 * cover)
    return Surface(
        albedo=np.clip(albedo, 0.004, 0.95).astype(np.float32),
        roughness=np.clip(roughness, 0.05, 1).astype(np.float32),
        specular=np.clip(specular, 0, 1).astype(np.float32),
        bump=_relief(skin, points, place, lip, speckle, cover),
    )


def _complexion(skin: Skin, points: F32, place: Place) -> F32:
    """(N, 3) colour of bare skin and lips: where blood, melanin and thin skin are."""
    broad, spots = noise(skin.seed, points, 26.0, 2), noise(skin.seed, points, 9.0, 3)
    cheek = blob(points, (4.3, 0.6, 9.2), (1.7, 1.6, 2.2))
    nose = blob(points, (0.0, 0.1, 12.6), (1.3, 1.1, 1.6)) + 0.6 * blob(points, (1.7, -0.5, 11.0), (0.6, 0.7, 1.0))
    chin = blob(points, (0.0, -6.4, 10.4), (1.4, 0.9, 1.6))
    brow = blob(points, (0.0, 8.8, 9.8), (4.5, 2.0, 3.0))
    lids = smoothstep(place.eyes, -0.75, -0.1) * place.front
    under = smoothstep(1.0 - np.abs(place.bag) / 0.75, 0, 1) * place.front * smoothstep(place.eyes, -1.6, -0.4)
    red = skin.flush * (0.5 * cheek + 0.55 * nose + 0.2 * chin + 0.55 * place.ear) + 0.2 * lids - 0.12 * brow
    red = red + skin.mottle * (0.1 * broad + 0.1 * spots) + 0.25 * skin.circles * under
    brown = skin.mottle * (0.045 * noise(skin.seed, points, 17.0, 4) + 0.045 * noise(skin.seed, points, 5.0, 5))
    brown = brown + 0.1 * brow + 0.3 * skin.circles * (under + 0.5 * lids) + _spots(skin, points, place)
    melanin = skin.melanin * np.exp(brown - 0.1 * smoothstep(-points[:, 1], 8.0, 11.0))
    albedo = tone(melanin.astype(np.float32), (skin.blood * np.exp(red)).astype(np.float32))
    albedo = albedo * (1 - skin.yellow * (1 + brow)[:, None] * f32([0.15, 0.4, 1.6]))
    # Veins and thin skin under the eye take red away; real circles are a little blue.
    albedo = albedo * (1 - skin.circles * under[:, None] * f32([0.16, 0.13, 0.07]))
    lip = smoothstep(place.lips + 0.03 * spots, -0.17, 0.14) * place.front
    return mix(albedo, _lip_colour(skin, points, place), lip)


def _lip_colour(skin: Skin, points: F32, place: Place) -> F32:
    """(N, 3) bare lips: less melanin and more blood than the face, browner above, wet and red inside."""
    lower = smoothstep(-points[:, 1], 3.2, 3.6)
    melanin = skin.melanin * (1.0 - 0.32 * lower) * np.exp(0.12 * noise(skin.seed, points, 5.0, 6)) + 0.012
    streak = noise(skin.seed, points * f32([1.0, 0.18, 0.18]), 2.6, 7)
    blood = skin.blood * np.exp(0.6 + 0.6 * skin.lip_blood + 0.14 * streak)
    colour = tone(melanin.astype(np.float32), blood.astype(np.float32)) * f32([0.96, 1.0, 1.12])
    inner = smoothstep(place.slit, -0.12, 0.05)
    return np.asarray(colour * (1 - inner[:, None] * f32([0.4, 0.55, 0.5])), np.float32)


def _spots(skin: Skin, points: F32, place: Place) -> F32:
    """(N,) added log melanin of freckles, age spots and moles."""
    out = np.zeros(len(points), np.float32)
    if skin.freckles:
        out = out + _freckles(skin, points)
    if skin.age > 0.5:
        out = out + (skin.age - 0.5) * 0.7 * smoothstep(noise(skin.seed, points, 14.0, 10, fine=True), 1.9, 2.9)
    rng = np.random.default_rng((skin.seed, 55))
    turn = np.arctan2(points[:, 0], points[:, 2]) * np.float32(9.5)
    for _ in range(skin.moles):
        at, size = (rng.normal(0, 6.5), rng.uniform(-9, 9)), rng.uniform(0.06, 0.13)
        squared = ((turn - at[0]) ** 2 + (points[:, 1] - at[1]) ** 2) / size**2
        out = out + 1.3 * np.exp(-(np.minimum(squared, 6) ** 2)) * (place.lips < -0.2)
    return np.asarray(out, np.float32)


def _freckles(skin: Skin, points: F32) -> F32:
    """(N,) added log melanin: small dots over cheeks and nose, in groups."""
    where = np.clip(blob(points, (2.2, 2.2, 10.5), (3.8, 2.4, 4.0)) + 0.15, 0, 1)
    where = where * (0.6 + 0.4 * np.tanh(noise(skin.seed, points, 12.0, 9)))
    grain = noise(skin.seed, points, 5.5, 8, fine=True)
    return np.asarray(skin.freckles * 0.75 * where * smoothstep(grain, 0.6, 2.2), np.float32)


def _made_up(skin: Skin, points: F32, place: Place, albedo: F32) -> F32:
    """(N, 3) with blush, eye shadow, the dark edge of the lids (lashes, liner) and lipstick."""
    x, y, _ = points.T
    if skin.blush:
        albedo = albedo * (
            1 - skin.blush * blob(points, (5.0, 0.8, 8.6), (1.5, 1.0, 2.0))[:, None] * f32([0.05, 0.32, 0.26])
        )
    above = place.front * smoothstep(y - 3.45 - 0.06 * np.abs(np.abs(x) - 3.2), -0.1, 0.25)
    if skin.shadow:
        lid = smoothstep(place.eyes, -1.25, -0.2) * above * smoothstep(5.6 - y, 0.0, 0.7)
        tint = 0.3 * tone(f32([skin.melanin]), f32([skin.blood])) + 0.7 * f32([skin.shadow_rgb])
        albedo = mix(albedo, f32(tint), skin.shadow * lid)
    edge = np.exp(-(((place.eyes + 0.04) / 0.11) ** 2)) * place.front
    lash = edge * (0.3 + 0.25 * above + skin.liner * (0.15 + 0.5 * above))
    albedo = mix(albedo, (0.012, 0.009, 0.008), np.clip(lash, 0, 0.92).astype(np.float32))
    if skin.lipstick:
        albedo = mix(albedo, skin.lipstick_rgb, skin.lipstick * smoothstep(place.lips, -0.07, 0.05) * place.front)
    return albedo


def _haired(skin: Skin, points: F32, place: Place, albedo: F32, speckle: F32) -> tuple[F32, F32]:
    """Albedo (N, 3) under painted hair, and how much hair covers (N,)."""
    x, y, z = points.T
    turn = np.arctan2(x, z - AXIS_Z) * ROUND_RADIUS
    # Strands: noise that is stretched along the way hair falls (down the sides, back over the top).
    strand = noise(skin.seed, np.stack([turn, 0.1 * y, 0.1 * z], 1).astype(np.float32), 3.2, 11, fine=True)
    ragged = 0.1 * strand + 0.12 * speckle + 0.3 * noise(skin.seed, points, 6.0, 12)
    bare = 1 - place.ear
    scalp = smoothstep(place.hair + ragged, -0.3, 1.1) * skin.scalp * bare
    off_lips = smoothstep(-place.lips, 0.0, 0.25)
    field = np.maximum(place.beard, place.moustache)
    full = smoothstep(place.beard + ragged, -0.2, 0.8) * skin.beard
    full = np.maximum(full, smoothstep(place.moustache + 0.5 * ragged, -0.15, 0.35) * skin.moustache) * off_lips * bare
    shadow = skin.stubble * smoothstep(field + 0.4 * ragged, -0.5, 0.6) * off_lips * bare
    # Shaved hair shines through the skin as a cool shade, finely speckled.
    dots = np.clip(shadow * (0.55 + 0.3 * speckle), 0, 0.8)
    cool = 0.5 * np.minimum(f32(skin.hair), 0.8 * albedo) + 0.25 * albedo * f32([0.9, 1.0, 1.08])
    albedo = mix(albedo, np.asarray(cool, np.float32), np.asarray(dots, np.float32))
    shine = np.clip(1 + 0.22 * strand + 0.12 * speckle, 0.35, 1.9)[:, None]
    cover = np.clip(np.maximum(scalp, full) * (1.0 + 0.08 * speckle + 0.06 * strand), 0, 0.98)
    albedo = mix(albedo, np.asarray(f32(skin.hair) * shine, np.float32), np.asarray(cover, np.float32))
    albedo = mix(albedo, skin.brow, np.clip(place.brow, 0, 0.95).astype(np.float32))
    return albedo, np.asarray(np.clip(np.maximum(cover, 0.7 * place.brow), 0, 1), np.float32)


def _relief(skin: Skin, points: F32, place: Place, lip: F32, speckle: F32, cover: F32) -> F32:
    """(N,) cm: pores, wrinkles by age, folds, lip creases, hair."""
    x, y, _ = points.T
    side, age = np.abs(x), skin.age**1.3
    wave = noise(skin.seed, points, 14.0, 13)
    forehead = blob(points, (0.0, 8.6, 9.8), (3.6, 1.5, 3.0))
    groove = np.cos(2 * np.pi * (y / 0.95 + 0.28 * wave + 0.03 * x * x))
    lines = -(np.clip(groove, 0.1, 1) ** 2) * forehead * np.clip(0.8 + 0.5 * wave, 0, 1.6)
    outer = np.stack([side - 4.6, y - 3.4], 1)
    rays = np.arctan2(outer[:, 1], np.maximum(outer[:, 0], 0.05))
    reach = np.linalg.norm(outer, axis=1)
    crow = -np.clip(np.cos(9 * rays + 1.2 * wave), 0.1, 1) * np.exp(-(((reach - 0.9) / 0.6) ** 2)) * (outer[:, 0] > 0)
    frown = -np.exp(-(((side - 0.65 - 0.1 * wave) / 0.14) ** 2)) * blob(points, (0.5, 6.2, 10.7), (1.0, 0.8, 1.0))
    fold = -np.exp(-((place.fold / 0.16) ** 2)) * place.front
    bag = (np.exp(-(((place.eyes + 0.65) / 0.25) ** 2)) * (y < 3.2) - np.exp(-((place.bag / 0.14) ** 2))) * place.front
    creases = noise(skin.seed, points * f32([1.0, 0.15, 0.15]), 2.0, 14)
    quiet = 1 - 0.8 * lip
    bump = age * (0.05 * lines + 0.035 * crow + 0.045 * frown + 0.06 * fold + 0.04 * bag * (0.4 + skin.circles))
    bump = bump + quiet * (0.0016 * speckle + 0.004 * noise(skin.seed, points, 5.0, 15)) + 0.006 * lip * creases
    return np.asarray(bump + 0.004 * cover * speckle, np.float32)
