"""THE BUILD: one portrait in, one hybrid neural-physical model out (paper, 4.2). Read top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream import __version__
from narrate_stream.bundle import HybridModel
from narrate_stream.errors import PortraitError
from narrate_stream.ops.colour import linear_table, luminance, srgb_from_linear
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.types import Array, Image
from offline import albedo as delight
from offline import complete, layers, outline, parts, rig, sheets
from offline.bake import bake_transport, pack_surface
from offline.geometry import Surface, build_surface, to_canvas
from offline.headfit import HeadFit, fit_head
from offline.networks import Estimate, estimate, load_networks
from offline.picture import Picture, load_builtin_portrait, load_picture
from offline.preprocess import OVAL, Portrait, clean_plate, foreground_colours, matte, prepare

Progress = Callable[[str, float], None]
F64 = NDArray[np.float64]
WORST_FIT = 0.11  # interocular distances: landmarks farther from any human face are not one
BACKDROP = 2048


@dataclass(frozen=True)
class Maps:
    """Per canvas pixel: normal (H, W, 3) camera space, shading of the portrait's light (H, W), linear albedo (H, W, 3),
    occlusion, head weight and gloss (H, W), face (H, W) bool; light (9,) spherical harmonics; residual: how far albedo
    times light is from the photograph (`albedo.light_residual`)."""

    normal: F64
    shading: F64
    albedo: Array
    occlusion: F64
    head: F64
    gloss: F64
    face: NDArray[np.bool_]
    light: F64
    residual: float


@dataclass(frozen=True)
class Build:
    """The model and what a report shows of its making."""

    model: HybridModel
    portrait: Portrait
    alpha: Array
    fit: HeadFit
    surface: Surface
    maps: Maps
    seconds: dict[str, float]


class Steps:
    """Times the steps and tells `progress`."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.start = progress, time.perf_counter()
        self.seconds: dict[str, float] = {}

    def done(self, name: str) -> None:
        """The step that ends now."""
        now = time.perf_counter()
        self.seconds[name], self.start = now - self.start, now
        if self.progress:
            self.progress(name, self.seconds[name])


def build_model(
    portrait: Path | None,
    *,
    size: int = 1024,
    report: Path | None = None,
    progress: Progress | None = None,
    networks: bool = True,
    learned_albedo: bool = False,
) -> HybridModel:
    """The hybrid model of one portrait (`None`: the built-in one) at working size `size` pixels.

    `report`: a folder for the QA page. `networks` False: normals from geometry alone;
    `learned_albedo`: albedo by F_A.
    Raises PortraitError with one sentence for anything that cannot become a model.
    """
    if not 256 <= size <= 2048:
        raise PortraitError(f"the working size must lie between 256 and 2048 pixels, not {size}")
    picture = load_picture(portrait) if portrait else load_builtin_portrait()
    made = build(picture, size, progress, networks=networks, learned_albedo=learned_albedo)
    if report is not None:
        from offline.report import write_report

        write_report(made, report)
    return made.model


