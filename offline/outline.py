"""What goes on behind the rims of the face: the underside of the jaw, the cheek's side as far as the ear, the lips.

A photograph from the front shows nothing of either, and without them a turn tears the face off neck and ears. The
underside takes the pixels just outside the outline: the true edge of the jaw, which landmarks miss by a little, and the
shadow under it. The side takes the cheek's own, mirrored in the outline.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.colour import linear_table
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, Image
from offline.facemesh import LANDMARKS, boundary_edges, face_topology
from offline.geometry import Surface
from offline.headfit import HeadFit
from offline.parts import F64, MeshParts, head_weight, sample

UNDER, EDGE, FLOOR = -0.2, 0.35, 0.75  # cm outside the outline, in the picture: it begins under the face's own rim,
BELOW, ROUND, BEHIND = 0.15, 0.45, 1.2  # rounds the jaw, ends on the neck; cm behind the outline, the last at least
DEEPEST = 6.0  # cm from the outline back to the neck
SOLID = 8.0  # feather of what does not fade
HANGING = 4.0  # cm that it goes back where it meets no neck
HUE = 0.8  # logarithm of channel ratios: farther from the skin's, it is a collar or hair,
CLOTHED = -0.06  # which stays where it is: the underside then goes back so far inside and shows the jaw's skin
SIDE = (0.0, 0.15, 0.4, 0.7, 1.0)  # shares of the way from outline to ear at which the cheek's side has vertices
SIDE_UNDER, SIDE_EAR = -0.12, 0.4  # cm outside the outline: where the side lies, and where an ear begins
SIDE_MORE = 1.5  # cm above and below the ear
LIP_OVER = (-0.08, 0.03, 0.05)  # cm from a lip's rim toward the other, beyond the middle of the gap between them
LIP_DEEP = (0.03, 0.1, 0.65)  # cm behind the rim; teeth begin at 0.75
MIRRORED = 0.12  # cm of cheek shown for every cm of the side's depth: little, or glasses show their arms twice


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


def add_behind_outline(
    parts: MeshParts, fit: HeadFit, landmarks: F64, surface: Surface, camera: Camera, alpha: Array, colours: Image
) -> None:
    """Both, with the head's weights; each follows the outline it hangs on."""
    topology = face_topology()
    edges = rim_edges()[0]
    edges = edges[topology.rim[edges].all(1)]
    pixels = np.asarray(topology.smooth @ landmarks[:LANDMARKS, :2])
    z = np.asarray(topology.smooth @ fit.points[:LANDMARKS, 2])
    step = outward(pixels) * (camera.focal / -z)[:, None]

    def shown(values: NDArray[np.bool_], distance: float) -> NDArray[np.bool_]:
        return sample(values.astype(np.uint8), *((pixels + distance * step + 0.5) * surface.scale - 0.5).T) > 0.5

    floor = pixels + FLOOR * step
    neck = sample(surface.neck, *((floor + 0.5) * surface.scale - 0.5).T)
    neck = np.clip(neck, z - DEEPEST, z - BEHIND)
    reached = (sample(alpha, *floor.T) > 0.9) & shown(surface.below, FLOOR)  # else it borders on the background
    jaw, solid = edges[jaw_rim()[edges].all(1)], np.full(len(z), SOLID)
    skin = pixels[topology.depth > 2]
    clothed = (reached & ~of_skin(colours, floor, skin))[:, None]
    away = np.where(reached[:, None], (UNDER, EDGE, FLOOR), (UNDER, FLOOR, FLOOR))
    away = np.where(clothed, (UNDER, CLOTHED, CLOTHED), away)
    places = [pixels + k[:, None] * step for k in away.T]
    sources = [*places[:2], np.where(clothed, pixels + 2 * UNDER * step, places[2])]
    depths = [z - BELOW, z - ROUND, neck]
    head = [np.ones(len(z)), np.ones(len(z)), head_weight(fit, camera.unproject(floor, neck))]
    add_strip(
        parts,
        jaw,
        places,
        sources,
        depths,
        camera,
        [1, 1, 0],
        head,
        [solid, 0.75 * solid * reached, 0 * solid],
        reached,
    )

    ear = sample(surface.z, *((pixels + SIDE_EAR * step + 0.5) * surface.scale - 0.5).T)
    reach = 2 * round(SIDE_MORE / surface.unit) + 1
    near = cv2.dilate(surface.behind.astype(np.uint8), np.ones((reach, 1))) > 0  # more, to close where tears end
    stepped = shown(near, SIDE_EAR) & (ear < z) & of_skin(colours, pixels + SIDE_EAR * step, skin)  # not before hair
    hanging = jaw_rim() & ~reached
    side = edges[(stepped | hanging)[edges].all(1)]
    ear = np.where(stepped, ear, z - HANGING)
    here = pixels + SIDE_UNDER * step
    depths = [z + k * (ear - z) - BELOW for k in SIDE]
    sources = [here - (MIRRORED * k * np.maximum(z - ear, 0))[:, None] * step for k in SIDE]
    add_strip(parts, side, [here] * len(SIDE), sources, depths, camera, [1 - k for k in SIDE])


