"""Heads of the ICT FaceKit as sitters for `narrate eval views`: painted, lit, and rendered from any side.

Everything is painted on the head as a function of the place on the neutral head, and the light turns with the head, as
it does in `narrate view`: two pictures of a sitter differ by the turn alone.

Convention: kit space is cm, x right in the image, y up, z toward the viewer, for a frontal head.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import srgb_from_linear
from narrate_stream.ops.geometry import Camera, rotation_from_angles, turned_by_weight
from narrate_stream.types import Image
from offline.facekit import FaceKit
from offline.facemesh import vertex_normals
from offline.softmesh import MapRenderer, screen_of

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
HIDDEN = ("EyeOcclusion", "EyeBlend", "Lacrimal", "Lashes")  # lashes are cards: without opacity, thick black bars
SKIN = ("M_Face", "M_BackHead")
EYE_CORNERS, OUTER_LIPS, SEAM = (36, 45), tuple(range(48, 60)), (60, 61, 62, 63, 64)  # of the 68 landmarks
BROWS = (tuple(range(17, 22)), tuple(range(22, 27)))
SPREAD = 0.9  # sigma of identity coefficients, as the canonical face was averaged with
NECK = (-15.0, -8.5)  # kit y: the shoulders stay below, the head turns above
TONES = ((0.62, 0.36, 0.25), (0.45, 0.24, 0.15), (0.30, 0.15, 0.09), (0.12, 0.055, 0.032), (0.72, 0.46, 0.34))
HAIR = ((0.03, 0.02, 0.015), (0.12, 0.06, 0.025), (0.008, 0.007, 0.006), (0.01, 0.008, 0.007), (0.25, 0.16, 0.07))
HAIRLINE = ((-9.0, -5.0), (-2.5, -4.0), (-1.5, 5.5), (2.5, 6.0), (5.5, 8.5), (8.5, 10.3), (14.0, 10.6))  # z, y
EYE = (3.16, 3.5)  # |x|, y of the middle of the iris
ROOM = 35.0  # cm of the picture's height at the head


@dataclass(frozen=True)
class Sitter:
    """vertices and normals (V, 3) cm kit space; pivot (3,) what the head turns about; tone and hair (3,) linear;
    light (3,) toward the key light, kit space of the frontal head; seed of its skin's pattern; focal: focal length
    over the picture's side."""

    vertices: F64
    normals: F64
    pivot: F64
    tone: F64
    hair: F64
    light: F64
    seed: int
    focal: float


@dataclass(frozen=True)
class Shot:
    """image (S, S, 3) sRGB; place (S, S, 3) kit-space point of the unturned head, nan = background; facing (S, S)
    cosine between normal and camera; skin (of the face) and head (with hair) (S, S) bool; depth (S, S) cm from the
    camera; share (S, S) of a turn that this place follows."""

    image: Image
    place: F64
    facing: F64
    skin: Mask
    head: Mask
    depth: F64
    share: F64


