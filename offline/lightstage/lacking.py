"""What the physical path lacks on the stage's heads: F_R's data, made from shards.

For every head, the estimates that a build would have of it (F_N's normals and the albedo that is left when the fitted
light is divided out of one of its photographs) go through the physical path, one light after the other; what the stage
shows under the same light, less that, is the residual, as nine harmonics of the light's direction
(`narrate_stream.ops.residual`). The path is the runtime's own, horizons and wrapped lamps, but for its constant bounce:
that stands for chest and room as well, which the stage does not have, and was measured on photographs.
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
from narrate_stream.ops.lighting import sh_basis, shade_lamp, stage_directions
from narrate_stream.ops.residual import STORED
from offline import albedo as delight
from offline.bake import NOWHERE, horizons, with_depth
from offline.lightstage.bounce import exchange
from offline.lightstage.heads import SKIN
from offline.lightstage.light import BLEED
from offline.lightstage.shards import SIZE, Arrays, bytes_of, read_shard
from offline.window import FACE_CM, STAGE_SPAN

F32 = NDArray[np.float32]
GRID = 112  # pixels of what is written: a texel of a portrait's horizons is about as large
COARSE = 40  # pixels over which light is exchanged
SOFTNESS = 0.15  # of the stage's lights, as large as their spacing shows them
BEHIND = 0.25  # weight of lights behind the head in the fit
EVEN_OUT = 3.5  # pixels: the albedo's error is told on broad areas only
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


def stage_shading(head: Seen) -> F32:
    """(h, w, L, 3) what the stage's lights of colour 1 shade, with the light thrown from skin to skin, spread under the
    skin by colour."""
    lights = stage_directions().astype(np.float32)
    direct = np.clip(head.normal @ lights.T, 0, None) * head.seen
    out = direct[..., None] + indirect(head, direct)
    pixel = STAGE_SPAN * FACE_CM / GRID
    mask = head.skin.astype(np.float32)
    for c, distance in enumerate(BLEED):
        weight = cv2.GaussianBlur(mask, (0, 0), distance / pixel)[..., None]
        soft = cv2.GaussianBlur(out[..., c] * mask[..., None], (0, 0), distance / pixel) / np.maximum(weight, 1e-3)
        out[..., c] = np.where(head.skin[..., None], soft, out[..., c])
    return out


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


def physical(head: Seen, guess: Guess) -> tuple[F32, F32]:
    """The physical path's shading (h, w, L, 3) under the same lights, and its `horizon.transfer` (h, w, 9)."""
    y, x = np.mgrid[:GRID, :GRID].astype(np.float64)
    cover = head.matte.astype(np.float32)
    soft = cv2.GaussianBlur(head.z * cover, (0, 0), 1.0) / np.maximum(cv2.GaussianBlur(cover, (0, 0), 1.0), 1e-3)
    z = np.where(head.matte, soft, NOWHERE)
    planes = horizons(with_depth(head.camera, np.stack([x, y], -1), z))
    normal = np.where(np.abs(guess.normal).sum(-1, keepdims=True) > 0, guess.normal, [0, 0, 1]).astype(np.float32)
    shades = [
        shade_lamp(normal @ d, np.ones(3), SOFTNESS) * horizon.seen(planes, d, 0.5 * SOFTNESS)[..., None]
        for d in stage_directions().astype(np.float32)
    ]
    return np.stack(shades, 2).astype(np.float32), horizon.transfer(planes, normal)


def relative(head: Seen, guess: Guess) -> F32:
    """(h, w, 3) true albedo over the guessed one, on broad areas, 1 on the skin's average."""
    mask = head.skin.astype(np.float32)[..., None]
    log = np.log(head.albedo + 0.01) - np.log(guess.albedo + 0.01)
    if head.skin.any():
        log = log - np.median(log[head.skin], 0)
    log = np.clip(log, -1, 1)
    weight = cv2.GaussianBlur(mask, (0, 0), EVEN_OUT)[..., None]
    broad = cv2.GaussianBlur(log * mask, (0, 0), EVEN_OUT) / np.maximum(weight, 1e-2)
    return np.asarray(np.exp(np.clip(broad, -0.4, 0.4)), np.float32)


def projection() -> F32:
    """(9, L) what takes shading under each stage light of colour 1 to the coefficients of a residual."""
    lights = stage_directions()
    basis = np.pi * sh_basis(lights)
    weight = np.where(lights[:, 2] > -0.2, 1.0, BEHIND)[:, None]
    return np.asarray(np.linalg.solve(basis.T @ (basis * weight), (basis * weight).T), np.float32)


def sample(data: Arrays, i: int, photograph: int, network: UNet) -> Arrays:
    """One row of `FIELDS`."""
    head, guess = seen_head(data, i), guessed(data, i, photograph, network)
    ours, transfer = physical(head, guess)
    lacks = stage_shading(head) * relative(head, guess)[..., None, :] - ours
    residual = np.einsum("kl,hwlc->hwck", projection(), lacks)
    return {
        "albedo": bytes_of(srgb_from_linear(np.clip(guess.albedo, 0, 1))),
        "normal": np.round(guess.normal * 127).astype(np.int8),
        "transfer": transfer.astype(np.float16),
        "residual": np.clip(np.round(residual * STORED), -32767, 32767).astype(np.int16).reshape(GRID, GRID, 27),
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
