"""What goes on behind the outline of the face: the underside of the jaw, the cheek's side as far as the ear.

A photograph from the front shows none of them, and without them a turn tears the face off neck and ears. The underside
takes the pixels just outside the outline: the true edge of the jaw, which landmarks miss by a little, and the shadow
under it. Straight back, both show a texture of their own.

Convention: arrays of the face's V vertices (see `offline/facemesh.py`); camera space, cm; canvas pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, angles_from_rotation
from narrate_stream.types import Array, Image
from offline.facemesh import LANDMARKS, boundary_edges, face_topology
from offline.geometry import Surface
from offline.parts import F64, TURNED, MeshParts, head_weight, sample
from offline.side import BESIDE, loop

UNDER, EDGE, FLOOR = -0.2, 0.35, 0.75  # cm outside the outline, in the picture: it begins under the face's own rim,
BELOW, ROUND, BEHIND = 0.15, 0.45, 1.2  # rounds the jaw, ends on the neck; cm behind the outline, the last at least
NECK_ROUNDS = 6  # of averaging the neck's depth along the outline
FADING = 3  # vertices along the outline over which it fades where the neck ends
BACKWARD = 0.0, 0.5, 1.0  # shares of the way back to the neck at which the underside has vertices; there it fades
DEEPEST = 6.0  # cm from the outline back to the neck
SOLID = 8.0  # feather of what does not fade
HANGING = 4.0  # cm that it goes back where it meets no neck
HUE = 0.8  # logarithm of channel ratios: farther from the skin's, it is a collar or hair,
COLLAR = 1.5  # cm below the mouth's corners
CLOTHED = -0.06  # which stays where it is: the underside then goes back so far inside and shows the jaw's skin
SIDE = (0.0, 0.15, 0.4, 0.7, 1.0)  # shares of the way from outline to ear at which the cheek's side has vertices
SIDE_MORE = 0.6  # cm behind the ear's front
SIDE_ROUNDS = 4  # of averaging along the outline: so far it goes on beyond where it must be
SIDE_OVER, SIDE_EAR = -0.16, 0.4  # cm outside the outline: where the side lies, and where an ear begins

SideAt = Callable[[F64], F64]  # (V,) cm behind the outline -> (V, 2) source of what is there


@dataclass(frozen=True)
class Rim:
    """The face of one portrait, for what hangs on its rims: pixels (V, 2), z (V,), and step (V, 2): pixels per cm away
    from the face (0 for vertices that lie on no rim)."""

    pixels: F64
    z: F64
    step: F64

    def beside(self, distance: float | F64) -> F64:
        """(V, 2) the pixels so many cm outside the rim."""
        return np.asarray(self.pixels + np.reshape(distance, (-1, 1)) * self.step)


@dataclass(frozen=True)
class Ring:
    """One ring of a strip. place and source (V, 2): where its vertices lie and what they show; z (V,); follow 0..1: its
    share of the rim's motion; head (V,) weight; feather (V,), in pixels."""

    place: F64
    source: F64
    z: F64
    follow: float = 1.0
    head: F64 | float = 1.0
    feather: F64 | float = SOLID


def rim_of(fit: FaceFit, landmarks: F64, camera: Camera) -> Rim:
    """The rims of a fitted face."""
    smooth = face_topology().smooth
    pixels = np.asarray(smooth @ landmarks[:LANDMARKS, :2])
    z = np.asarray(smooth @ fit.points[:LANDMARKS, 2])
    return Rim(pixels, z, outward(pixels) * (camera.focal / -z)[:, None])


def jaw_rim() -> NDArray[np.bool_]:
    """(V,) true for the vertices of the face's outline from ear to ear under the chin."""
    topology = face_topology()
    height = np.asarray(topology.smooth @ canonical().landmarks[:LANDMARKS])[:, 1]
    return np.asarray(topology.rim & (height < canonical().landmarks[58, 1] + 0.4))


@lru_cache(maxsize=1)
def rim_edges() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(n, 2) edges of the face's outline and of its holes, and (n,) the vertex of the face that each lies opposite."""
    triangles = face_topology().triangles
    edges = boundary_edges(triangles)
    corner = {tuple(sorted((t[k], t[k - 2]))): t[k - 1] for t in triangles.tolist() for k in range(3)}
    return edges, np.array([corner[tuple(sorted(e))] for e in edges.tolist()], np.int32)


