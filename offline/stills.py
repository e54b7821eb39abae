"""Stills of a model in its photograph's own pixels: maps, views, relit pictures, sheets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.backdrops import TRANSPARENT, Backdrop
from narrate_stream.bundle import HybridModel, load_model
from narrate_stream.errors import PortraitError
from narrate_stream.files import write_bytes, write_png
from narrate_stream.fusion import coverage, cut_out, exact_framing, framed, fuse, head_framing
from narrate_stream.lights import parse_light
from narrate_stream.ops.grading import Grade, graded
from narrate_stream.ops.lighting import EXTENT, Lighting, decode_normals
from narrate_stream.pipeline import seen_from, still_motion
from narrate_stream.relighters import ExactRelighter
from narrate_stream.renderer import Framing, GBuffer, Renderer
from narrate_stream.types import AvatarMotion, Image, View
from offline.build import Progress, build_model

LARGEST = 10000  # longer side of a still, pixels: beyond, the canvas has no more detail to give


def load_or_build(path: Path, progress: Progress | None = None) -> HybridModel:
    """The model in a `.narrate` file, or one built from a picture."""
    if path.suffix.lower() == ".narrate":
        return load_model(path)
    if not path.exists():
        raise PortraitError(f"{path}: there is no such file")
    return build_model(path, progress=progress)


def photograph_framing(model: HybridModel) -> Framing:
    """The photograph's own pixels. Raises PortraitError above LARGEST, where memory would not suffice."""
    if max(model.frame_size) > LARGEST:
        w, h = model.frame_size
        raise PortraitError(f"{model.name}: the photograph is {w}x{h} pixels; stills go up to {LARGEST} on a side")
    return exact_framing(model, model.frame_size)


class Studio:
    """Renders stills of one model at one framing."""

    def __init__(
        self, model: HybridModel, framing: Framing, background: str = "relit", grade: Grade | None = None
    ) -> None:
        self.model, self.framing, self.grade = model, framing, grade or Grade()
        self.renderer, self.relighter = Renderer(model, framing), ExactRelighter(model)
        self.backdrop = None if background == TRANSPARENT else Backdrop(model, framing, background)

    def buffer(self, view: View, *, albedo: bool) -> GBuffer:
        """The GBuffer of a view of the resting portrait."""
        return self.renderer(seen_from(still_motion(), view), albedo=albedo)

    def shoot(self, light: str | Lighting, view: View) -> Image:
        """One picture (H, W, 3) of the resting portrait, or (H, W, 4) with straight alpha where the background is
        transparent."""
        return self.take(parse_light(light, self.model), seen_from(still_motion(), view))

    def take(self, lighting: Lighting, motion: AvatarMotion) -> Image:
        """The same of any moment."""
        lighting = graded(lighting, self.grade)
        gbuffer = self.renderer(motion, albedo=not lighting.original)
        core, fringe = self.relighter(gbuffer, lighting)
        if self.backdrop is None:
            return cut_out(core, fringe, gbuffer)
        return fuse(core, fringe, gbuffer, self.backdrop(lighting))


def render_view(
    model: HybridModel, *, light: str | Lighting, view: View, background: str = "relit", grade: Grade | None = None
) -> Image:
    """The portrait from another side and in another light, framing and pixels of the photograph kept."""
    return Studio(model, photograph_framing(model), background, grade).shoot(light, view)


def relight_many(
    model: HybridModel,
    lights: dict[str, str],
    directory: Path,
    view: View,
    background: str = "relit",
    grade: Grade | None = None,
) -> None:
    """DIRECTORY/NAME.png for every light."""
    studio = Studio(model, photograph_framing(model), background, grade)
    for name, light in lights.items():
        write_png(directory / f"{name}.png", studio.shoot(light, view))


def pose_light_grid(
    model: HybridModel,
    views: list[View],
    lights: Sequence[str | Lighting],
    size: int,
    background: str = "relit",
    grade: Grade | None = None,
) -> Image:
    """Poses down, lights across; cells of `size` pixels around the head."""
    studio = Studio(model, head_framing(model, size), background, grade)
    return np.concatenate([np.concatenate([studio.shoot(light, view) for light in lights], 1) for view in views])


