"""The geometric half of augmentation: one similarity and mirror per sample, for pictures, normals and lights alike.

Convention: an angle turns the picture counter-clockwise as seen; camera space has y up, pixel rows grow downward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from narrate_stream.ops.lighting import rotated_sh
from narrate_stream.ops.residual import STORED
from offline.train.data import SIGNED, Batch

SCALE = (0.85, 1.2)
TURN = math.radians(12)
SHIFT = 0.06  # of the picture's side


@dataclass(frozen=True)
class Similarity:
    """Per sample: scale (of the content), angle (radians), shift (B, 2; x right, y down; shares of the output's side),
    mirror (1 or -1)."""

    scale: Tensor
    angle: Tensor
    shift: Tensor
    mirror: Tensor

    def turned(self, vectors: Tensor) -> Tensor:
        """Camera-space vectors (B, 3, ...) of the picture after the warp."""
        to = (-1,) + (1,) * (vectors.dim() - 2)
        c, s, m = self.angle.cos().view(to), self.angle.sin().view(to), self.mirror.view(to)
        x, y = vectors[:, 0], vectors[:, 1]
        return torch.stack([m * (c * x - s * y), s * x + c * y, vectors[:, 2]], 1)

    def turned_sh(self, values: Tensor) -> Tensor:
        """Coefficients (B, 9 k, H, W) of functions of direction, spherical harmonics, after the warp."""
        turn = self.turned(torch.eye(3, device=values.device).expand(len(self.scale), 3, 3))
        matrix = torch.stack([torch.from_numpy(turned_basis(r)) for r in turn.cpu().double().numpy()]).to(values)
        parts = values.reshape(len(values), -1, 9, *values.shape[2:])
        return torch.einsum("bij,bkjhw->bkihw", matrix, parts).reshape(values.shape)

    def source_from_output(self, source: int, output: int) -> Tensor:
        """(B, 2, 3) of `affine_grid`: where in a picture of `source` px a pixel of one of `output` px looks."""
        c, s = self.angle.cos(), self.angle.sin()
        zoom = (output / source) / self.scale
        rotate = torch.stack([torch.stack([c * self.mirror, -s], -1), torch.stack([s * self.mirror, c], -1)], 1)
        matrix = rotate * zoom[:, None, None]
        return torch.cat([matrix, -(matrix @ (2 * self.shift[..., None]))], 2)


def random_similarity(count: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Similarity:
    """Scale 0.85 to 1.2, up to 12 degrees either way, a small shift, every second one mirrored."""
    u = torch.rand((5, count), generator=generator).to(device)
    return Similarity(
        SCALE[0] * (SCALE[1] / SCALE[0]) ** u[0],
        (u[1] * 2 - 1) * TURN,
        (u[2:4].T * 2 - 1) * SHIFT,
        torch.where(u[4] < 0.5, -1.0, 1.0),
    )


def plain_similarity(count: int, scale: float = 0.9, device: torch.device | str = "cpu") -> Similarity:
    """The middle of the picture, nothing turned: for validation."""
    ones = torch.ones(count, device=device)
    return Similarity(ones * scale, ones * 0, torch.zeros((count, 2), device=device), ones)


def turned_basis(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(9, 9) what takes coefficients of a function of direction to those of it turned (or mirrored) by (3, 3)."""
    return rotated_sh(np.eye(9), rotation)


def warped(batch: Batch, similarity: Similarity, size: int) -> Batch:
    """Shard arrays (B, S, S, C) -> maps (B, C, size, size) float32: image and albedo sRGB 0..1, normal and prior unit
    or zero, transfer and residual harmonics, matte 0..1, inside 1 where the stage's picture reaches, label (B, 1);
    light and directions (B, L, 3)."""
    names = [name for name in MAPS if name in batch]
    source = batch["matte"].shape[1]
    stack = [batch[name].to(torch.float32) for name in names] + [batch["matte"][..., None].to(torch.float32)]
    stack.append(torch.ones_like(stack[-1]))
    maps = torch.cat(stack, -1).permute(0, 3, 1, 2)
    theta = similarity.source_from_output(source, size)
    grid = F.affine_grid(theta, [len(maps), 1, size, size], align_corners=False)
    maps = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    split = torch.split(maps, [part.shape[-1] for part in stack], 1)
    parts = dict(zip([*names, "matte", "inside"], split, strict=True))
    out: Batch = {name: MAPS[name](parts[name], similarity) for name in names}
    label = batch["label"][:, None].to(torch.float32)
    out["label"] = F.grid_sample(label, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    out["matte"], out["inside"] = parts["matte"] / 255, (parts["inside"] > 0.999).float()
    if "light" in batch:
        out["light"] = batch["light"]
    out["directions"] = similarity.turned(batch["directions"].transpose(1, 2)).transpose(1, 2)
    return out


def picture(stored: Tensor, _: Similarity) -> Tensor:
    """Bytes as 0..1."""
    return stored / 255


def normals(stored: Tensor, similarity: Similarity) -> Tensor:
    """Unit normals, or zero, turned with the picture."""
    return unit_or_zero(similarity.turned(stored) / SIGNED)


def harmonics(stored: Tensor, similarity: Similarity) -> Tensor:
    """Coefficients turned with the picture."""
    return similarity.turned_sh(stored)


def residuals(stored: Tensor, similarity: Similarity) -> Tensor:
    """The same of stored integers."""
    return similarity.turned_sh(stored / STORED)


MAPS = {"image": picture, "normal": normals, "prior": normals, "albedo": picture}
MAPS |= {"transfer": harmonics, "residual": residuals}


def unit_or_zero(normal: Tensor) -> Tensor:
    """Unit length where there is a normal (B, 3, H, W), zero where there is none or half a one."""
    length = normal.square().sum(1, keepdim=True).sqrt()
    return torch.where(length > 0.5, normal / length.clamp_min(1e-3), 0.0)
