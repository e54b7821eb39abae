"""What a synthetic head wears: hair, beard, hat, glasses, and always a body in clothes below the neck.

Everything is built on regions of the FaceKit's neutral head and follows any deformed one.
Convention: head space, cm, x right in the image, y up, z out of the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from offline.facekit import FaceKit
from offline.lightstage import garments, hair, shells
from offline.lightstage.shells import F32, F64, I32, PolarGrid, Prop, smoothstep

__all__ = ["Prop", "Regions", "regions", "sample_props"]

SKIN = ("M_Face", "M_BackHead")
BUST_ROWS = 26
_KNOWN: list[tuple[FaceKit, Regions]] = []


@dataclass(frozen=True)
class Regions:
    """Of the neutral head, once: `scalp` grid round the skull, `bust` grid from the neck to the mesh's lower edge,
    skin triangles (T, 3) and the vertices (N,) that they use, and the neutral vertices (V, 3) float64."""

    scalp: PolarGrid
    bust: PolarGrid
    triangles: I32
    skin: NDArray[Any]
    neutral: F64


def regions(kit: FaceKit) -> Regions:
    """The kit's regions, kept for the next call with the same kit."""
    for known, found in _KNOWN:
        if known is kit:
            return found
    _KNOWN.append((kit, _find_regions(kit)))
    return _KNOWN[-1][1]


def _find_regions(kit: FaceKit) -> Regions:
    neutral = kit.neutral.astype(np.float64)
    names = [i for i, name in enumerate(kit.material_names) if name in SKIN]
    triangles = kit.triangles[np.isin(kit.material, names)]
    normal = vertex_normals(neutral, triangles)
    used = np.zeros(len(neutral), bool)
    used[np.unique(triangles)] = True
    x, y, z = neutral.T
    ear = (np.abs(x) > 7.45) & (y > -3.2) & (y < 6) & (z > -5) & (z < 2.2) | (np.abs(x) > 8)
    skull = np.array([0, 4.5, 0.5])
    outward = np.einsum("ij,ij->i", normal, neutral - skull) > 0.25 * np.linalg.norm(neutral - skull, axis=1)
    pick = np.flatnonzero(used & outward & ~ear & (y > -12))
    azimuth = np.linspace(0, 2 * np.pi, 144, endpoint=False)
    azimuth = np.where(azimuth > np.pi, azimuth - 2 * np.pi, azimuth)
    scalp = shells.polar_grid(neutral, pick, skull, np.deg2rad(20), azimuth, np.deg2rad(np.linspace(1.5, 172, 80)))
    chest = np.array([0, -16.0, -2])
    outward = np.einsum("ij,ij->i", normal, neutral - chest) > 0
    low = np.flatnonzero(used & outward & (y < -4.5))
    azimuth = azimuth[::2]
    d = neutral[_lower_edge(triangles)] - chest
    order = np.argsort(np.arctan2(d[:, 0], d[:, 2]))
    end = np.interp(
        azimuth,
        np.arctan2(d[:, 0], d[:, 2])[order],
        np.arctan2(np.hypot(d[:, 0], d[:, 2]), d[:, 1])[order],
        period=2 * np.pi,
    )
    polar = np.deg2rad(26) + np.linspace(0, 1, BUST_ROWS)[:, None] * (end - np.deg2rad(26))
    bust = shells.polar_grid(neutral, low, chest, 0.0, azimuth, polar)
    return Regions(scalp, bust, triangles, np.flatnonzero(used), neutral)