def add_lip_insides(parts: MeshParts, fit: HeadFit, landmarks: F64, camera: Camera) -> None:
    """The lips go on inward from where they meet: closed ones show no teeth, from whatever side they are seen."""
    topology = face_topology()
    pixels = np.asarray(topology.smooth @ landmarks[:LANDMARKS, :2])
    z = np.asarray(topology.smooth @ fit.points[:LANDMARKS, 2])
    step = outward(pixels) * (camera.focal / -z)[:, None]
    height = np.asarray(topology.smooth @ canonical().landmarks[:LANDMARKS])[:, 1]
    edges = rim_edges()[0]
    lips = edges[(topology.hole & (height < canonical().landmarks[2, 1]))[edges].all(1)]
    gap = np.linalg.norm(landmarks[13, :2] - landmarks[14, :2]) * -fit.points[13, 2] / camera.focal
    places = [pixels + (k + gap / 2 * (k > 0)) * step for k in LIP_OVER]
    add_strip(parts, lips, places, places, [z - k for k in LIP_DEEP], camera, [1.0] * len(places))


def add_strip(
    parts: MeshParts,
    edges: NDArray[np.int32],
    places: list[F64],
    sources: list[F64],
    depths: list[F64],
    camera: Camera,
    follow: list[float],
    head: list[F64] | None = None,
    feather: list[F64] | None = None,
    last: NDArray[np.bool_] | None = None,
) -> None:
    """Rows of quads behind outline `edges` (n, 2). For every ring: where its vertices lie and what they show, (V, 2)
    canvas pixels; their depth z (V,); share of the outline's motion; head weight (V,); feather (V,). `last` (V,): where
    the last row is there."""
    if len(edges) == 0:
        return
    used, new = np.unique(edges, return_inverse=True)
    new, n = new.reshape(-1, 2), len(used)
    triangles = []
    for k in range(len(places) - 1):
        there = new if last is None or k < len(places) - 2 else new[last[edges].all(1)]
        a, b = there.T + k * n
        triangles += [np.stack([a, b, a + n], 1), np.stack([b, b + n, a + n], 1)]
    source = np.concatenate([p[used] for p in sources])
    rows = face_topology().smooth[used]
    parts.add(
        np.concatenate([camera.unproject(p[used], d[used]) for p, d in zip(places, depths, strict=True)]),
        np.column_stack(
            [source, np.full(len(source), SOLID) if feather is None else np.concatenate([f[used] for f in feather])]
        ),
        np.concatenate(triangles),
        head=1.0 if head is None else np.concatenate([h[used] for h in head]),
        rig=sp.vstack([rows * k for k in follow]),
    )
