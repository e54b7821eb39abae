"""Samples of the stage and their files: deterministic from a seed, a fixed number of heads to a shard.

A shard is one safetensors file; its arrays are listed in `FIELDS`. `lights.npy` beside the shards holds the directions
(L, 3) toward the stage's lights, camera space. What a sensor does to a picture (noise, JPEG, blur, tone, framing, other
backgrounds) is done when a sample is fed to training (`offline.train.augment`), differently each time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.errors import NarrateError
from narrate_stream.ops.colour import srgb_from_linear
from narrate_stream.ops.facefit import fit_face
from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lighting import stage_directions
from offline.geometry import face_maps
from offline.lightstage.environments import sample_light
from offline.lightstage.gbuffer import StageBuffer, render_buffer
from offline.lightstage.heads import SKIN, Head, Kit, load_kit, sample_head
from offline.lightstage.light import Transport, lit, transport
from offline.window import FACE_CM, STAGE_SPAN

SIZE = 160  # pixels; training cuts 128 out of it
LIGHTINGS = 8
HEADS = 32  # of one shard
FIELDS = (
    "image", "light", "normal", "prior", "albedo", "depth", "matte", "label", "material", "visibility", "landmarks",
    "found", "camera",
)  # fmt: skip
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Recipe:
    """What a set of shards is made from: the kit, environment maps, a seed."""

    stage: Kit
    maps: tuple[Path, ...]
    seed: int


def environment_maps(folder: Path | None) -> tuple[Path, ...]:
    """The maps in `folder`, in order. Raises NarrateError when it has none."""
    if folder is None:
        return ()
    found = tuple(sorted(p for p in folder.glob("*") if p.suffix.lower() in (".hdr", ".exr")))
    if not found:
        raise NarrateError(f"{folder}: there is no .hdr or .exr environment map")
    return found


def recipe_of(facekit: Path, hdri: Path | None, seed: int) -> Recipe:
    """Opens what shards are made from. Raises NarrateError."""
    return Recipe(load_kit(facekit), environment_maps(hdri), seed)


def sample(recipe: Recipe, number: int, mesh: FaceMesh) -> Arrays:
    """Head `number` of the recipe, one array per field (without the shard's first axis)."""
    rng = np.random.default_rng([recipe.seed, number])
    head = sample_head(rng, recipe.stage, SIZE)
    buffer = render_buffer(head, recipe.stage)
    olat = transport(buffer)
    lights = [sample_light(rng, recipe.maps)[1] for _ in range(LIGHTINGS)]
    shots = [picture(rng, buffer, olat, w) for w in lights]
    images = np.stack([image for image, _ in shots])
    exposed = np.stack([w * gain for w, (_, gain) in zip(lights, shots, strict=True)])
    found, prior = landmark_prior(images[0], assumed_camera(rng, head.camera), mesh)
    return {
        "image": images,
        "light": np.minimum(exposed, np.finfo(np.float16).max).astype(np.float16),
        "normal": np.round(buffer.normal * buffer.matte[..., None] * 127).astype(np.int8),
        "prior": np.round(prior * 127).astype(np.int8),
        "albedo": bytes_of(srgb_from_linear(np.clip(buffer.albedo, 0, 1))),
        "depth": buffer.depth.astype(np.float16),
        "matte": bytes_of(buffer.matte),
        "label": buffer.label,
        "material": bytes_of(np.stack([buffer.roughness, buffer.specular], -1)),
        "visibility": np.packbits(buffer.seen, axis=-1),
        "landmarks": (found if found is not None else np.zeros((478, 3))).astype(np.float32),
        "found": np.array(found is not None, np.uint8),
        "camera": np.array([head.camera.focal, head.camera.cx, head.camera.cy], np.float32),
    }


def bytes_of(values: NDArray[Any]) -> NDArray[np.uint8]:
    """0..1 as bytes."""
    return np.asarray(np.clip(values, 0, 1) * 255 + 0.5, np.uint8)


def picture(
    rng: np.random.Generator, buffer: StageBuffer, olat: Transport, weights: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], float]:
    """(S, S, 3) sRGB photograph, exposed for the skin, before a plain soft background; and the exposure."""
    linear = lit(buffer, olat, weights)
    skin = buffer.label == SKIN
    level = float(np.percentile(linear[skin].mean(-1), 80)) if skin.any() else 0.4
    tone = float(np.clip(buffer.albedo[skin].mean() * 1.6, 0.2, 0.7)) if skin.any() else 0.4
    gain = tone * float(rng.lognormal(0, 0.25)) / max(level, 1e-4)
    linear *= gain
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    ramp = 1 + rng.uniform(-0.5, 0.5) * x + rng.uniform(-0.5, 0.5) * y
    behind = np.clip(ramp, 0, None)[..., None] * rng.uniform(0, 0.7) * rng.uniform(0.5, 1, 3)
    behind = behind + cv2.GaussianBlur(rng.normal(0, 0.6, (SIZE, SIZE, 3)).astype(np.float32), (0, 0), 9) * rng.random()
    matte = cv2.GaussianBlur(buffer.matte.astype(np.float32), (0, 0), 0.5)[..., None]
    soft = np.where(buffer.matte[..., None], linear, behind)
    return bytes_of(srgb_from_linear(np.clip(soft * matte + np.clip(behind, 0, 1) * (1 - matte), 0, 1))), gain


