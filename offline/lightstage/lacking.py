"""What the physical path lacks on the stage's heads: F_R's data, made from shards.

The path's own bounce is one constant for the whole person; on the stage every place is known from which skin sees skin
(`offline.lightstage.bounce`). That light, under one lamp after the other, is the residual, as nine harmonics of the
lamp's direction (`narrate_stream.ops.residual`). It is to be found from what a build has: F_N's normals, the albedo
that is left when the fitted light is divided out of a photograph, and the horizons' light maps.

Tried and left out: all that the path gets wrong on the stage, the errors of those normals and of that albedo included.
Of it a network explains an eighth, and photographs were relit worse (0.2 dB and more).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from narrate_stream.nets.heads import estimate_normals
from narrate_stream.nets.unet import UNet
from narrate_stream.ops import horizon
from narrate_stream.ops.colour import linear_table, luminance, srgb_from_linear
from narrate_stream.ops.geometry import Camera
from narrate_stream.ops.lighting import sh_basis, stage_directions
from narrate_stream.ops.residual import STORED
from offline import albedo as delight
from offline.bake import horizons, with_depth
from offline.lightstage.bounce import exchange
from offline.lightstage.heads import SKIN
from offline.lightstage.shards import SIZE, Arrays, bytes_of, read_shard
from offline.march import NOWHERE

F32 = NDArray[np.float32]
GRID = 112  # pixels of what is written: a texel of a portrait's horizons is about as large
COARSE = 40  # pixels over which light is exchanged
BEHIND = 0.25  # weight of lights behind the head in the fit
FIELDS = ("albedo", "normal", "transfer", "residual", "matte", "label")


@dataclass(frozen=True)
class Seen:
    """A head on GRID pixels, (h, w, ...): z cm, true normal and albedo (linear), stage lights seen (h, w, L), matte and
    skin; camera."""

    z: F32
    normal: F32
    albedo: F32
    seen: F32
    matte: NDArray[np.bool_]
    skin: NDArray[np.bool_]
    camera: Camera


@dataclass(frozen=True)
class Guess:
    """What a build would have of it, (h, w, 3): normal unit, albedo linear."""

    normal: F32
    albedo: F32


def shrunk(values: NDArray[Any], side: int = GRID) -> F32:
    """(side, side, ...) area means."""
    return np.asarray(cv2.resize(values.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA), np.float32)


def unit(n: F32) -> F32:
    """Unit length, 0 where there is nothing."""
    length = np.linalg.norm(n, axis=-1, keepdims=True)
    return np.asarray(np.where(length > 0.3, n / np.maximum(length, 1e-6), 0), np.float32)


def seen_head(data: Arrays, i: int) -> Seen:
    """Head `i` of a shard."""
    count = len(stage_directions())
    half = np.unpackbits(data["visibility"][i], axis=-1)[..., :count].astype(np.float32)
    grown = [cv2.resize(half[..., k : k + 3], (GRID, GRID)) for k in range(0, count, 3)]
    matte = data["matte"][i] > 127
    cover = shrunk(matte)
    k = GRID / SIZE
    focal, cx, cy = map(float, data["camera"][i])
    z = shrunk(np.where(matte, data["depth"][i].astype(np.float32), 0)) / np.maximum(cover, 1e-3)
    label = cv2.resize(data["label"][i], (GRID, GRID), interpolation=cv2.INTER_NEAREST)
    return Seen(
        z,
        unit(shrunk(data["normal"][i].astype(np.float32) / 127)),
        shrunk(linear_table()[data["albedo"][i]]),
        np.concatenate(grown, -1),
        cover > 0.5,
        (label == SKIN) & (cover > 0.9),
        Camera(focal * k, (cx + 0.5) * k - 0.5, (cy + 0.5) * k - 0.5),
    )


def guessed(data: Arrays, i: int, photograph: int, network: UNet) -> Guess:
    """What the build makes of one of head `i`'s photographs."""
    image, matte = data["image"][i][photograph], data["matte"][i].astype(np.float32) / 255
    prior = data["prior"][i].astype(np.float32) / 127
    crop = np.s_[16:-16, 16:-16]  # of the size the network knows; beyond it the landmarks' or the mean normal
    normal = np.where(np.abs(prior).sum(-1, keepdims=True) > 0, prior, data["normal"][i].astype(np.float32) / 127)
    normal[crop] = estimate_normals(network, np.ascontiguousarray(image[crop]), matte[crop], prior[crop])[0]
    normal = unit(normal * (matte > 0)[..., None])
    skin = (data["label"][i] == SKIN) & (matte > 0.9)
    n = np.where(np.abs(normal).sum(-1, keepdims=True) > 0, normal, [0.0, 0.0, 1.0]).astype(np.float64)
    light = delight.estimate_light(luminance(linear_table()[image]).astype(np.float64), n, skin)
    hidden = delight.hides_shadows(light)
    shading = delight.with_flash(delight.shading_of(light, n), n, skin, hidden)
    even = np.ones(skin.shape)
    flat = delight.albedo_map(image, shading, even, skin, even, hidden)
    return Guess(unit(shrunk(normal)), shrunk(flat))