def build(
    picture: Picture,
    size: int,
    progress: Progress | None = None,
    *,
    networks: bool = True,
    learned_albedo: bool = False,
) -> Build:
    """All steps of the offline stage."""
    steps = Steps(progress)
    trained = load_networks(albedo=learned_albedo) if networks else None
    portrait = prepare(picture, size)
    steps.done("face")
    alpha = matte(portrait)
    plate = clean_plate(portrait.image, alpha)
    colours = foreground_colours(portrait.image, alpha, plate)
    steps.done("matte and background")
    fit, camera = fit_head(portrait.landmarks, portrait.camera)
    portrait = replace(portrait, camera=camera)  # the focal length that goes with the head's distance
    if fit.error > WORST_FIT:
        raise PortraitError(
            f"{picture.path or 'the portrait'}: what looks like a face does not have a human face's shape"
        )
    seen = estimate(trained, portrait.image, alpha, portrait.landmarks, camera) if trained else None
    if seen:
        steps.done("networks")
    detail = (seen.normal, outside_mouth(seen.confidence, portrait)) if seen else None
    surface = build_surface(fit, portrait.landmarks, alpha, portrait.camera, detail)
    steps.done("geometry")
    small_alpha = cv2.resize(alpha, surface.z.shape[::-1], interpolation=cv2.INTER_AREA)
    transport, occlusion = bake_transport(surface, np.asarray(small_alpha, np.float64))
    steps.done("light transport")
    maps = canvas_maps(portrait, fit, surface, colours, occlusion, seen)
    steps.done("light and albedo")
    mesh, cells, places, height = assemble_mesh(portrait, fit, surface, alpha, colours)
    painted = complete.paint_shell(fit, surface, portrait.camera, alpha, maps.albedo)
    atlas = assemble_atlas(portrait, fit, surface, colours, painted, alpha, maps, cells, places, height)
    steps.done("layers and rig")
    h, w = picture.image.shape[:2]
    backdrop = (
        cv2.resize(picture.image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        if (k := BACKDROP / max(h, w)) < 1
        else picture.image
    )
    pivot = fit.camera(np.array([[0.0, -1.0, 0.0]]))[0]
    model = HybridModel(
        name=picture.path.stem if picture.path else "astronaut",
        frame_size=(w, h),
        crop=portrait.crop,
        camera=portrait.camera,
        rotation=fit.rotation.astype(np.float32),
        translation=fit.translation.astype(np.float32),
        pivot=pivot.astype(np.float32),
        neutral=fit.head(fit.points).astype(np.float32),
        plate=plate,
        backdrop=np.asarray(backdrop, np.uint8),
        transport=transport,
        light=maps.light.astype(np.float32),
        provenance=provenance(picture, portrait, fit, seen, maps) | {"shell": complete.origin_shares(painted)},
        **mesh,
        **atlas,
    )
    steps.done("bake")
    return Build(model, portrait, alpha, fit, surface, maps, steps.seconds)


def outside_mouth(confidence: Array, portrait: Portrait) -> Array:
    """(h, w) confidence, 0 between the lips: what shows there has light of its own, not that of a hollow."""
    h, w = confidence.shape
    marks = portrait.landmarks[list(layers.INNER_UPPER + layers.INNER_LOWER[::-1]), :2]
    inside = layers.polygon_mask(marks * (w / portrait.image.shape[1]), (h, w)).astype(np.float32)
    grown = cv2.dilate(inside, np.ones((3, 3), np.uint8))
    return np.asarray(confidence * (1 - cv2.GaussianBlur(grown, (0, 0), 1.0)), np.float32)


def provenance(picture: Picture, portrait: Portrait, fit: FaceFit, seen: Estimate | None, maps: Maps) -> dict[str, Any]:
    """Where the model comes from, for people and for `narrate` itself."""
    yaw, pitch, roll = angles_from_rotation(fit.rotation)
    return {
        "made_by": f"narrate-stream {__version__}",
        "faces": portrait.faces,
        "pose": [round(float(a), 1) for a in (yaw, pitch, roll)],
        "fit_error": round(float(fit.error), 4),
        "tight": bool(portrait.tight),
        "mouth_open": bool(layers.mouth_opening(portrait.landmarks) > OPEN_MOUTH),
        "normals": "network and geometry" if seen else "geometry",
        "albedo": "network" if seen and seen.shading is not None else "spherical harmonics",
        "light_residual": round(maps.residual, 3),
    }


def canvas_maps(
    portrait: Portrait, fit: FaceFit, surface: Surface, colours: Image, occlusion: F64, seen: Estimate | None = None
) -> Maps:
    """Normals at canvas size, the portrait's light and the albedo that is left without it."""
    h, w = portrait.image.shape[:2]
    normal = to_canvas(surface.normal, (w, h)).astype(np.float64)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    marks = portrait.landmarks
    face = cv2.resize(surface.face.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    holes = np.zeros((h, w), np.bool_)
    for ring in (layers.RIGHT_EYE, layers.LEFT_EYE, layers.INNER_UPPER + layers.INNER_LOWER[::-1]):
        holes |= layers.polygon_mask(marks[list(ring)], (h, w))
    holes = cv2.dilate(holes.astype(np.uint8), np.ones((max(3, w // 90),) * 2)) > 0
    skin = delight.skin_mask(colours, face > 0.9, holes)
    ao = to_canvas(occlusion, (w, h)).astype(np.float64)
    light = delight.estimate_light(luminance(linear_table()[colours]).astype(np.float64), normal, skin)
    shading = delight.shading_of(light, normal)
    trust = np.asarray(0.45 + 0.55 * cv2.GaussianBlur(face, (0, 0), 0.01 * w), np.float64)
    flat = delight.albedo_map(colours, shading, ao, skin, trust, delight.hides_shadows(light))
    if seen and seen.shading is not None:
        flat, light = delight.network_albedo(colours, flat, seen.shading, seen.trust, normal, skin)
        shading = delight.shading_of(light, normal)
    residual = delight.light_residual(colours, flat, light, normal, skin)
    z = cv2.resize(surface.z, (w, h), interpolation=cv2.INTER_LINEAR)
    px, py = np.meshgrid(np.arange(w), np.arange(h))
    points = portrait.camera.unproject(np.stack([px, py], -1).astype(np.float64), z)
    head = parts.head_weight(fit, points.reshape(-1, 3)).reshape(h, w)
    return Maps(normal, shading, flat, ao, head, gloss_map(marks, face, (h, w)), face > 0.5, light, residual)


def gloss_map(marks: F64, face: Array, shape: tuple[int, int]) -> F64:
    """(H, W) 0..1: forehead, nose and lips shine most, then skin, hair a little, cloth hardly."""
    h, w = shape
    size = float(np.ptp(marks[:, 0]))
    gloss = 0.08 + 0.27 * cv2.GaussianBlur(face, (0, 0), 0.02 * size)
    y, x = np.mgrid[:h, :w]
    for index, strength, radius in (
        (151, 0.25, 0.2),
        (4, 0.35, 0.07),
        (195, 0.25, 0.06),
        (50, 0.12, 0.12),
        (280, 0.12, 0.12),
        (199, 0.1, 0.09),
    ):
        d2 = ((x - marks[index, 0]) ** 2 + (y - marks[index, 1]) ** 2) / (radius * size) ** 2
        gloss = gloss + strength * np.exp(-d2) * face
    lips = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
    mouth = layers.polygon_mask(marks[list(lips)], shape).astype(np.float32)
    return np.asarray(np.clip(gloss + 0.3 * cv2.GaussianBlur(mouth, (0, 0), 0.01 * size), 0, 1), np.float64)


OPEN_MOUTH, WIDE_MOUTH = 0.07, 0.4  # inner opening over width: teeth show; the whole inside shows


def assemble_mesh(
    portrait: Portrait, fit: HeadFit, surface: Surface, alpha: Array, colours: Image
) -> tuple[dict[str, NDArray[Any]], list[layers.Cell], list[tuple[int, int]], int]:
    """The mesh of all layers, the atlas cells it points into, their places and the atlas height."""
    image, marks = portrait.image, portrait.landmarks
    h, w = image.shape[:2]
    cells: list[layers.Cell] = []
    for right in (True, False):
        cells += layers.eye_cells(image, marks, right)
    unit = -portrait.camera.focal / fit.points[13, 2]
    opening = layers.mouth_opening(marks)
    if opening > OPEN_MOUTH:
        cells.append(layers.open_mouth_cell(image, marks, smile=opening < WIDE_MOUTH))
    if opening < WIDE_MOUTH:
        skin = image[polygon(marks, (h, w))]
        level = float(np.percentile(skin.mean(-1), 70)) if len(skin) else 160.0
        tone = np.array([236, 228, 210], np.float32) * np.clip(0.42 + 0.5 * level / 200, 0.4, 0.93)
        if np.ptp(skin.reshape(-1, 3).mean(0)) < 3:  # a grey photograph has grey teeth
            tone[:] = tone.mean()
        made = [
            layers.cavity_cell(unit, 7.0, level),
            layers.tongue_cell(unit, level),
            layers.teeth_cell(False, unit, tone),
            *([layers.teeth_cell(True, unit, tone)] if opening <= OPEN_MOUTH else []),
        ]
        cells += [grey_cell(c) if np.ptp(skin.reshape(-1, 3).mean(0)) < 3 else c for c in made]
    turned = abs(float(angles_from_rotation(fit.rotation)[0])) > parts.TURNED
    if turned:
        cells.append(layers.mirror_cell(colours, marks, alpha))
    mirror_at = cells[-1].origin
    cells.append(complete.shell_cell(surface.shell, w))
    places, height = layers.pack(cells, w, h)
    by_name = dict(zip((c.name for c in cells), places, strict=True))
    mesh = parts.MeshParts()
    mirror = np.subtract(by_name["mirror"], mirror_at) if turned else None
    rig.add_face(mesh, fit, marks, surface, portrait.camera, alpha, mirror)
    outline.add_outline(mesh, fit, marks, surface, portrait.camera, alpha, colours)
    sheets.add_rest(mesh, fit, marks, surface, portrait.camera, alpha, portrait.borders)
    complete.add_shell(mesh, fit, surface, portrait.camera, alpha, by_name["shell"])
    for cell, place in zip(cells, places, strict=True):
        if "eyeball" in cell.name or "iris" in cell.name:
            rig.add_eye(
                mesh, fit, marks, portrait.camera, cell, place, iris="iris" in cell.name, right="right" in cell.name
            )
    if opening <= OPEN_MOUTH:
        outline.add_lip_insides(mesh, fit, marks, portrait.camera)
    rig.add_mouth(mesh, fit, portrait.camera, {c.name: c for c in cells}, by_name)
    return mesh.finish(), cells, places, height


def grey_cell(cell: layers.Cell) -> layers.Cell:
    """The same cell without colour."""
    grey = np.repeat(cell.colour.mean(-1, keepdims=True), 3, -1)
    return layers.Cell(cell.name, grey, cell.alpha, cell.origin, cell.gloss)


def polygon(marks: F64, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) inside of the face's outline."""
    return layers.polygon_mask(marks[list(OVAL)], shape)


def assemble_atlas(
    portrait: Portrait,
    fit: HeadFit,
    solid: Surface,
    colours: Image,
    painted: complete.ShellPaint,
    alpha: Array,
    maps: Maps,
    cells: list[layers.Cell],
    places: list[tuple[int, int]],
    height: int,
) -> dict[str, NDArray[Any]]:
    """Texture, albedo, alpha and surface of canvas and cells."""
    h, w = portrait.image.shape[:2]
    texture = np.zeros((height, w, 3), np.uint8)
    flat = np.zeros((height, w, 3), np.uint8)
    cover = np.zeros((height, w), np.uint8)
    surface = np.zeros((height, w, 4), np.uint8)
    texture[:h], cover[:h] = colours, (alpha * 255 + 0.5).astype(np.uint8)
    flat[:h] = (srgb_from_linear(maps.albedo) * 255 + 0.5).astype(np.uint8)
    surface[:h] = pack_surface(maps.normal, maps.head, maps.gloss)
    face = polygon(portrait.landmarks, (h, w))
    around = float(np.median(maps.shading[face])) if face.any() else 1.0
    for cell, (x, y) in zip(cells, places, strict=True):
        ch, cw = cell.alpha.shape
        box = np.s_[y : y + ch, x : x + cw]
        if cell.name == "mirror":
            from_canvas = np.s_[cell.origin[1] : cell.origin[1] + ch, cell.origin[0] : cell.origin[0] + cw]
            normal = mirrored_normals(maps.normal[from_canvas], fit)
            lit = maps.albedo[from_canvas] * delight.shading_of(maps.light, normal)[..., None]
            texture[box] = (srgb_from_linear(lit) * 255 + 0.5).astype(np.uint8)
            flat[box], cover[box] = flat[from_canvas], cover[from_canvas]
            surface[box] = pack_surface(normal, maps.head[from_canvas], maps.gloss[from_canvas])
            continue
        if cell.name == "shell":
            texture[box], flat[box], surface[box] = complete.shell_textures(fit, solid, painted, colours, maps.light)
            cover[box] = 255
            continue
        own = not ("teeth" in cell.name or cell.name in ("tongue", "mouth cavity"))
        normal, shade = cell_light(cell, maps, around)
        colour = np.clip(cell.colour, 0, 255)
        texture[box] = (colour + 0.5).astype(np.uint8)
        linear = linear_table()[texture[box]]
        lit = linear / np.maximum(shade, 0.3)[..., None] if own else linear
        flat[box] = (srgb_from_linear(np.clip(lit, 0, 1)) * 255 + 0.5).astype(np.uint8)
        cover[box] = (cell.alpha * 255 + 0.5).astype(np.uint8)
        surface[box] = pack_surface(normal, np.ones((ch, cw)), np.full((ch, cw), cell.gloss))
    lips = portrait.landmarks[[13, 14], :2].mean(0)
    seen_at = [
        lips
        if cell.origin == (0, 0) or "mouth" in cell.name
        else np.add(cell.origin, np.array(cell.alpha.shape)[::-1] / 2)
        for cell in cells
    ]
    boxes = [
        (*place, cell.alpha.shape[1], cell.alpha.shape[0], *at)
        for cell, place, at in zip(cells, places, seen_at, strict=True)
    ]
    return {
        "texture": texture,
        "albedo": flat,
        "alpha": cover,
        "surface": surface,
        "cells": np.array(boxes, np.float32),
    }


def mirrored_normals(normals: F64, fit: FaceFit) -> F64:
    """(h, w, 3) camera-space normals reflected in the head's plane of symmetry."""
    flip = fit.rotation @ np.diag([-1.0, 1.0, 1.0]) @ fit.rotation.T
    return np.asarray(normals @ flip.T)


def cell_light(cell: layers.Cell, maps: Maps, around: float) -> tuple[F64, F64]:
    """Normals (h, w, 3) and portrait shading (h, w) of a cell: a ball for eyes, the plane of the lips inside the
    mouth."""
    ch, cw = cell.alpha.shape
    y, x = np.mgrid[-1 : 1 : ch * 1j, -1 : 1 : cw * 1j]
    bulge = 0.75 if "eye" in cell.name or "iris" in cell.name else 0.25
    n = np.stack([bulge * x, -bulge * y, np.ones((ch, cw))], -1)
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    return n, np.clip(delight.shading_of(maps.light, n), 0.5 * around, 2 * around)
