"""What the stage's camera sees of a head, per pixel: geometry, material and which of the 114 lights reach it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.kernels.visibility import visibility
from narrate_stream.ops.lighting import stage_directions
from offline.lightstage.eyes import eye_at, mouth_at
from offline.lightstage.heads import BACKGROUND, EYE, MOUTH, SKIN, Head, Kit
from offline.lightstage.skin import skin_at
from offline.softmesh import MapRenderer, screen_of

F32 = NDArray[np.float32]
HALF = 2  # the lights' visibility is asked at every second pixel


@dataclass(frozen=True)
class StageBuffer:
    """Pixel maps of one head, (S, S, ...). normal: unit, camera space, with the fine relief; depth: z, cm; albedo:
    linear; roughness and specular: 0..1; matte: bool; label: what is there (heads.LABELS); seen (S/2, S/2, L): 1 where
    stage light l reaches the pixel."""

    normal: F32
    depth: F32
    albedo: F32
    roughness: F32
    specular: F32
    matte: NDArray[np.bool_]
    label: NDArray[np.uint8]
    seen: NDArray[np.uint8]


def render_buffer(head: Head, stage: Kit) -> StageBuffer:
    """Rasterise, paint and light-trace one head."""
    size = head.size
    renderer = MapRenderer(head.triangles)
    screen = screen_of(head.vertices, head.camera.project(head.vertices))
    values = np.concatenate([head.vertices, head.normals, head.neutral, head.paint, head.gloss], 1)
    maps = renderer.map(screen, values, size, size).astype(np.float32)
    matte = ~np.isnan(maps[..., 0])
    label = np.where(matte, head.label[renderer.hit], BACKGROUND).astype(np.uint8)
    material = np.where(matte, head.material[renderer.hit], -1)
    point, smooth = np.nan_to_num(maps[..., :3]), unit(np.nan_to_num(maps[..., 3:6]))
    facing = (smooth * -point).sum(-1) < 0  # the far side of open sheets
    smooth[facing] *= -1
    albedo, gloss, bump = painted(head, stage, maps, label, material)
    normal = unit(relieved(smooth, point, bump, matte))
    seen = traced(head, point, smooth, matte)
    return StageBuffer(normal, point[..., 2], albedo, gloss[..., 0], gloss[..., 1], matte, label, seen)


def unit(n: F32) -> F32:
    """Unit length along the last axis."""
    return np.asarray(n / (np.linalg.norm(n, axis=-1, keepdims=True) + 1e-9), np.float32)


def painted(
    head: Head, stage: Kit, maps: F32, label: NDArray[np.uint8], material: NDArray[np.int32]
) -> tuple[F32, F32, F32]:
    """Albedo (S, S, 3), roughness and specular (S, S, 2) and bump (S, S) cm."""
    albedo, gloss = np.nan_to_num(maps[..., 9:12]), np.nan_to_num(maps[..., 12:14], nan=0.5)
    bump = np.zeros(label.shape, np.float32)
    marks = np.asarray(stage.kit.neutral[stage.marks])
    neutral = maps[..., 6:9]
    names = stage.kit.material_names
    at = (label == SKIN) & ~np.isnan(neutral[..., 0])
    skin = skin_at(head.skin, neutral[at], marks)
    albedo[at], gloss[at, 0], gloss[at, 1], bump[at] = skin.albedo, skin.roughness, skin.specular, skin.bump
    for code in (EYE, MOUTH):
        for index in np.unique(material[label == code]):
            at = (material == index) & (label == code)
            made = (
                eye_at(head.skin, neutral[at], marks)
                if code == EYE
                else mouth_at(head.skin, neutral[at], "teeth" if "Teeth" in names[index] else "gums")
            )
            albedo[at], gloss[at, 0], gloss[at, 1] = made.albedo, made.roughness, made.specular
    return albedo, gloss, bump


def relieved(normal: F32, point: F32, bump: F32, matte: NDArray[np.bool_]) -> F32:
    """Normals (S, S, 3) tilted by the relief `bump` (S, S) cm, from its slope along the surface (Mikkelsen's bump
    mapping); not across silhouettes, where neighbours are no neighbours."""
    dx, dy = (np.gradient(point, axis=a) for a in (1, 0))
    bx, by = (np.gradient(bump, axis=a) for a in (1, 0))
    rx, ry = np.cross(dy, normal), np.cross(normal, dx)
    area = (dx * rx).sum(-1)
    slope = np.sign(area)[..., None] * (bx[..., None] * rx + by[..., None] * ry)
    inner = cv2.erode(matte.astype(np.uint8), np.ones((3, 3))) > 0
    steep = np.abs(dx[..., 2]) + np.abs(dy[..., 2]) > 6 * np.median(np.abs(dx[matte][:, 0])) if matte.any() else matte
    good = inner & ~steep
    tilted = np.abs(area)[..., None] * normal - slope
    return np.asarray(np.where(good[..., None], unit(tilted.astype(np.float32)), normal), np.float32)


def traced(head: Head, point: F32, normal: F32, matte: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(S/2, S/2, L) 1 where a stage light reaches the middle of the pixel."""
    lights = stage_directions().astype(np.float32)
    small = np.s_[HALF // 2 :: HALF, HALF // 2 :: HALF]
    here = matte[small]
    out = np.zeros((*here.shape, len(lights)), np.uint8)
    out[here] = visibility(head.vertices, head.triangles, point[small][here], normal[small][here], lights)
    return out