def indirect(head: Seen, direct: F32) -> F32:
    """(h, w, L, 3) light that comes from other skin; exchanged on COARSE pixels."""
    cover = shrunk(head.matte, COARSE)
    at = cover > 0.5
    k = COARSE / GRID
    share = np.maximum(cover, 1e-3)
    camera = head.camera.scaled(k, (k - 1) / 2, (k - 1) / 2)
    y, x = np.mgrid[:COARSE, :COARSE].astype(np.float64)
    z = shrunk(head.z * head.matte, COARSE) / share
    points = camera.unproject(np.stack([x, y], -1), np.minimum(z, -1.0)).astype(np.float32)
    normal, albedo = (shrunk(a * head.matte[..., None], COARSE) for a in (head.normal, head.albedo))
    reached = np.stack([shrunk(head.seen[..., n], COARSE) for n in range(head.seen.shape[-1])], -1) > 0.5
    lit = np.stack([shrunk(direct[..., n] * head.matte, COARSE) for n in range(direct.shape[-1])], -1)
    back = exchange(points, unit(normal), reached, at, camera)
    thrown = np.zeros((COARSE, COARSE, lit.shape[-1], 3), np.float32)
    thrown[at] = back.indirect((lit / share[..., None])[at], (albedo / share[..., None])[at])
    weight = np.maximum(cv2.resize(at.astype(np.float32), (GRID, GRID)), 1e-3)
    flat = thrown.reshape(COARSE, COARSE, -1)
    grown = np.stack([cv2.resize(flat[..., n], (GRID, GRID)) / weight for n in range(flat.shape[-1])], -1)
    return np.asarray(grown.reshape(GRID, GRID, -1, 3) * head.matte[..., None, None], np.float32)


def light_maps(head: Seen, guess: Guess) -> F32:
    """(h, w, 9) `horizon.transfer` over the head's horizons, as a build has them."""
    y, x = np.mgrid[:GRID, :GRID].astype(np.float64)
    cover = head.matte.astype(np.float32)
    soft = cv2.GaussianBlur(head.z * cover, (0, 0), 1.0) / np.maximum(cv2.GaussianBlur(cover, (0, 0), 1.0), 1e-3)
    planes = horizons(with_depth(head.camera, np.stack([x, y], -1), np.where(head.matte, soft, NOWHERE)))
    somewhere = np.abs(guess.normal).sum(-1, keepdims=True) > 0
    return horizon.transfer(planes, np.where(somewhere, guess.normal, [0, 0, 1]).astype(np.float32))


def projection() -> F32:
    """(9, L) what takes shading under each stage light of colour 1 to the coefficients of a residual."""
    lights = stage_directions()
    basis = np.pi * sh_basis(lights)
    weight = np.where(lights[:, 2] > -0.2, 1.0, BEHIND)[:, None]
    return np.asarray(np.linalg.solve(basis.T @ (basis * weight), (basis * weight).T), np.float32)


def sample(data: Arrays, i: int, photograph: int, network: UNet) -> Arrays:
    """One row of `FIELDS`: head `i`, as one of its photographs tells of it."""
    head, guess = seen_head(data, i), guessed(data, i, photograph, network)
    direct = np.clip(head.normal @ stage_directions().T.astype(np.float32), 0, None) * head.seen
    residual = np.einsum("kl,hwlc->hwck", projection(), indirect(head, direct)).reshape(GRID, GRID, 27)
    return {
        "albedo": bytes_of(srgb_from_linear(np.clip(guess.albedo, 0, 1))),
        "normal": np.round(guess.normal * 127).astype(np.int8),
        "transfer": light_maps(head, guess).astype(np.float16),
        "residual": np.clip(np.round(residual * STORED), -32767, 32767).astype(np.int16),
        "matte": head.matte.astype(np.uint8) * np.uint8(255),
        "label": np.where(head.skin, np.uint8(SKIN), np.uint8(0)),
    }


def write_lacking(shard: Path, folder: Path, network: UNet) -> Path:
    """`shard_NUMBER.safetensors` of `FIELDS` in `folder`, from the stage's shard; nothing is done when it is there."""
    path = folder / shard.name
    if path.exists():
        return path
    data = read_shard(shard)
    rng = np.random.default_rng(int(shard.stem.split("_")[1]))
    usable = np.flatnonzero(data["found"])
    rows = [sample(data, int(i), int(rng.integers(data["image"].shape[1])), network) for i in usable]
    part = path.with_suffix(".part")
    save_file({f: np.ascontiguousarray(np.stack([r[f] for r in rows])) for f in FIELDS}, part)
    part.replace(path)
    return path
