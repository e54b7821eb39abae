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
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import angles_from_rotation
from narrate_stream.types import Array
from offline import complete, layers
from offline.assemble import assemble_atlas, assemble_mesh
from offline.bake import bake_horizons, openness
from offline.geometry import Surface, build_surface
from offline.headfit import HeadFit, fit_head
from offline.maps import Maps, canvas_maps
from offline.mouthline import with_whole_mouth
from offline.networks import Estimate, estimate, load_networks
from offline.picture import Picture, load_builtin_portrait, load_picture
from offline.preprocess import Portrait, clean_plate, foreground_colours, matte, prepare
from offline.residual import Painted, learned_residual
from offline.volume import hair_share

Progress = Callable[[str, float], None]
F64 = NDArray[np.float64]
WORST_FIT = 0.11  # interocular distances: landmarks farther from any human face are not one
BACKDROP = 2048


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
    learned_relight: bool = True,
) -> HybridModel:
    """The hybrid model of one portrait (`None`: the built-in one) at working size `size` pixels.

    `report`: a folder for the QA page. `networks` False: normals from geometry alone, and no other network;
    `learned_albedo`: albedo by F_A; `learned_relight`: light from skin to skin by F_R.
    Raises PortraitError with one sentence for anything that cannot become a model.
    """
    if not 256 <= size <= 2048:
        raise PortraitError(f"the working size must lie between 256 and 2048 pixels, not {size}")
    picture = load_picture(portrait) if portrait else load_builtin_portrait()
    learned = {"learned_albedo": learned_albedo, "learned_relight": learned_relight}
    made = build(picture, size, progress, networks=networks, **learned)
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
    learned_relight: bool = True,
) -> Build:
    """All steps of the offline stage."""
    steps = Steps(progress)
    trained = load_networks(albedo=learned_albedo, relight=learned_relight) if networks else None
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
    surface = build_surface(fit, portrait.landmarks, alpha, portrait.camera, detail, colours)
    portrait, fit = with_whole_mouth(portrait, fit, surface)  # from here on: what moves
    steps.done("geometry")
    mesh, cells, places, height = assemble_mesh(portrait, fit, surface, alpha, colours)
    steps.done("layers and rig")
    hair = hair_share(surface, colours, alpha)
    horizons = bake_horizons(surface, mesh, alpha, portrait.landmarks, hair)
    steps.done("light transport")
    maps = canvas_maps(portrait, fit, surface, colours, openness(horizons, surface.normal), hair, seen)
    steps.done("light and albedo")
    extra = None
    if trained and trained.relight:
        painted_face = Painted(maps.normal, maps.albedo, alpha, maps.face, maps.skin)
        extra = learned_residual(trained.relight, painted_face, horizons, portrait.landmarks, camera)
        steps.done("learned residual")
    painted = complete.paint_shell(fit, surface, portrait.camera, alpha, maps.albedo, colours)
    atlas = assemble_atlas(portrait, fit, surface, colours, painted, alpha, maps, cells, places, height)
    steps.done("atlas")
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
        horizons=horizons,
        light=maps.light.astype(np.float32),
        provenance=provenance(picture, portrait, fit, seen, maps)
        | {
            "shell": complete.origin_shares(painted),
            "light": "physical" if extra is None else "physical and network",
        },
        residual=extra,
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
        "mouth_open": bool(layers.mouth_opening(portrait.landmarks) > layers.OPEN_MOUTH),
        "normals": "network and geometry" if seen else "geometry",
        "albedo": "network" if seen and seen.shading is not None else "spherical harmonics",
        "light_residual": round(maps.residual, 3),
    }