def assumed_camera(rng: np.random.Generator, true: Camera) -> Camera:
    """What a build would take for the lens: not the true focal length, which no photograph tells, and often not the
    true middle either."""
    focal = SIZE / STAGE_SPAN / FACE_CM * float(rng.uniform(48, 120))
    if rng.random() < 0.3:
        return Camera(focal, (SIZE - 1) / 2, (SIZE - 1) / 2)
    turn = focal / true.focal
    middle = (SIZE - 1) / 2
    return Camera(focal, middle + (true.cx - middle) * turn, middle + (true.cy - middle) * turn)


def landmark_prior(
    image: NDArray[np.uint8], camera: Camera, mesh: FaceMesh
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Landmarks (478, 3), or None, and the normals (S, S, 3) of the surface that the build fits to them, 0 elsewhere:
    what the networks are given of a photograph as well."""
    found = mesh(image)
    h, w = image.shape[:2]
    if found is None:
        return None, np.zeros((h, w, 3))
    normal = face_maps(fit_face(found, camera), found, camera, w, h)[1]
    return found, np.nan_to_num(normal / (np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9))


def write_shard(recipe: Recipe, number: int, folder: Path, mesh: FaceMesh) -> Path:
    """`shard_NUMBER.safetensors`, whole or not at all; nothing is done when it is there."""
    path = folder / f"shard_{number:05d}.safetensors"
    if path.exists():
        return path
    heads = [sample(recipe, number * HEADS + i, mesh) for i in range(HEADS)]
    stacked = {f: np.ascontiguousarray(np.stack([h[f] for h in heads])) for f in FIELDS}
    part = path.with_suffix(f".part{os.getpid()}")
    save_file(stacked, part, metadata={"seed": str(recipe.seed), "first": str(number * HEADS)})
    part.replace(path)
    return path


def write_lights(folder: Path) -> None:
    """`lights.npy`."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "lights.npy", stage_directions().astype(np.float32))


def read_shard(path: Path) -> Arrays:
    """The arrays of one shard. Raises NarrateError."""
    try:
        return dict(load_file(path))
    except Exception as error:
        raise NarrateError(f"{path}: not a shard of the light stage ({error})") from error


_worker: Recipe | None = None


def start_worker(facekit: Path, hdri: Path | None, seed: int) -> None:
    """Opens the recipe once per process: the kit takes seconds."""
    global _worker
    cv2.setNumThreads(1)
    _worker = recipe_of(facekit, hdri, seed)


def make_one(job: tuple[int, Path]) -> Path:
    """One shard in a started worker: (number, folder)."""
    if _worker is None:
        raise RuntimeError("start_worker first")
    with FaceMesh(video=False) as mesh:
        return write_shard(_worker, *job, mesh)


def head_of(recipe: Recipe, number: int) -> tuple[Head, StageBuffer]:
    """Head `number` again, with all that is not stored."""
    rng = np.random.default_rng([recipe.seed, number])
    head = sample_head(rng, recipe.stage, SIZE)
    return head, render_buffer(head, recipe.stage)