class Gallery:
    """Sitters of one kit. `landmarks`: the kit's 68 landmark vertices. Same seed, same sitters."""

    def __init__(self, kit: FaceKit, landmarks: NDArray[np.int64]) -> None:
        shown = ~np.array([any(h in n for h in HIDDEN) for n in kit.material_names])[kit.material]
        self.kit, self.landmarks = kit, landmarks
        self.renderer = MapRenderer(kit.triangles[shown], np.flatnonzero(shown))
        self.neutral = np.asarray(kit.neutral, np.float64)
        self.marks = self.neutral[landmarks]
        self.hair = hair_weight(self.neutral, np.isin(np.arange(len(self.neutral)), self._vertices(SKIN)))
        self.share = follows(self.neutral[:, 1])

    def _vertices(self, materials: tuple[str, ...]) -> NDArray[np.int64]:
        index = [self.kit.material_names.index(m) for m in materials]
        return np.asarray(np.unique(self.kit.triangles[np.isin(self.kit.material, index)]), np.int64)

    def sitter(self, number: int, seed: int = 11) -> Sitter:
        """The `number`-th sitter of this seed."""
        rng = np.random.default_rng([seed, number])
        identity = rng.normal(0, SPREAD, len(self.kit.identity)).astype(np.float32)
        expression = np.zeros(len(self.kit.expression_names), np.float32)
        smile = [i for i, n in enumerate(self.kit.expression_names) if n.startswith("mouthSmile")]
        expression[smile] = rng.uniform(0, 0.35)
        vertices = self.kit.head(identity, expression).astype(np.float64)
        skin = np.isin(self.kit.material, [self.kit.material_names.index(m) for m in SKIN])
        normals = vertex_normals(vertices, self.kit.triangles[skin])
        vertices = vertices + self.hair[:, None] * normals * rng.uniform(0.5, 1.4)
        normals = vertex_normals(vertices, self.kit.triangles)
        corners = vertices[self.landmarks[list(EYE_CORNERS)]].mean(0)
        pivot = np.array([0.0, corners[1] - 1.0, 0.0])  # (0, -1, 0) of the head space that the product turns about
        azimuth, elevation = np.radians([rng.uniform(-50, 50), rng.uniform(5, 45)])
        light = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
        kind = number % len(TONES)
        tone, hair = np.array(TONES[kind]), np.array(HAIR[kind])
        return Sitter(vertices, normals, pivot, tone, hair, light, number, rng.uniform(1.5, 2.6))

    def shoot(self, sitter: Sitter, yaw: float, pitch: float, base_yaw: float = 0.0, size: int = 512) -> Shot:
        """The sitter turned by (yaw, pitch) from a photograph in which the head already has `base_yaw`; degrees.

        The camera stays; the head turns about `pivot`: first by base_yaw, then by the turn, as `narrate view` does.
        Rendered at twice the size and averaged in linear light.
        """
        turn = rotation_from_angles(yaw, pitch, 0) @ rotation_from_angles(base_yaw, 0, 0)
        big = 2 * size
        camera, posed = self.camera(sitter, big), self.posed(sitter, sitter.vertices, self.share, turn)
        screen = screen_of(posed, camera.project(posed))
        values = np.concatenate([sitter.vertices, self.neutral, sitter.normals, posed], 1)
        maps = self.renderer.map(screen, values, big, big)
        head = ~np.isnan(maps[..., 0])
        material = np.where(head, self.kit.material[self.renderer.kept[self.renderer.hit]], -1)
        colour = backdrop(big, sitter.seed)
        colour[head] = self._painted(sitter, maps[head][:, 3:6], maps[head][:, 6:9], material[head])
        face = material == self.kit.material_names.index("M_Face")
        hair = np.zeros_like(head)
        hair[head] = hair_weight(maps[head][:, 3:6], np.ones(int(head.sum()), np.bool_)) > 0.02
        above = np.nan_to_num(maps[..., 4], nan=-99) > NECK[1]
        image = srgb_from_linear(halved(colour))
        facing = self._facing(maps[..., 6:9], maps[..., 9:], turn)
        return Shot(
            np.asarray(image * 255 + 0.5, np.uint8),
            maps[::2, ::2, :3],
            facing[::2, ::2],
            halved((face & ~hair & above).astype(np.float64)) > 0.99,
            halved((head & above).astype(np.float64)) > 0.99,
            -maps[::2, ::2, 11],
            follows(maps[::2, ::2, 4]),
        )

    @staticmethod
    def camera(sitter: Sitter, size: int) -> Camera:
        """Of a picture of `size` pixels a side."""
        return Camera(sitter.focal * size, (size - 1) / 2, (size - 1) / 2 - 0.02 * size)

    @staticmethod
    def posed(sitter: Sitter, points: F64, share: F64, turn: F64) -> F64:
        """Camera-space points (n, 3) of kit-space points that follow `turn` (3, 3) by their `share` (n,)."""
        moved = turned_by_weight(points - sitter.pivot, share, turn)
        return np.asarray(moved + np.array([0, 0, -ROOM * sitter.focal]))

    @staticmethod
    def _facing(normal: F64, point: F64, turn: F64) -> F64:
        n = normal @ turn.T
        n /= np.linalg.norm(n, axis=-1, keepdims=True) + 1e-12
        return np.asarray(np.nan_to_num(-(n * point).sum(-1) / np.linalg.norm(point, axis=-1)))

    def _painted(self, sitter: Sitter, place: F64, normal: F64, material: NDArray[np.int32]) -> F64:
        """(n, 3) linear colour of points at `place` on the neutral head, lit."""
        names = self.kit.material_names
        rng = np.random.default_rng(sitter.seed)
        mottle = pattern(place, rng, 3.0) * 0.07 + pattern(place, rng, 0.9) * 0.05 + pattern(place, rng, 0.4, 24) * 0.03
        skin = sitter.tone * np.exp(mottle[:, None] * [0.7, 1.0, 1.2])
        lips = inside_of(self.marks[list(OUTER_LIPS)], place) * (place[:, 2] > 6)
        skin = mix(skin, sitter.tone * [0.85, 0.5, 0.5], 0.75 * lips)
        seam = near_line(self.marks[list(SEAM)], place, 0.09) * (place[:, 2] > 6)
        skin = mix(skin, sitter.tone * [0.25, 0.12, 0.1], 0.8 * seam)
        strand = 1 + 0.35 * pattern(place * [1, 0.35, 1], rng, 0.35)
        for brow in BROWS:
            near = near_line(self.marks[list(brow)], place, 0.33) * (place[:, 2] > 5)
            skin = mix(skin, sitter.hair * strand[:, None], 0.85 * near)
        hair = hair_weight(place, np.ones(len(place), np.bool_))
        skin = mix(skin, sitter.hair * strand[:, None], np.clip(hair * 3, 0, 1))
        shirt = np.clip((-13.5 - place[:, 1] + 0.15 * place[:, 2]) * 4, 0, 1)
        skin = mix(skin, np.array([0.1, 0.13, 0.2]) * (1 + 0.15 * mottle[:, None]), shirt)
        colour = np.full((len(place), 3), 0.3)
        for i, name in enumerate(names):
            here = material == i
            if name in SKIN:
                colour[here] = skin[here]
            elif "Sclera" in name or "Iris" in name:  # the sclera's mesh goes on over the iris as its cornea
                colour[here] = eyeball(place[here])
            elif "Teeth" in name:
                colour[here] = [0.6, 0.55, 0.45]
            elif "Gums" in name:
                colour[here] = [0.3, 0.09, 0.08]
        n = normal / (np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12)
        key = np.clip((n @ sitter.light + 0.15) / 1.15, 0, None)
        return np.asarray(colour * (0.28 + 0.1 * n[:, 1:2] + 0.95 * key[:, None]))