def outward(pixels: F64) -> F64:
    """(V, 2) unit directions away from the face, in the picture, at the vertices of its outline and of its holes; 0
    elsewhere."""
    edges, inside = rim_edges()
    a, b = pixels[edges[:, 0]], pixels[edges[:, 1]]
    normal = (b - a)[:, ::-1] * [1, -1]
    outline = face_topology().rim[edges].all(1)[:, None]  # its triangles may be seen from behind
    away = ((a + b) / 2 - np.where(outline, pixels[:LANDMARKS].mean(0), pixels[inside])) * normal
    normal *= np.sign(away.sum(1, keepdims=True))
    total = np.zeros_like(pixels)
    for end in edges.T:
        np.add.at(total, end, normal)
    return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-9))


def of_skin(colours: Image, places: F64, skin: F64) -> NDArray[np.bool_]:
    """(n,) true where the picture at `places` (n, 2) has the hue of what it shows at `skin` (m, 2), dark or bright."""
    tone = np.log(linear_table()[cv2.GaussianBlur(colours, (0, 0), 4.0)] + np.float32(0.004))
    hue = [tone[..., 0] - tone[..., 1], tone[..., 1] - tone[..., 2]]
    away = [np.abs(sample(h, *places.T) - np.median(sample(h, *skin.T))) for h in hue]
    return np.asarray(np.maximum(*away) < HUE)


def beside_side(rim: Rim, colours: Image, alpha: Array) -> tuple[F64, F64]:
    """(V,) and (V,) 0 or 1: skin is seen beside the outline; something else, above where collars are: hair."""
    place = rim.beside(BESIDE[1])
    solid = sample(alpha, *place.T) > 0.97
    skin = of_skin(colours, place, rim.pixels[face_topology().depth > 2])
    height = np.asarray(face_topology().smooth @ canonical().landmarks[:LANDMARKS])[:, 1]
    aside = np.abs(rim.step[:, 0]) > np.abs(rim.step[:, 1])
    hair = solid & ~skin & aside & (height > canonical().landmarks[61, 1] - COLLAR)
    return (solid & skin) * 1.0, hair * 1.0


def add_outline(
    parts: MeshParts,
    fit: FaceFit,
    landmarks: F64,
    surface: Surface,
    camera: Camera,
    alpha: Array,
    colours: Image,
    side_at: SideAt,
) -> None:
    """Underside of the jaw and sides of the cheeks."""
    rim = rim_of(fit, landmarks, camera)
    over_neck = (sample(alpha, *rim.beside(FLOOR).T) > 0.9) & (on_map(surface, surface.below, rim, FLOOR) > 0.5)
    add_underside(parts, fit, rim, surface, camera, colours, over_neck, side_at)
    hanging = jaw_rim() | (sample(alpha, *rim.beside(FLOOR).T) < 0.5)
    add_sides(parts, rim, surface, camera, hanging, ~far_side(fit), side_at)


def far_side(fit: FaceFit) -> NDArray[np.bool_]:
    """(V,) true on the far half of a turned head: straight back from the outline that a photograph shows there, nothing
    of the head goes on."""
    yaw = float(angles_from_rotation(fit.rotation)[0])
    x = np.asarray(face_topology().smooth @ canonical().landmarks[:LANDMARKS])[:, 0]
    return np.asarray((x * yaw > 0) & (abs(yaw) > TURNED))


def on_map(surface: Surface, values: NDArray[Any], rim: Rim, distance: float) -> F64:
    """(V,) a map of the surface, read so many cm outside the rim."""
    return sample(values, *((rim.beside(distance) + 0.5) * surface.scale - 0.5).T)


