"""Joins face and rest into one depth map and one normal map of the canvas (paper, 4.2 and 4.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera
from narrate_stream.types import Array, Image
from offline.coarse import jaw_side, rest_depth
from offline.facemesh import face_topology, vertex_normals
from offline.headfit import HeadFit
from offline.integrate import integrate, normals_from_depth
from offline.layers import LEFT_EYE, RIGHT_EYE, polygon_mask
from offline.parts import nearest_fill, smoothstep
from offline.preprocess import OVAL
from offline.skin import bare_skin
from offline.softmesh import MapRenderer, screen_of
from offline.template import ear_board, front_map, own_directions, rest_with_template, shoulders, with_hair, with_neck

F64 = NDArray[np.float64]
Detail = tuple[NDArray[Any], NDArray[Any]]  # normals (h, w, 3) over the whole canvas, camera space; belief (h, w) 0..1
DEPTH_SIZE = 320  # longer side of the depth map: the mesh is coarser, the normals are separate
THICKNESS = 11.0  # cm: how far hair comes forward of the plane of the silhouette
NECK_BELOW = -44.0  # degrees of elevation seen from the middle of the head: under the chin
MIXED = 5  # map pixels beside the jaw in which the depth map mixes jaw and neck
THROAT = 0.7, 2.0  # cm from the jaw over which the depth map is believed again
TIE = 4.0  # cm over which the coarse depth holds the integrated one: nearer by, the normals know better
RESOLVED = 0.2  # cm (sigma) over which F_N's normals are averages, one pixel of its window: measured on kit heads
CHEST = 6.5  # cm: neck and chest, which stay behind the chin


@dataclass(frozen=True)
class Surface:
    """z (h, w) cm camera space and normal (h, w, 3) of the whole person at depth resolution; coarse: the normals before
    anything fine; face (h, w) true inside the face's outline; camera of these maps; scale: map pixels per canvas pixel;
    middle: z of the plane of the silhouette; neck (h, w) z of what lies behind the jaw; rim (h, w) z of the
    nearest point of the face; below: nearest to the lower jaw; shell (rows,
    columns, 3) the head template with its hair, camera space, cm (see `offline/headfit.py`); covered (h, w) true where
    it is seen; behind (h, w) true where it lies behind the face's outline by a step, as ears do; unit: cm per map pixel
    at the head."""

    z: F64
    normal: F64
    coarse: F64
    face: NDArray[np.bool_]
    camera: Camera
    scale: float
    middle: float
    neck: F64
    rim: F64
    below: NDArray[np.bool_]
    shell: F64
    covered: NDArray[np.bool_]
    behind: NDArray[np.bool_]
    unit: float


def to_canvas(values: F64, canvas: tuple[int, int]) -> Array:
    """A map at depth resolution enlarged to (W, H)."""
    return np.asarray(cv2.resize(values.astype(np.float32), canvas, interpolation=cv2.INTER_CUBIC))


def face_maps(fit: FaceFit, landmarks: F64, camera: Camera, width: int, height: int) -> tuple[F64, F64]:
    """z (h, w) and normal (h, w, 3) of the smooth landmark surface, nan outside; eyes and mouth are bridged."""
    topology = face_topology()
    points = np.asarray(topology.smooth @ fit.points[:468])
    normals = np.asarray(topology.smooth @ smooth_normals(fit.points[:468]))
    fans = [np.stack([np.full(14, ring[0]), ring[1:-1], ring[2:]], 1) for ring in map(np.array, (RIGHT_EYE, LEFT_EYE))]
    from offline.layers import INNER_LOWER, INNER_UPPER

    lips = np.array(INNER_UPPER + INNER_LOWER[::-1][1:-1])
    fans.append(np.stack([np.full(len(lips) - 2, lips[0]), lips[1:-1], lips[2:]], 1))
    triangles = np.concatenate([topology.triangles, *fans])
    renderer = MapRenderer(triangles)
    both = renderer.map(screen_of(points, camera.project(points)), np.concatenate([points, normals], 1), width, height)
    return both[..., 2], both[..., 3:]


def smooth_normals(points: F64) -> F64:
    """(468, 3) vertex normals, averaged once over neighbours: landmark noise makes single ones ring."""
    from narrate_stream.ops.canonical import canonical

    triangles = canonical().triangles
    normals = vertex_normals(points, triangles)
    total = normals * 2
    for a, b in ((0, 1), (1, 2), (2, 0)):
        np.add.at(total, triangles[:, a], normals[triangles[:, b]] * 0.5)
        np.add.at(total, triangles[:, b], normals[triangles[:, a]] * 0.5)
    return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12))


def build_surface(
    fit: HeadFit,
    landmarks: F64,
    coverage: Array,
    camera: Camera,
    detail: Detail | None = None,
    colours: Image | None = None,
) -> Surface:
    """Coarse depth of the person, fused normals, and the depth integrated from them with the coarse one as prior.

    detail: normals of the canvas from elsewhere (a network) and how far they are believed, blended with the geometry's
    own per pixel before the integration. colours: the canvas; where it shows no skin beside the cheek, no bare ear is
    looked for.
    """
    h, w = coverage.shape
    scale = DEPTH_SIZE / max(h, w)
    mw, mh = max(8, round(w * scale)), max(8, round(h * scale))
    small = Camera(camera.focal * scale, (camera.cx + 0.5) * scale - 0.5, (camera.cy + 0.5) * scale - 0.5)
    marks = (landmarks[:, :2] + 0.5) * scale - 0.5
    cover = np.asarray(cv2.resize(coverage, (mw, mh), interpolation=cv2.INTER_AREA), np.float32)
    face, face_z, face_n = whole_face(
        *face_maps(fit, landmarks, small, mw, mh), polygon_mask(marks[list(OVAL)], (mh, mw))
    )
    middle = float(fit.camera(np.array([[0.0, 0.0, -1.0]]))[0, 2])
    unit = -middle / small.focal
    below = jaw_side(marks, (mh, mw))
    skull = with_neck(fit)
    shell = with_hair(fit, skull, cover, small)
    low = own_directions(fit, skull)[1] < NECK_BELOW
    front = front_map(shell, low, shoulders(fit, shell), small, mw, mh)
    thickness = thickness_by_row(marks, mh)
    held = face | (~np.isnan(front.z) & (cover > 0.5))
    inflated = rest_depth(cover, held, np.where(face, face_z, front.z), below & face, middle, unit, thickness)
    ears = ear_board(fit, small, mw, mh)
    if colours is not None:
        ears = replace(ears, share=ears.share * bare_skin(colours, face, cover, unit))
    rest, behind = rest_with_template(front, inflated, face, face_z, below, cover, ears, unit)
    template = rest
    neck = nearest_fill(rest, ~face & below & (cover > 0.5), middle)
    # the border of hair and cheek stays with what it borders on, or a turn would tear it off
    held = cv2.erode((cover > 0.5).astype(np.uint8), np.ones((3, 3))) > 0
    border = cv2.GaussianBlur(nearest_fill(np.where(face, face_z, rest), held | face, middle), (0, 0), 4.0)
    rest = np.where(held | behind, rest, border)
    z = np.where(face, face_z, rest)
    normal = without_crease(coarse_normals(z, face, face_n, small), face, below)
    given, sure = detail_at(detail, (mw, mh))
    blended = unit_vectors(normal + (given - normal) * sure[..., None])
    joined = integrate(blended, z, *prior_weights(z, face, cover, unit, sure), small, blur=RESOLVED / unit)
    joined *= np.exp(np.log(z / joined)[face].mean())  # as far away as the landmarks say: normals do not know
    joined = with_throat(joined, face, below, cover, unit)
    joined = np.where(behind, template, joined)  # a step that no smoothness bridges
    joined = np.where(held | face, joined, cv2.GaussianBlur(nearest_fill(joined, held | face, middle), (0, 0), 2.0))
    fused = refined_normals(normal, joined, face, small)
    fused = unit_vectors(fused + (blended - fused) * sure[..., None])
    return Surface(
        joined,
        fused,
        normal,
        face,
        small,
        scale,
        middle,
        neck,
        nearest_fill(z, face, middle),
        below,
        shell,
        ~np.isnan(front.z),
        behind,
        unit,
    )


def whole_face(face_z: F64, face_n: F64, outline: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], F64, F64]:
    """Where the face is (h, w), its z (h, w) there and its normals (h, w, 3) everywhere, without the slivers that
    `face_maps` leaves between the lips; outline (h, w) is its inside."""
    face = ~np.isnan(face_z) & (outline | (face_n[..., 2] > 0.15))
    seen = face & (face_n[..., 2] > -1)
    face = cv2.morphologyEx(face.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9))) > 0
    face_z = np.where(face, nearest_fill(np.nan_to_num(face_z), seen, -1e3), -1e3)
    face_n = np.stack([nearest_fill(np.nan_to_num(face_n[..., k]), seen, float(k == 2)) for k in range(3)], -1)
    return face, face_z, face_n


def thickness_by_row(marks: F64, height: int) -> F64:
    """(h, 1) cm by which the rest comes forward of the plane of the silhouette: hair above the chin, chest below."""
    chin, brow = float(marks[152, 1]), float(marks[9, 1])
    lower = np.clip((np.arange(height) - chin + 0.25 * (chin - brow)) / (0.5 * (chin - brow)), 0, 1)[:, None]
    return np.asarray(THICKNESS + (CHEST - THICKNESS) * lower, np.float64)


def coarse_normals(z: F64, face: NDArray[np.bool_], face_n: F64, camera: Camera) -> F64:
    """(h, w, 3) the landmark surface's normals in the face, those of the depth elsewhere, soft where they meet."""
    soft = cv2.GaussianBlur(z, (0, 0), 4.0)
    away = np.clip(cv2.distanceTransform((~face).astype(np.uint8), cv2.DIST_L2, 5) / 8, 0, 1)
    soft = soft * (1 - away) + cv2.GaussianBlur(z, (0, 0), 1.5) * away
    rest_n = normals_from_depth(soft, camera)
    inner = cv2.erode(face.astype(np.uint8), np.ones((9, 9))).astype(np.float32)
    blend = cv2.GaussianBlur(inner, (0, 0), 3.0)[..., None] * face[..., None]
    normal = np.where(face[..., None], np.nan_to_num(face_n), 0) * blend + rest_n * (1 - blend)
    return np.asarray(cv2.GaussianBlur(normal, (0, 0), 0.8), np.float64)


