"""Kit heads photographed from many sides: what the detector sees beside what is true, for `offline/canonical.py`.

Convention: kit space in cm, x right in the image, y up, z toward the viewer; camera space as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.ops.geometry import Camera, rotation_from_angles
from offline.facekit import FaceKit
from offline.softmesh import MapRenderer, screen_of

F64 = NDArray[np.float64]
SIZE = 384
HIDDEN = ("EyeOcclusion", "EyeBlend", "Lacrimal")
ALBEDO = {"Face": 0.55, "BackHead": 0.5, "Teeth": 0.7, "Sclera": 0.8, "Iris": 0.12, "EyeLashes": 0.15, "Gums": 0.3}
NEAR, FAR = 36.0, 260.0  # cm from the camera: an arm's length to a long lens
SEEN = 0.25  # cosine of the angle to the viewer from which a landmark's place on the surface is believed


@dataclass(frozen=True)
class Shot:
    """One photograph of a kit head: landmarks (478, 3) as detected, in pixels; camera; rotation (3, 3) and place (3,)
    of the kit's origin in camera space; depth (468,) camera-space z (cm) under each landmark, nan where nothing or
    only a grazing surface is seen; vertices (V, 3) of the head in kit space."""

    landmarks: F64
    camera: Camera
    rotation: F64
    place: F64
    depth: F64
    vertices: F64


class Studio:
    """Photographs one kit's heads."""

    def __init__(self, kit: FaceKit) -> None:
        shown = ~np.array([any(h in n for h in HIDDEN) for n in kit.material_names])[kit.material]
        self.renderer = MapRenderer(kit.triangles[shown], np.flatnonzero(shown))
        self.kit = kit
        count = kit.neutral.size
        self.identity = kit.identity.astype(np.float32).reshape(-1, count)
        self.expression = kit.expression.astype(np.float32).reshape(-1, count)
        tone = [next((a for key, a in ALBEDO.items() if key in name), 0.5) for name in kit.material_names]
        self.tone = np.array(tone)[kit.material]

    def head(self, rng: np.random.Generator) -> F64:
        """(V, 3) vertices of a random head with, half the time, an expression."""
        identity = rng.normal(0, 0.9, len(self.identity)).astype(np.float32)
        face = np.zeros(len(self.expression), np.float32)
        if rng.random() < 0.5:
            face[rng.choice(len(face), 5, replace=False)] = rng.uniform(0, 0.7, 5)
        return np.asarray(self.kit.neutral + (identity @ self.identity + face @ self.expression).reshape(-1, 3), float)

    def shoot(self, rng: np.random.Generator, mesh: FaceMesh) -> Shot | None:
        """A random head from a random side and distance; None when the detector finds no face."""
        vertices = self.head(rng)
        yaw = rng.choice([rng.uniform(-48, 48), rng.normal(0, 12)])
        rotation = rotation_from_angles(yaw, np.clip(rng.normal(0, 11), -28, 28), rng.normal(0, 6))
        distance = 1 / rng.uniform(1 / FAR, 1 / NEAR)
        focal = rng.uniform(0.34, 0.5) * SIZE * (distance - 9) / 15
        aside = rng.uniform(-0.1, 0.1, 2) * 15 / 0.4
        place = np.array([aside[0], aside[1] + 1, -distance])
        posed = vertices @ rotation.T + place
        camera = Camera(focal, (SIZE - 1) / 2, (SIZE - 1) / 2)
        at = self.renderer.map(screen_of(posed, camera.project(posed)), posed, SIZE, SIZE)
        normal = np.cross(np.gradient(at, axis=0), np.gradient(at, axis=1))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
        normal *= -np.sign(np.nansum(normal * at, -1, keepdims=True))
        landmarks = mesh(self.picture(normal, rng))
        if landmarks is None:
            return None
        x, y = np.clip(np.round(landmarks[:468, :2]).astype(int), 1, SIZE - 2).T
        facing = -(normal[y, x] * at[y, x]).sum(-1) / np.linalg.norm(at[y, x], axis=-1)
        depth = np.where(facing > SEEN, at[y, x, 2], np.nan)
        return Shot(landmarks, camera, rotation, place, depth, vertices)

    def picture(self, normal: F64, rng: np.random.Generator) -> NDArray[np.uint8]:
        """(S, S, 3) the head under one random soft light."""
        light = rng.normal(0, 0.5, 3) + np.array([0, 0.35, 1.0])
        lit = rng.uniform(0.25, 0.5) + 0.65 * np.clip(normal @ (light / np.linalg.norm(light)), 0, 1)
        tone = self.tone[self.renderer.kept[self.renderer.hit]] * rng.uniform(0.5, 1.2)
        shade = np.where(np.isnan(lit), rng.uniform(0.05, 0.7), np.nan_to_num(lit) * tone)
        return np.asarray(np.clip(shade[..., None] * [1.15, 0.95, 0.85], 0, 1) ** (1 / 2.2) * 255, np.uint8)