def _lower_edge(triangles: I32) -> NDArray[Any]:
    """Vertices on the open edge of the skin (the kit's skin has one hole: below)."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    key, count = np.unique(np.sort(edges, 1), axis=0, return_counts=True)
    return np.asarray(np.unique(key[count == 1]))


def vertex_normals(vertices: F64, triangles: I32) -> F64:
    """(V, 3) unit normals, weighted by area; zero where no triangle is."""
    corner = vertices[triangles]
    face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = np.stack([np.bincount(triangles.ravel(), np.repeat(f, 3), len(vertices)) for f in face.T], -1)
    return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12))


def beard_prop(rng: np.random.Generator, known: Regions, vertices: F64, marks: NDArray[Any], colour: F64) -> Prop:
    """A beard, a goatee or a moustache: the skin of jaw and upper lip, lifted by 0.2 to 1.5 cm; the lips stay free."""
    kind = rng.choice(["full", "goatee", "moustache"], p=[0.6, 0.2, 0.2])
    n, p = known.neutral, known.neutral[marks]
    near = known.skin[(n[known.skin, 1] < 4.2) & (n[known.skin, 1] > -11) & (n[known.skin, 2] > 1)]
    q = n[near]

    def to_line(points: F64) -> F64:
        t = np.linspace(0, len(points) - 1, 80)
        fine = np.stack([np.interp(t, np.arange(len(points)), c) for c in points.T], -1)
        return np.asarray(cKDTree(fine).query(q)[0])

    lips = to_line(np.concatenate([p[48:60], p[48:49]]))
    inner = to_line(np.concatenate([p[60:68], p[60:61]]))
    moustache = 0.85 - to_line(
        p[[48, 50, 33, 52, 54]] + [[0, 0.55, 0], [0, 0.55, 0], [0, -0.55, 0], [0, 0.55, 0], [0, 0.55, 0]]
    )
    jaw = rng.uniform(1.7, 2.6) - to_line(p[1:16] + np.array([0, 0.2, 0]))
    chin = rng.uniform(1.6, 2.4) - to_line(p[[48, 6, 8, 10, 54]] + np.array([0, 0.4, 0]))
    inside = {"full": np.maximum(np.maximum(jaw, chin), moustache), "goatee": np.maximum(chin, moustache)}.get(
        kind, moustache
    )
    noise = shells.ring_noise(rng, q[:, 0] * 0.5 + 0.05 * q[:, 1], 24) + shells.space_noise(rng, q, 1.1)
    inside = np.minimum(inside, np.minimum(lips - 0.32, inner - 0.75) * 1.5) + 0.1 * noise
    most = rng.uniform(0.2, 0.5) if rng.random() < 0.7 else rng.uniform(0.5, 1.3)
    long = 1 + 0.5 * smoothstep(-4.5, -7.5, q[:, 1]) if kind != "moustache" else 0.8
    length = most * (0.35 + 0.65 * smoothstep(2.5, -2.5, q[:, 1]))  # thin at the sideburns
    full = np.zeros((len(n), 5))
    lift = length * long * smoothstep(0, 1, inside / (0.4 + length)) * (1 + 0.08 * noise) - 0.15 * (
        1 - smoothstep(-0.25, 0.1, inside)
    )
    tone = np.clip(colour * np.exp(0.1 * noise + 0.12 * rng.standard_normal(len(q)))[:, None], 0.004, 0.8)
    full[near] = np.concatenate([lift[:, None], inside[:, None] > -0.3, tone], 1)
    triangles = known.triangles[(full[known.triangles, 1] > 0).all(1)]
    triangles, (points, albedo, lifts) = shells.compact(triangles, vertices, full[:, 2:], full[:, :1])
    points = points + lifts * vertex_normals(points, triangles)
    points[:, 1] -= 0.35 * np.clip(lifts[:, 0] - 0.3, 0, None)
    return Prop("beard", points.astype(np.float32), triangles, albedo.astype(np.float32), 0.45, 0.4, "hair")


def glasses_prop(rng: np.random.Generator, vertices: F64, marks: NDArray[Any]) -> Prop:
    """A frame of tubes: two rims before the eyes, a bridge on the nose, temples to the ears."""
    p = vertices[marks]
    right, left = p[36:42].mean(0), p[42:48].mean(0)
    between, span = (right + left) / 2, float(left[0] - right[0])
    radius = rng.choice([0.11, 0.16, 0.25, 0.36], p=[0.35, 0.3, 0.25, 0.1])
    width, height = span * rng.uniform(0.36, 0.43), span * rng.uniform(0.24, 0.36)
    power = rng.choice([2.0, 2.6, 3.6])
    face = np.abs(vertices[:, 0] - between[0]) < span
    brow = vertices[face & (np.abs(vertices[:, 1] - between[1]) < height + 0.6)]
    plane = (
        max(
            float(p[[19, 24], 2].mean()),
            float(p[28, 2]) - 0.9,
            float(brow[np.abs(brow[:, 0] - between[0]) > 0.38 * span, 2].max()),
        )
        + radius
        + 0.25
    )
    wrap, drop = rng.uniform(0.012, 0.03), rng.uniform(0.05, 0.5)
    parts: list[tuple[F32, I32]] = []
    t = np.linspace(0, 2 * np.pi, 44, endpoint=False)
    for eye, sign in ((right, -1), (left, 1)):
        c, s = np.cos(t), np.sin(t)
        x = eye[0] + sign * 0.15 + width * np.sign(c) * np.abs(c) ** (2 / power)
        y = eye[1] - drop + height * np.sign(s) * np.abs(s) ** (2 / power) * (1 + 0.12 * c * sign)
        rim = np.stack([x, y, plane - wrap * (x - between[0]) ** 2], -1)
        parts.append(shells.tube(rim, radius, closed=True))
        outer = rim[np.argmax(sign * rim[:, 0] + 0.4 * rim[:, 1])]
        side = vertices[(np.abs(vertices[:, 1] - outer[1]) < 1.2) & (np.abs(vertices[:, 2] - 3.2) < 0.7)]
        ear = np.array([sign * (sign * side[:, 0]).max() + sign * 0.1, outer[1] + 0.1, 1.5])
        hinge = outer + np.array([sign * 0.25, 0, -0.5])
        parts.append(
            shells.tube(
                np.stack([outer, hinge, *np.linspace(hinge, ear, 6)[1:], ear + np.array([-0.3 * sign, -0.9, -3])]),
                0.8 * radius,
                closed=False,
            )
        )
    gap = np.linspace(right[0] - 0 + width, left[0] - width, 9)
    arch = np.sin(np.linspace(0, np.pi, 9))
    bridge = np.stack([gap, between[1] - drop + 0.35 * height + 0.25 * arch, plane - 0.2 + 0.25 * arch], -1)
    parts.append(shells.tube(bridge, radius, closed=False))
    points, triangles = shells.merged(parts)
    colour = (
        np.array([0.02, 0.018, 0.017])
        if rng.random() < 0.6
        else rng.choice([rng.uniform(0.02, 0.5, 3), np.array([0.55, 0.5, 0.42])])
    )
    tone = np.broadcast_to(np.clip(colour, 0.01, 0.8), points.shape)
    return Prop("glasses frame", points, triangles, tone.astype(np.float32), 0.25, 0.6, "glasses")


def sample_props(rng: np.random.Generator, kit: FaceKit, vertices: NDArray[Any], marks: NDArray[Any]) -> list[Prop]:
    """Random props for the head `vertices` (V, 3) cm; `marks` (68,) vertex indices of the iBUG landmarks.

    The body is always there; hair on three heads of four; hats, beards and glasses on some. Fewer than 30000 triangles.
    """
    known, vertices = regions(kit), np.asarray(vertices, np.float64)
    scalp, colour = known.scalp.points(vertices), hair.sample_colour(rng)
    props = garments.body_props(rng, known.bust, vertices)
    hat = rng.choice(["", "cap", "beanie", "headscarf"], p=[0.895, 0.045, 0.04, 0.02])
    press = None
    if hat:
        worn, press = garments.hat_prop(rng, known.scalp, scalp, hat)
        props += worn
        if hat == "headscarf":
            props.append(garments.wrap_prop(rng, known.bust, vertices, worn[0].albedo.mean(0)))
    if rng.random() < 0.75 and hat != "headscarf":
        style = hair.sample_hair(rng, known.scalp.azimuth)
        props.append(hair.hair_prop(rng, known.scalp, scalp, style, colour, press))
        if style.bun and not hat:
            props.append(hair.bun_prop(rng, scalp, colour))
    if (
        rng.random() < 0.35
        and hat != "headscarf"
        and not any(p.name == "hair" and np.ptp(p.vertices[:, 1]) > 20 for p in props)
    ):
        props.append(beard_prop(rng, known, vertices, marks, colour))
    if rng.random() < 0.15:
        props.append(glasses_prop(rng, vertices, marks))
    return props
