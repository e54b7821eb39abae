"""The differentiable route of the paper: a mesh rendered by PyTorch3D, and a face's pose and shape refined through it.

`python -m offline.fit_pytorch3d PORTRAIT -o DIR`. The build does not need it: the product's own rasteriser draws the
same picture a thousand times faster on a CPU, but passes no gradients. Tried with PyTorch3D 0.7.9: its Python and, for
torch 2.13 on a CPU, the one part of its compiled half that is called here; never with a full build, never on CUDA.

Convention: PyTorch3D's view space is x left, y up, z forward: ours (x right, y up, z toward the viewer) after half a
turn about y. Its pixel (0, 0) has its centre at (0.5, 0.5), ours at (0, 0).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import MissingExtra, NarrateError
from narrate_stream.ops.canonical import canonical
from narrate_stream.ops.facefit import FaceFit
from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lighting import COSINE, sh_basis
from narrate_stream.types import Image
from offline.facemesh import vertex_normals
from offline.facemodel import (
    LANDMARKS,
    FaceModel,
    Target,
    basis_of,
    face_target,
    first_albedo,
    misfit,
    settle,
    solve_light,
)

if TYPE_CHECKING:
    from torch import Tensor

F64 = NDArray[np.float64]
SOURCE = "git+https://github.com/facebookresearch/pytorch3d.git@v0.7.9"
ADVICE = f"extra [pytorch3d]; no wheel, 20 minutes to build: pip install --no-build-isolation '{SOURCE}'"
HALF_TURN = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
STEPS = {"turn": 1e-2, "shift": 0.12, "identity": 0.05, "expression": 0.05, "albedo": 0.03}  # rad, cm, sigma, log


def pytorch3d() -> tuple[Any, Any]:
    """The modules `pytorch3d.renderer` and `pytorch3d.structures`. Raises MissingExtra where it is not, or not built
    for the torch that is installed."""
    try:
        return importlib.import_module("pytorch3d.renderer"), importlib.import_module("pytorch3d.structures")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "pytorch3d" and error.name != "pytorch3d._C":
            raise MissingExtra(f"the differentiable route needs PyTorch3D: {ADVICE}") from error
        raise MissingExtra(f"PyTorch3D is here but cannot be used ({error}): {ADVICE}") from error
    except ImportError as error:
        raise MissingExtra(f"PyTorch3D is here but cannot be used ({error}): {ADVICE}") from error


def perspective(camera: Camera, size: tuple[int, int]) -> dict[str, Any]:
    """Arguments of `PerspectiveCameras` (but R and T, as nested tuples) for our camera and a picture of (w, h)."""
    return {
        "focal_length": ((camera.focal, camera.focal),),
        "principal_point": ((camera.cx + 0.5, camera.cy + 0.5),),
        "image_size": ((size[1], size[0]),),
        "R": (HALF_TURN,),
        "T": ((0.0, 0.0, 0.0),),
        "in_ndc": False,
    }


def render_mesh(
    vertices: Tensor, triangles: Tensor, values: Tensor, camera: Camera, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """PyTorch3D's picture of a mesh: coverage (h, w) 0 or 1, and `values` (V, C) interpolated (h, w, C), 0 outside.

    vertices (V, 3) cm, camera space; triangles (T, 3) int64, two-sided; size (w, h). Values are interpolated with
    perspective. Gradients reach vertices and values through the interpolation; coverage has none.
    """
    import torch

    renderer, structures = pytorch3d()
    given = perspective(camera, size)
    eye = renderer.PerspectiveCameras(
        **{**given, "R": torch.tensor(given["R"]), "T": torch.tensor(given["T"])}, device=vertices.device
    )
    settings = renderer.RasterizationSettings(
        image_size=(size[1], size[0]), blur_radius=0.0, faces_per_pixel=1, perspective_correct=True
    )
    mesh = structures.Meshes(verts=vertices[None].float(), faces=triangles[None])
    found = renderer.MeshRasterizer(cameras=eye, raster_settings=settings)(mesh)
    hit, weight = found.pix_to_face[0, ..., 0], found.bary_coords[0, ..., 0, :]
    covered = hit >= 0
    corner = values.float()[triangles[hit.clamp(min=0)]]
    drawn = (weight[..., None] * corner).sum(-2)
    return covered.float(), torch.where(covered[..., None], drawn, torch.zeros_like(drawn))


@dataclass(frozen=True)
class Refined:
    """fit: pose and points as `fit_face` gives them; identity (24,), expression (24,) coefficients in sigmas;
    light (9,) radiance coefficients; albedo (468, 3) linear, relative; vertices (468, 3) of the model, camera space,
    cm; target: what it was compared with; losses, from before the first iteration to after the last: `photometric`
    (mean absolute, 1 = the face's mean level), `landmarks` (rms, interocular distances; 0 without any), `total`."""

    fit: FaceFit
    identity: F64
    expression: F64
    light: F64
    albedo: F64
    vertices: F64
    target: Target
    losses: dict[str, list[float]]


def compare(model: FaceModel, target: Target) -> tuple[Tensor, float, Tensor]:
    """The photometric loss, the mean absolute error (1 = the face's mean level), and the light (9,) that was best."""
    import torch

    vertices = model.vertices()
    values = torch.cat([model.free["albedo"].exp(), model.normals(vertices)], -1)
    covered, drawn = render_mesh(vertices, model.triangles, values, target.camera, target.size)
    at = covered > 0
    if int(at.sum()) < 50:
        raise NarrateError("the mesh has left the picture")
    colour = torch.as_tensor(target.colour)[at]
    albedo, normal = drawn[at][:, :3], torch.nn.functional.normalize(drawn[at][:, 3:], dim=-1)
    weight = normal[:, 2].detach().clamp(0, 1)  # grazing skin says little, and hair often hides it
    basis = basis_of(normal)
    light = solve_light(colour, albedo.detach(), basis.detach(), weight)
    away = albedo * (basis @ light).clamp(min=0)[:, None] - colour
    return *misfit(away, weight), light


def refine(
    image: Image, camera: Camera, fit: FaceFit, *, landmarks: F64 | None = None, albedo: F64 | None = None,
    iterations: int = 60, side: int = 160,
) -> Refined:  # fmt: skip
    """Pose and shape refined by the picture itself, from `fit`.

    image (H, W, 3) sRGB; landmarks (478, >= 2) pixels, or None: then the picture alone decides. albedo (468, 3) linear,
    any scale, if it is known; else it is found together with the light (9 spherical harmonics, solved for exactly in
    every step), smooth and symmetric. side: pixels at which pictures are compared.
    Raises MissingExtra without PyTorch3D, NarrateError where the face lies outside the picture.
    """
    import torch

    pytorch3d()
    model = FaceModel(fit, albedo)
    marks = None if landmarks is None else np.asarray(landmarks[:LANDMARKS, :2], np.float64)
    around = camera.project(model.vertices().detach().double().numpy()) if marks is None else marks
    target = face_target(image, around, marks, camera, side)
    if marks is not None:
        settle(model, target)
    if albedo is None:
        first_albedo(model, target)
    groups = [{"params": [v], "lr": STEPS[k]} for k, v in model.free.items() if v.requires_grad]
    optimiser = torch.optim.Adam(groups, betas=(0.8, 0.95))
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(iterations, 1), eta_min=0.0)
    losses: dict[str, list[float]] = {"photometric": [], "landmarks": [], "total": []}
    for step in range(iterations + 1):
        optimiser.zero_grad()
        photometric, error, light = compare(model, target)
        prior, off = model.priors(target)
        total = photometric + prior
        for name, value in (("photometric", error), ("landmarks", off), ("total", float(total.detach()))):
            losses[name].append(value)
        if step < iterations:
            total.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
    vertices, albedo_found = model.vertices().detach().double().numpy(), model.value("albedo")
    fit = model.fit(landmarks, camera, losses["landmarks"][-1])
    identity, expression = model.value("identity"), model.value("expression")
    sh = light.double().numpy()
    return Refined(fit, identity, expression, sh, np.exp(albedo_found), vertices, target, losses)