def with_throat(z: F64, face: NDArray[np.bool_], below: NDArray[np.bool_], cover: Array, unit: float) -> F64:
    """(h, w) z with a step at the jaw: the depth map runs smoothly from the jaw to the neck, the neck does not."""
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MIXED + 1,) * 2)
    neck = (cv2.dilate(face.astype(np.uint8), near) == 0) & below & (cover > 0.9)
    if not neck.any():
        return z
    deepest = cv2.erode(np.where(neck, z, 0.0), near)  # z is negative: nothing else counts
    throat = np.minimum(z, cv2.GaussianBlur(nearest_fill(np.asarray(deepest), neck, 0.0), (0, 0), 3.0))
    apart = cv2.distanceTransform((~face).astype(np.uint8), cv2.DIST_L2, 5) * unit
    there = (below & ~face & (cover > 0.5)).astype(np.uint8)
    there = cv2.morphologyEx(there, cv2.MORPH_OPEN, near)  # the matte's rim at a cheek is no neck
    share = cv2.GaussianBlur(there.astype(np.float64), (0, 0), 3.0) * ~face
    return np.asarray(z + (throat - z) * share * (1 - smoothstep(apart, *THROAT)))


def detail_at(detail: Detail | None, size: tuple[int, int]) -> tuple[F64, F64]:
    """(h, w, 3) given normals and (h, w) belief in them, 0..1, at (w, h) `size`; belief 0 everywhere without detail."""
    if detail is None:
        return np.zeros((size[1], size[0], 3)), np.zeros(size[::-1])
    normal, sure = (cv2.resize(a.astype(np.float32), size, interpolation=cv2.INTER_AREA) for a in detail)
    return unit_vectors(normal.astype(np.float64)), np.clip(sure.astype(np.float64), 0, 1)