def write_maps(model: HybridModel, directory: Path) -> None:
    """normal.png, albedo.png, matte.png, face.png, depth.npy and maps.json, in the photograph's own pixels."""
    framing = photograph_framing(model)
    studio = Studio(model, framing)
    gbuffer = studio.buffer(View(), albedo=True)
    w, h = model.canvas
    normal = framed_normals(model, framing)
    matte = coverage(gbuffer)
    albedo = framed(np.ascontiguousarray(model.albedo[:h]), framing)
    face, depth = face_and_depth(model, framing)
    write_png(directory / "normal.png", np.asarray((normal * 0.5 + 0.5) * 255 + 0.5, np.uint8))
    write_png(directory / "albedo.png", np.where(matte[..., None] > 0, albedo, 0).astype(np.uint8))
    write_png(directory / "matte.png", grey(matte))
    write_png(directory / "face.png", grey(face.astype(np.float32)))
    save_array(directory / "depth.npy", depth)
    about = {
        "picture": list(model.frame_size),
        "normal": "n = rgb / 255 * 2 - 1; x right, y up, z to the viewer",
        "depth": "float32, larger is nearer, input pixels; 0 is the plane of the silhouette",
        "focal_px": model.camera.focal / model.crop[2],
        "principal_point": [
            (model.camera.cx + 0.5) / model.crop[2] + model.crop[0] - 0.5,
            (model.camera.cy + 0.5) / model.crop[2] + model.crop[1] - 0.5,
        ],
        "pose": model.provenance.get("pose"),
        "light_sh": [round(float(x), 5) for x in model.light],
        "canvas": [w, h],
    }
    write_bytes(directory / "maps.json", json.dumps(about, indent=1).encode())


def grey(values: NDArray[np.float32]) -> Image:
    """0..1 as a grey picture (H, W, 3)."""
    return np.repeat(np.asarray(np.clip(values, 0, 1) * 255 + 0.5, np.uint8)[..., None], 3, -1)


def framed_normals(model: HybridModel, framing: Framing) -> NDArray[np.float64]:
    """(H, W, 3) unit normals as this framing shows the portrait."""
    h = model.canvas[1]
    packed = framed(np.ascontiguousarray(model.surface[:h, :, [0, 1, 2]]), framing).astype(np.float64)
    return decode_normals((packed[..., :2] / 255 * 2 - 1) * EXTENT)


def face_and_depth(model: HybridModel, framing: Framing) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Mask of the physical face and depth (larger = nearer, picture pixels) by rasterising the mesh at rest."""
    from offline.facemesh import face_topology
    from offline.softmesh import MapRenderer, screen_of

    w, h = framing.size
    k = min(1.0, 1024 / max(w, h))
    size = max(2, round(w * k)), max(2, round(h * k))
    camera = model.camera.scaled(framing.scale * k, framing.dx * k, framing.dy * k)
    points = model.vertices.astype(np.float64)
    screen = screen_of(points, camera.project(points))
    z = MapRenderer(model.triangles).map(screen, points[:, 2:], *size)[..., 0]
    topology = face_topology()
    covered = ~np.isnan(
        MapRenderer(topology.triangles).map(
            screen[: topology.smooth.shape[0]], points[: topology.smooth.shape[0], 2:], *size
        )[..., 0]
    )
    unit = model.camera.focal / model.crop[2] / -float(model.pivot[2])
    depth = np.nan_to_num((z - float(model.pivot[2])) * unit, nan=float(np.nanmin(z) - model.pivot[2]) * unit)
    closed = cv2.morphologyEx(covered.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((max(3, size[0] // 20),) * 2))
    big = cv2.resize(depth.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(closed, (w, h), interpolation=cv2.INTER_NEAREST) > 0, np.asarray(big, np.float32)


def save_array(path: Path, array: NDArray[np.float32]) -> None:
    """`.npy`, whole or not at all."""
    from io import BytesIO

    sink = BytesIO()
    np.save(sink, array)
    write_bytes(path, sink.getvalue())