def follows(y: F64) -> F64:
    """How much of the head's turn a place at neutral height `y` follows: 0 at the shoulders, 1 above the neck."""
    return np.asarray(np.clip((y - NECK[0]) / (NECK[1] - NECK[0]), 0, 1))


def hair_weight(place: F64, on_skin: Mask) -> F64:
    """(n,) 0 on the face .. 1 deep in the hair, by the place on the neutral head."""
    z, y = np.array(HAIRLINE).T
    above = place[:, 1] - np.interp(place[:, 2], z, y)
    ear = (np.abs(place[:, 0]) > 7.2) & (place[:, 1] < 5.2) & (place[:, 2] > -3.5)
    return np.asarray(np.clip(above / 1.2, 0, 1) * on_skin * ~ear, np.float64)


def eyeball(place: F64) -> F64:
    """(n, 3) linear colour of an eye: white, iris with a dark rim, pupil."""
    r = np.linalg.norm(np.abs(place[:, :2]) - EYE, axis=-1)
    ring = np.where(r < 0.2, 0.06, np.where(r < 0.5, 1.0, 0.4))[:, None]
    return np.where((r < 0.6)[:, None], np.array([0.11, 0.06, 0.035]) * ring, [0.55, 0.51, 0.48])


def pattern(place: F64, rng: np.random.Generator, wavelength: float, waves: int = 12) -> F64:
    """(n,) smooth noise of about unit deviation over points (n, 3): a sum of random plane waves."""
    direction = rng.normal(size=(waves, 3))
    direction *= 2 * np.pi / wavelength / np.linalg.norm(direction, axis=-1, keepdims=True)
    phase = rng.uniform(0, 2 * np.pi, waves)
    return np.asarray(np.sin(place @ direction.T + phase).sum(-1) * np.sqrt(2 / waves))


def inside_of(outline: F64, place: F64) -> F64:
    """(n,) 1 inside the closed curve through `outline` (k, 3) seen from the front, 0 outside, soft over 2 mm."""
    grid = 40.0  # raster cells per cm
    low = outline[:, :2].min(0) - 0.5
    shape = np.ceil((np.ptp(outline[:, :2], axis=0) + 1) * grid).astype(int)
    mask = np.zeros((shape[1], shape[0]), np.uint8)
    cv2.fillPoly(mask, [np.round((outline[:, :2] - low) * grid).astype(np.int32)], 255)
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.07 * grid)
    x, y = np.round((place[:, :2] - low) * grid).astype(int).T
    return np.asarray(soft[np.clip(y, 0, shape[1] - 1), np.clip(x, 0, shape[0] - 1)], np.float64)


def near_line(line: F64, place: F64, width: float) -> F64:
    """(n,) 1 on the open curve through `line` (k, 3) seen from the front, falling to 0 within about `width` cm."""
    t = np.linspace(0, len(line) - 1, 40)
    dense = np.stack([np.interp(t, np.arange(len(line)), line[:, k]) for k in range(2)], -1)
    low, high = dense.min(0) - 2 * width, dense.max(0) + 2 * width
    out = np.zeros(len(place))
    close = np.flatnonzero(((place[:, :2] > low) & (place[:, :2] < high)).all(-1))
    for k in range(0, len(close), 20000):
        part = close[k : k + 20000]
        distance = np.linalg.norm(place[part, None, :2] - dense, axis=-1).min(1)
        out[part] = np.clip(1.5 - distance / width, 0, 1)
    return out


def mix(a: F64, b: F64, weight: F64) -> F64:
    """a where `weight` (n,) is 0, b where it is 1."""
    return np.asarray(a + (b - a) * weight[:, None])


def backdrop(size: int, seed: int) -> F64:
    """(size, size, 3) linear: a soft, faintly mottled wall."""
    rng = np.random.default_rng([seed, 5])
    coarse = cv2.resize(rng.uniform(0.8, 1.2, (6, 6)), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(coarse[..., None] * rng.uniform(0.15, 0.4, 3), np.float64)


def halved(values: F64) -> F64:
    """Mean of 2 x 2 pixels."""
    return np.asarray((values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]) / 4)
