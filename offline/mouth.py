"""What goes on behind the lips: their inner side, and the bag of the mouth.

Convention: arrays of the face's V vertices (see `offline/facemesh.py`); camera space, cm; canvas pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera, angles_from_rotation
from offline.facemesh import LANDMARKS, face_topology
from offline.layers import Cell
from offline.outline import Ring, add_strip, rim_edges, rim_of
from offline.parts import F64, TURNED, MeshParts

LIP_OVER = (-0.08, 0.03, -0.15)  # cm from a rim toward the other lip, beyond the middle of their gap, and up behind it
LIP_DEEP = (0.03, 0.1, 0.55)  # cm behind the rim; teeth begin at 0.75
# of the bag behind the lips: cm aside of their rim and behind it, way to the mouth's middle, share of the lips' motion,
# and where in the picture of the mouth's inside that is seen, 0..1
BAG = (
    (0.02, 0.12, 0.0, 1.0, (0.03, 0.75)),
    (0.4, 0.9, 0.0, 1.0, (0.06, 0.6)),
    (0.5, 2.2, 0.0, 0.9, (0.2, 0.5)),
    (0.0, 3.4, 1.0, 0.7, (0.5, 0.42)),
)
Place = tuple[int, int]


def lip_edges() -> NDArray[np.int32]:
    """(n, 2) edges of the face's opening between the lips."""
    topology = face_topology()
    height = np.asarray(topology.smooth @ canonical().landmarks[:LANDMARKS])[:, 1]
    edges = rim_edges()[0]
    return np.asarray(edges[(topology.hole & (height < canonical().landmarks[2, 1]))[edges].all(1)])


def add_mouth_bag(parts: MeshParts, fit: FaceFit, landmarks: F64, camera: Camera, cavity: Cell, at: Place) -> None:
    """A bag behind the lips that moves with them: between lips and teeth, however wide and from whatever side, there
    is dark flesh. It shows the `cavity` cell, which lies `at` in the atlas."""
    rim, lips = rim_of(fit, landmarks, camera), lip_edges()
    start, size = camera.unproject(rim.pixels, rim.z), np.array(cavity.alpha.shape[::-1]) - 1.0
    middle = start[np.unique(lips)].mean(0)
    # along the rays, so that the resting portrait shows none of it; a head that is turned has its mouth behind the lips
    turned = abs(float(angles_from_rotation(fit.rotation)[0])) > TURNED
    deeper = -fit.rotation[:, 2] if turned else camera.unproject(rim.pixels, -np.ones(len(rim.z)))
    rings = []
    for aside, back, inward, follow, (u, v) in BAG:
        # aside of each place of the rim, not of the mouth's middle: where lips that meet bow down, that lies above them
        place = camera.unproject(rim.beside(-aside), rim.z) + inward * (middle - start) + back * deeper
        source = np.broadcast_to(np.array([u, v]) * size + at, rim.pixels.shape)
        rings.append(Ring(camera.project(place), source, place[:, 2], follow))
    add_strip(parts, lips, rings, camera)


def add_lip_insides(parts: MeshParts, fit: FaceFit, landmarks: F64, camera: Camera) -> None:
    """The lips go on inward from where they meet: closed ones show no teeth, from whatever side they are seen."""
    rim, lips = rim_of(fit, landmarks, camera), lip_edges()
    gap = float(np.linalg.norm(landmarks[13, :2] - landmarks[14, :2])) * -fit.points[13, 2] / camera.focal
    places = [rim.beside(k + gap / 2 * (k > 0)) for k in LIP_OVER]
    add_strip(parts, lips, [Ring(p, p, rim.z - k) for p, k in zip(places, LIP_DEEP, strict=True)], camera)
