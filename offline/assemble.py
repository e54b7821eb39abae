"""The mesh of all parts and the atlas of their textures: what a model is made of."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrate_stream.ops.colour import linear_table, srgb_from_linear
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.types import Array, Image
from offline import albedo as delight
from offline import complete, eyes, layers, mirror, mouth, outline, parts, rig, sheets, shell, side
from offline.bake import pack_surface
from offline.geometry import Surface
from offline.headfit import HeadFit
from offline.layers import OPEN_MOUTH, WIDE_MOUTH
from offline.maps import Maps
from offline.materials import DRY, pack_material
from offline.preprocess import OVAL, Portrait

F64 = NDArray[np.float64]
WET = 0.9  # oil of eyes, teeth and tongue: nearly all of their shine is sharp
NOWHERE = (-1.0, -1.0)  # where a piece is seen that no pixel of the canvas shows
ENAMEL = (246, 229, 211)  # sRGB of teeth in bright skin's light


def assemble_mesh(
    portrait: Portrait, fit: HeadFit, surface: Surface, alpha: Array, colours: Image
) -> tuple[dict[str, NDArray[Any]], list[layers.Cell], list[tuple[int, int]], int]:
    """The mesh of all layers, the atlas cells it points into, their places and the atlas height."""
    image, marks = portrait.image, portrait.landmarks
    h, w = image.shape[:2]
    cells: list[layers.Cell] = []
    for right in (True, False):
        cells += eyes.eye_cells(image, marks, right)
    opening = layers.mouth_opening(marks)
    if opening > OPEN_MOUTH:
        cells.append(layers.open_mouth_cell(image, marks, smile=opening < WIDE_MOUTH))
    cells += drawn_mouth(image[polygon(marks, (h, w))], opening, -portrait.camera.focal / fit.points[13, 2])
    turned = abs(float(angles_from_rotation(fit.rotation)[0])) > parts.TURNED
    if turned:
        cells.append(layers.mirror_cell(colours, marks, alpha))
    mirror_at = cells[-1].origin
    cells += [shell.shell_cell(surface.shell, w), side.side_cell(w)]
    places, height = layers.pack(cells, w, h)
    by_name = dict(zip((c.name for c in cells), places, strict=True))
    mesh = parts.MeshParts()
    to_mirror = np.subtract(by_name["mirror"], mirror_at) if turned else None
    rig.add_face(mesh, fit, marks, surface, portrait.camera, alpha, to_mirror)
    side_at = partial(side.places, cell=cells[-1], place=by_name["side"])
    outline.add_outline(mesh, fit, marks, surface, portrait.camera, alpha, colours, side_at)
    sheets.add_rest(mesh, fit, marks, surface, portrait.camera, alpha, portrait.borders)
    shell.add_shell(mesh, fit, surface, portrait.camera, alpha, by_name["shell"])
    for cell, place in zip(cells, places, strict=True):
        if "eyeball" in cell.name or "iris" in cell.name:
            rig.add_eye(
                mesh, fit, marks, portrait.camera, cell, place, iris="iris" in cell.name, right="right" in cell.name
            )
    if opening <= OPEN_MOUTH:
        mouth.add_lip_insides(mesh, fit, marks, portrait.camera)
    named = {c.name: c for c in cells}
    if opening < WIDE_MOUTH:  # a mouth that is wide open already shows all that is in it
        mouth.add_mouth_bag(mesh, fit, marks, portrait.camera, named["mouth cavity"], by_name["mouth cavity"])
    rig.add_mouth(mesh, fit, portrait.camera, named, by_name)
    return mesh.finish(), cells, places, height


def drawn_mouth(skin: Image, opening: float, unit: float) -> list[layers.Cell]:
    """What the portrait does not show of the inside of its mouth. skin (n, 3): the face's pixels; unit: pixels per
    cm."""
    level = float(np.percentile(skin.mean(-1), 70)) if len(skin) else 160.0
    grey = len(skin) > 0 and np.ptp(skin.reshape(-1, 3).mean(0)) < 3
    tone = np.array(ENAMEL, np.float32) * np.clip(0.42 + 0.5 * level / 200, 0.4, 0.95)
    made = [layers.cavity_cell(unit, 7.0, level)]
    if opening < WIDE_MOUTH:
        made += [layers.tongue_cell(unit, level), layers.teeth_cell(False, unit, tone)]
    if opening <= OPEN_MOUTH:
        made.append(layers.teeth_cell(True, unit, tone))
    return [grey_cell(c) if grey else c for c in made]  # a grey photograph has grey teeth


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
    """Texture, albedo, alpha, surface and material of canvas and cells."""
    h, w = portrait.image.shape[:2]
    texture = np.zeros((height, w, 3), np.uint8)
    flat = np.zeros((height, w, 3), np.uint8)
    cover = np.zeros((height, w), np.uint8)
    surface = np.zeros((height, w, 4), np.uint8)
    texture[:h], cover[:h] = colours, (alpha * 255 + 0.5).astype(np.uint8)
    flat[:h] = (srgb_from_linear(maps.albedo) * 255 + 0.5).astype(np.uint8)
    made_of = maps.material
    surface[:h] = pack_surface(maps.normal, maps.head, made_of.gloss)
    material = np.zeros((height, w, 4), np.uint8)
    material[:h] = pack_material(made_of.strand, made_of.oil, made_of.hair)
    face = polygon(portrait.landmarks, (h, w))
    around = float(np.median(maps.shading[face])) if face.any() else 1.0
    for cell, (x, y) in zip(cells, places, strict=True):
        ch, cw = cell.alpha.shape
        box = np.s_[y : y + ch, x : x + cw]
        if cell.name == "mirror":
            from_canvas = np.s_[cell.origin[1] : cell.origin[1] + ch, cell.origin[0] : cell.origin[0] + cw]
            normal = mirror.mirrored_normals(maps.normal[from_canvas], fit)
            both = mirror_colours(portrait, fit, colours, alpha, maps, normal, cell)
            flat[box], texture[box] = ((srgb_from_linear(c) * 255 + 0.5).astype(np.uint8) for c in both)
            cover[box], material[box] = cover[from_canvas], material[from_canvas]
            surface[box] = pack_surface(normal, maps.head[from_canvas], made_of.gloss[from_canvas])
            continue
        if cell.name == "shell":
            texture[box], flat[box], surface[box] = complete.shell_textures(fit, solid, painted, colours, maps.light)
            material[box] = pack_material(painted.along, np.zeros((ch, cw)), painted.hair)
            cover[box] = 255
            continue
        if cell.name == "side":
            texture[box], flat[box], surface[box] = side_textures(
                portrait, fit, solid, colours, painted, alpha, maps, cell
            )
            material[box] = pack_material(np.zeros((ch, cw, 3)), np.full((ch, cw), DRY), np.zeros((ch, cw)))
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
        material[box] = pack_material(normal, np.full((ch, cw), WET), np.zeros((ch, cw)))
    seen_at = [seen_from_canvas(cell, portrait) for cell in cells]
    boxes = [
        (*place, cell.alpha.shape[1], cell.alpha.shape[0], *at)
        for cell, place, at in zip(cells, places, seen_at, strict=True)
    ]
    return {
        "texture": texture,
        "albedo": flat,
        "alpha": cover,
        "surface": surface,
        "material": material,
        "cells": np.array(boxes, np.float32),
    }


def mirror_colours(
    portrait: Portrait, fit: HeadFit, colours: Image, alpha: Array, maps: Maps, normal: F64, cell: layers.Cell
) -> tuple[Array, Array]:
    """Albedo and texture (h, w, 3), linear, of the mirror image with its `normal` (h, w, 3), like what is seen beside
    it."""
    (x, y), (h, w) = cell.origin, cell.alpha.shape
    flat = maps.albedo[y : y + h, x : x + w]
    both = np.concatenate([flat, flat * delight.shading_of(maps.light, normal)[..., None]], -1)
    seen = np.concatenate([maps.albedo, linear_table()[colours]], -1)
    yaw = float(angles_from_rotation(fit.rotation)[0])
    made = np.clip(both * mirror.likening(fit, portrait.landmarks, alpha, seen, both, cell.origin, yaw), 0, 1)
    return np.asarray(made[..., :3], np.float32), np.asarray(made[..., 3:], np.float32)


def side_textures(
    portrait: Portrait,
    fit: HeadFit,
    solid: Surface,
    colours: Image,
    painted: complete.ShellPaint,
    alpha: Array,
    maps: Maps,
    cell: layers.Cell,
) -> tuple[Image, Image, NDArray[np.uint8]]:
    """Texture, albedo (both sRGB bytes) and packed surface of the cheeks' sides."""
    rows, columns = cell.alpha.shape
    rim = outline.rim_of(fit, portrait.landmarks, portrait.camera)
    at, step = side.on_loop(rim.pixels, columns), side.on_loop(rim.step, columns)
    inside = side.seen(maps.normal, (at - 0.4 * step)[None])[0]
    normal = side.side_normals(inside, step, rows)
    z = side.on_loop(rim.z[:, None], columns)[:, 0] - side.back_of(rows)
    points = portrait.camera.unproject(np.broadcast_to(at, (rows, columns, 2)), z)
    there = shell.texture_at(fit, solid.shell, portrait.image.shape[1], (0, 0), points.reshape(-1, 3))
    behind = side.seen(painted.colour.astype(np.float32), there[:, :2].reshape(rows, columns, 2))
    both = np.concatenate([maps.albedo, linear_table()[colours]], -1)
    brim = side.Brim(rim.pixels, rim.step)
    bare, hair = outline.beside_side(rim, colours, alpha)
    far, soon = side.what_follows(both, brim, bare, hair, behind)
    made = side.side_colours(both, brim, far, soon, delight.shading_of(maps.light, normal))
    flat, texture = (np.asarray(srgb_from_linear(a) * 255 + 0.5, np.uint8) for a in made)
    return texture, flat, pack_surface(normal, np.ones((rows, columns)), cell.gloss * cell.alpha)


def seen_from_canvas(cell: layers.Cell, portrait: Portrait) -> NDArray[Any] | tuple[float, float]:
    """(2,) the canvas pixel where a cell is seen, which is as dark as it is there; NOWHERE for the head's far side."""
    if cell.name in ("shell", "side", "mirror"):
        return NOWHERE
    if cell.origin == (0, 0) or "mouth" in cell.name:
        return np.asarray(portrait.landmarks[[13, 14], :2].mean(0))
    return np.add(cell.origin, np.array(cell.alpha.shape)[::-1] / 2)


def cell_light(cell: layers.Cell, maps: Maps, around: float) -> tuple[F64, F64]:
    """Normals (h, w, 3) and portrait shading (h, w) of a cell: a ball for eyes, the plane of the lips inside the
    mouth."""
    ch, cw = cell.alpha.shape
    y, x = np.mgrid[-1 : 1 : ch * 1j, -1 : 1 : cw * 1j]
    bulge = 0.75 if "eye" in cell.name or "iris" in cell.name else 0.25
    n = np.stack([bulge * x, -bulge * y, np.ones((ch, cw))], -1)
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    return n, np.clip(delight.shading_of(maps.light, n), 0.5 * around, 2 * around)
