"""A model posed for measuring: its mesh, its picture before light, and which of its pixels are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.fusion import head_framing
from narrate_stream.ops.geometry import Camera
from narrate_stream.renderer import GBuffer, Renderer
from narrate_stream.types import AvatarMotion
from offline.evaluate.rays import Places, PosedMesh
from offline.evaluate.truth import (
    SAMPLES,
    Light,
    Shone,
    Surface,
    Truth,
    atlas_sample,
    bounce_of,
    developed,
    linear_of,
    surface_at,
)
from offline.layers import polygon_mask
from offline.preprocess import OVAL

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
LANDMARKS = 468
STRAY = 25.0  # of 255: share of hair from which on a place is no longer skin
GRID = 32  # places of the head along the longer side of the canvas


@dataclass(frozen=True)
class Pose:
    """One view: gbuffer and its camera; the posed mesh; face (H, W) the pixels that are compared; places and surface:
    what they show."""

    gbuffer: GBuffer
    camera: Camera
    mesh: PosedMesh
    face: Mask
    places: Places
    surface: Surface

    @property
    def gloss(self) -> F64:
        """(N,) of the face's pixels, 0..1."""
        return atlas_sample(self.mesh.model.surface, self.places)[:, 3] / 255

    def pictures(self, light: Light, thrown: Places, samples: int = SAMPLES) -> tuple[F64, F64, Shone]:
        """The face's pixels by brute force, (N, 3) sRGB 0..1, the same with nothing in the light's way, and the light
        on them. thrown: places of head and neck, for the bounce."""
        truth = Truth(self.mesh, light, samples=samples)
        shone, bounce = truth.shone(self.surface), bounce_of(truth, thrown)
        albedo = linear_of(self.gbuffer.base[self.face].astype(np.float64))
        lit, unhidden = (developed(albedo, self.gloss, s, bounce) for s in (shone, shone.unhidden()))
        return lit, unhidden, shone


class Sitting:
    """One model at one framing, with everything that does not depend on the light; without what F_R adds, since what is
    compared is the physics of one surface, traced and live."""

    def __init__(self, model: HybridModel, size: int) -> None:
        self.model = replace(model, residual=None)
        self.renderer = Renderer(model, head_framing(model, size))
        self.oval = face_oval(model)
        self.skin = canvas_places(model)

    def pose(self, motion: AvatarMotion) -> Pose:
        """The mesh, its picture before light and the face in it."""
        gbuffer = self.renderer(motion)
        mesh = PosedMesh(self.model, self.renderer.deform(motion))
        marks = self.renderer.camera.project(mesh.points[:LANDMARKS])  # a model's first vertices
        face = face_pixels(gbuffer, self.oval) & hull(marks, gbuffer.covered.shape)
        rows, columns = np.nonzero(face)
        atlas = atlas_of(gbuffer)[rows, columns]
        rays = self.renderer.camera.unproject(np.stack([columns, rows], -1).astype(np.float64), -1.0)
        places, found = mesh.shown(rays, atlas, 1.5 / gbuffer.texture_scale)
        surface = surface_at(mesh, places)
        sound = np.zeros_like(face)
        sound[rows[found], columns[found]] = unfolded(surface) & bare(self.model, places)
        # a ray from right beside a fold starts inside the mesh as well
        kept = face & (cv2.dilate((face & ~sound).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
        whole = kept[rows[found], columns[found]]
        return Pose(gbuffer, self.renderer.camera, mesh, kept, places[whole], surface[whole])


def unfolded(surface: Surface) -> Mask:
    """(N,) where the mesh's own normal says what the eye and the portrait's normals say: at folds of a depth map (wings
    of the nose, strands at the cheek) it does not, and rays would start inside."""
    seen, agreed = ((surface.outward * other).sum(-1) for other in (surface.viewer, surface.normal))
    return np.asarray((seen > 0.05) & (agreed > 0.3))


def bare(model: HybridModel, places: Places) -> Mask:
    """(N,) what is skin: the reference has no lobe for hair."""
    return np.asarray(atlas_sample(model.material, places)[:, 3] < STRAY)


def atlas_of(gbuffer: GBuffer) -> NDArray[np.float32]:
    """(H, W, 2) coordinates in the atlas at its own size."""
    k = 1 / gbuffer.texture_scale
    return np.stack([(m + 0.5) * k - 0.5 for m in (gbuffer.map_x, gbuffer.map_y)], -1)


def face_oval(model: HybridModel) -> Mask:
    """(h, w) of the canvas: inside the oval of the landmarks."""
    marks = model.camera.project(model.neutral @ model.rotation.T.astype(np.float64) + model.translation)
    return polygon_mask(marks[list(OVAL)], (model.canvas[1], model.canvas[0]))


def hull(points: F64, shape: tuple[int, ...]) -> Mask:
    """(H, W) inside of the convex hull of points (N, 2)."""
    outline = cv2.convexHull(np.round(points).astype(np.int32))
    return np.asarray(cv2.fillConvexPoly(np.zeros(shape, np.uint8), outline, 1) > 0)


def face_pixels(gbuffer: GBuffer, oval: Mask) -> Mask:
    """(H, W) opaque pixels that show what lies inside the portrait's oval: the layer behind the face's edge shows some
    of it again, so they count only where the face is. What is seen through its openings lies below the canvas
    in the atlas; it is not compared, since the rig sets eyes back behind the lids to layer them, and their shade with
    it."""
    x, y = np.moveaxis(np.round(atlas_of(gbuffer)).astype(int), -1, 0)
    h, w = oval.shape
    face = gbuffer.covered & (y < h) & oval[np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)]
    face[gbuffer.fringe_at[:, 0], gbuffer.fringe_at[:, 1]] = False
    return np.asarray(face)


def canvas_places(model: HybridModel) -> Places:
    """Some hundred places of the head, evenly over the canvas."""
    w, h = model.canvas
    step = max(1, max(w, h) // GRID)
    grid = np.stack(np.meshgrid(np.arange(0, w, step), np.arange(0, h, step)), -1).reshape(-1, 2)
    head = (model.surface[grid[:, 1], grid[:, 0], 2] > 100) & (model.alpha[grid[:, 1], grid[:, 0]] > 200)
    pixels = grid[head].astype(np.float64)
    return PosedMesh(model, model.vertices).shown(model.camera.unproject(pixels, -1.0), pixels, 1.5)[0]