def unit_vectors(v: F64) -> F64:
    """(..., 3) scaled to length one."""
    return np.asarray(v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-9))


def refined_normals(normal: F64, z: F64, face: NDArray[np.bool_], camera: Camera) -> F64:
    """Normals of the integrated depth well inside the face, where they are better; the given ones elsewhere."""
    inner = cv2.erode(face.astype(np.uint8), np.ones((15, 15))).astype(np.float32)
    share = cv2.GaussianBlur(inner, (0, 0), 4)[..., None]
    mixed = normal + share * (normals_from_depth(cv2.GaussianBlur(z, (0, 0), 1.8), camera) - normal)
    return unit_vectors(mixed)


def without_crease(normal: F64, face: NDArray[np.bool_], below: NDArray[np.bool_]) -> F64:
    """Unit normals smoothed in a band along the face's outline, where two surfaces were joined (not at the jaw, where
    the step is real)."""
    distance = cv2.distanceTransform(face.astype(np.uint8), cv2.DIST_L2, 5) + cv2.distanceTransform(
        (~face).astype(np.uint8), cv2.DIST_L2, 5
    )
    band = np.clip(1.4 - distance / 10, 0, 1) * (1 - cv2.GaussianBlur(below.astype(np.float32), (0, 0), 3))
    wide = cv2.GaussianBlur(normal, (0, 0), 6)
    mixed = normal + (wide - normal) * cv2.GaussianBlur(band, (0, 0), 2)[..., None]
    return unit_vectors(mixed)


def prior_weights(z: F64, face: NDArray[np.bool_], cover: Array, unit: float, sure: F64) -> tuple[F64, F64]:
    """(prior weight, belief in normals), each (h, w): the coarse depth rules at jumps outside the face and, where no
    better normals are given (`sure` (h, w), 0..1), all of what is not well inside the face."""
    inner = cv2.erode(face.astype(np.uint8), np.ones((5, 5))) > 0
    jump = np.maximum(np.abs(cv2.Laplacian(z, cv2.CV_64F)), np.hypot(np.gradient(z, axis=0), np.gradient(z, axis=1)))
    broken = (cv2.dilate((jump > 6 * unit).astype(np.uint8), np.ones((3, 3))) > 0) & ~inner
    weight = np.where(broken, 1.0, np.where(inner, 0.0, (1 - sure) ** 2) + (unit / TIE) ** 2)
    belief = np.where(broken, 0.02, 1.0) * np.where(cover > 0.5, 1, 0.05)
    return weight, belief