def add_underside(
    parts: MeshParts,
    fit: FaceFit,
    rim: Rim,
    surface: Surface,
    camera: Camera,
    colours: Image,
    over_neck: NDArray[np.bool_],
    side_at: SideAt,
) -> None:
    """Round the jaw's edge, and straight back to the neck where there is one (`over_neck` (V,)). A collar keeps its
    pixels: the underside then begins inside the outline."""
    clothed = over_neck & ~of_skin(colours, rim.beside(FLOOR), rim.pixels[face_topology().depth > 2])
    edge = rim.beside(np.where(clothed, CLOTHED, np.where(over_neck, EDGE, FLOOR)))
    begin = rim.beside(UNDER)
    last = np.array(colours.shape[1::-1]) - 1.0  # where the picture ends at the chin its last pixels go on
    edges = rim_edges()[0]
    jaw = edges[jaw_rim()[edges].all(1)]
    ends = fading_ends(jaw_rim() * 1.0, edges)
    ends = np.where(ends < 1, ends, SOLID)
    round_ = [
        Ring(begin, np.clip(begin, 0, last), rim.z - BELOW, feather=ends),
        Ring(edge, np.clip(edge, 0, last), rim.z - ROUND, feather=0.75 * ends),
    ]
    neck = np.clip(on_map(surface, surface.neck, rim, FLOOR), rim.z - DEEPEST, rim.z - BEHIND)
    for _ in range(NECK_ROUNDS):
        neck = spread(neck, jaw)
    head = head_weight(fit, camera.unproject(rim.beside(FLOOR), neck))
    whole = fading_ends(over_neck * 1.0, jaw)
    back = [
        Ring(edge, side_at(rim.z - z), z, head=1 + k * (head - 1), feather=whole * min(1.0, 2 - 2 * k))
        for k, z in ((k, rim.z - ROUND + k * (neck - rim.z + ROUND)) for k in BACKWARD)
    ]
    add_strip(parts, jaw, round_, camera)
    add_strip(parts, jaw[over_neck[jaw].all(1)], back, camera)


def add_sides(
    parts: MeshParts,
    rim: Rim,
    surface: Surface,
    camera: Camera,
    hanging: NDArray[np.bool_],
    near: NDArray[np.bool_],
    side_at: SideAt,
) -> None:
    """From the outline's `near` side (V,) straight back: to the ear, and along the jaw and where only the background
    is beside the face (`hanging` (V,)); what it shows, see `offline/side.py`."""
    around = np.ones((2 * round(SIDE_EAR / surface.unit) + 1,) * 2)
    ear = np.clip(rim.z - on_map(surface, cv2.erode(surface.z, around), rim, SIDE_EAR), 0, DEEPEST) + SIDE_MORE
    stepped = on_map(surface, surface.behind, rim, SIDE_EAR) > 0.5
    edges = rim_edges()[0]
    edges = edges[face_topology().rim[edges].all(1)]
    depth, known = np.where(stepped, ear, HANGING), (stepped | hanging) * 1.0
    for _ in range(SIDE_ROUNDS):  # on along the outline, and evenly
        total = spread(known, edges)
        depth, known = spread(depth * known, edges) / np.maximum(total, 1e-6), np.minimum(total, 1)
    edges = edges[((known > 1e-3) & near)[edges].all(1)]
    edges = edges[(edges != loop()[0][0]).all(1)]  # where the texture begins and ends
    rings = [Ring(rim.beside(SIDE_OVER), side_at(k * depth), rim.z - k * depth - BELOW, follow=1 - k) for k in SIDE]
    add_strip(parts, edges, rings, camera)


def spread(values: F64, edges: NDArray[np.int32]) -> F64:
    """(V,) the mean of each vertex and its neighbours along `edges` (n, 2) of a line."""
    total, count = values.copy(), np.ones(len(values))
    for a, b in (edges.T, edges.T[::-1]):
        np.add.at(total, a, values[b])
        np.add.at(count, a, 1)
    return np.asarray(total / count)


def fading_ends(there: F64, edges: NDArray[np.int32]) -> F64:
    """(V,) of what is `there` (V,), 0 or 1, along `edges` (n, 2): how far from its ends, 0..1."""
    for _ in range(FADING):
        there = np.minimum(there, spread(there, edges))
    return np.maximum(2 * there - 1, 0)


def add_strip(parts: MeshParts, edges: NDArray[np.int32], rings: list[Ring], camera: Camera) -> None:
    """Rows of quads from ring to ring behind `edges` (n, 2) of the face."""
    if len(edges) == 0:
        return
    used, new = np.unique(edges, return_inverse=True)
    n, rows = len(used), face_topology().smooth[used]
    triangles = []
    for k in range(len(rings) - 1):
        a, b = new.reshape(-1, 2).T + k * n
        triangles += [np.stack([a, b, a + n], 1), np.stack([b, b + n, a + n], 1)]

    def stacked(values: list[F64 | float]) -> F64:
        return np.concatenate([np.broadcast_to(v, rings[0].z.shape)[used] for v in values])

    parts.add(
        np.concatenate([camera.unproject(r.place[used], r.z[used]) for r in rings]),
        np.column_stack([np.concatenate([r.source[used] for r in rings]), stacked([r.feather for r in rings])]),
        np.concatenate(triangles),
        head=stacked([r.head for r in rings]),
        rig=sp.vstack([rows * r.follow for r in rings]),
    )