def sheets(found: Refined) -> tuple[Image, Image, float]:
    """The mesh over the portrait, the silhouettes by both rasterisers with their difference, and their IoU."""
    import cv2
    import torch

    from narrate_stream.ops.colour import srgb_from_linear
    from offline.softmesh import MapRenderer, screen_of

    target, corners = found.target, canonical().triangles
    normals = vertex_normals(found.vertices, corners)
    shading = np.maximum(sh_basis(normals) @ (found.light * COSINE), 0)[:, None]
    clay = 0.08 + 0.6 * np.maximum(normals @ [[-0.48], [0.48], [0.73]], 0)
    values = np.concatenate([found.albedo * shading * target.level, np.repeat(clay, 3, 1)], 1)
    mesh, given = torch.as_tensor(found.vertices), torch.as_tensor(values)
    alpha, drawn = render_mesh(mesh, torch.as_tensor(corners.astype(np.int64)), given, target.camera, target.size)
    theirs, over = alpha.numpy() > 0, drawn.numpy()
    screen = screen_of(found.vertices, target.camera.project(found.vertices))
    ours = ~np.isnan(MapRenderer(corners).map(screen, found.vertices[:, :1], *target.size)[..., 0])
    photograph = target.colour * target.level
    panels = [photograph, *(np.where(theirs[..., None], over[..., k : k + 3], photograph) for k in (0, 3))]
    masks = [np.repeat(m[..., None], 3, 2) * np.array([1.0, 1.0, 1.0]) for m in (ours, theirs)]
    masks.append((ours ^ theirs)[..., None] * np.array([1.0, 0.1, 0.1]))

    def row(pictures: list[Any]) -> Image:
        sheet = (srgb_from_linear(np.concatenate(pictures, 1)) * 255 + 0.5).astype(np.uint8)
        return np.asarray(cv2.resize(sheet, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)

    return row(panels), row(masks), float((ours & theirs).sum() / max((ours | theirs).sum(), 1))


@click.command()
@click.argument("portrait", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for pictures."
)
@click.option("--iterations", type=click.IntRange(1), default=60, show_default=True)
@click.option("--side", type=click.IntRange(32, 512), default=160, show_default=True, help="Pixels to compare at.")
def command(portrait: Path, out: Path, iterations: int, side: int) -> None:
    """Refine the face of PORTRAIT through PyTorch3D: overlay.png, silhouettes.png and losses.png."""
    from narrate_stream.files import write_png
    from narrate_stream.ops.facefit import fit_face
    from offline.picture import load_picture
    from offline.preprocess import prepare

    try:
        pytorch3d()  # before the work, not after it
        seen = prepare(load_picture(portrait), 1024)
        start = fit_face(seen.landmarks, seen.camera)
        found = refine(seen.image, seen.camera, start, landmarks=seen.landmarks, iterations=iterations, side=side)
    except NarrateError as error:
        raise click.ClickException(str(error)) from error
    from offline.train.sheets import chart

    overlay, masks, iou = sheets(found)
    curves = [chart(k, {k: list(enumerate(v))}, float(iterations)) for k, v in found.losses.items()]
    out.mkdir(parents=True, exist_ok=True)
    for name, picture in (("overlay", overlay), ("silhouettes", masks), ("losses", np.concatenate(curves))):
        write_png(out / f"{name}.png", picture)
    click.echo(
        "  ".join(f"{k} {v[0]:.4g} -> {v[-1]:.4g}" for k, v in found.losses.items()) + f"  silhouettes {iou:.4f}"
    )


if __name__ == "__main__":
    command()
