"""The light stage's shards as batches. The files stay memory-mapped: the system's page cache keeps what is used often,
so a set that fits into memory is read from disk once, and one that does not still works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from narrate_stream.errors import NarrateError

Batch = dict[str, Tensor]
SIGNED = 127.0
KEYS = {
    "normals": ("image", "light", "normal", "prior", "matte", "label"),
    "albedo": ("image", "light", "normal", "prior", "albedo", "matte", "label"),
    "relight": ("normal", "albedo", "transfer", "residual", "matte", "label"),  # of `lightstage lacking`
}


@dataclass(frozen=True)
class Shards:
    """files: one dictionary of mapped tensors (n, ...) per shard; directions (L, 3) unit, toward the lights; train and
    validation: (N, 2) shard and row of every sample."""

    files: tuple[dict[str, Tensor], ...]
    directions: Tensor
    train: Tensor
    validation: Tensor
    lightings: int

    def batch(self, at: Tensor, lighting: Tensor, device: torch.device | str = "cpu") -> Batch:
        """Samples `at` (B, 2), each under its lighting (B,). image and albedo (B, S, S, 3) u8 sRGB, normal and prior
        (B, S, S, 3) int8 * 127, matte (B, S, S) u8, label (B, S, S) u8, light (B, L, 3), directions (B, L, 3); of F_R
        transfer (B, S, S, 9) and residual (B, S, S, 27) int16 * `residual.STORED` instead of image and light."""
        out: dict[str, list[Tensor]] = {key: [] for key in self.files[0]}
        for (shard, row), k in zip(at.tolist(), lighting.tolist(), strict=True):
            for key, values in self.files[shard].items():
                out[key].append(values[row, k] if key in ("image", "light") else values[row])
        batch = {key: torch.stack(values).to(device) for key, values in out.items()}
        if "light" in batch:
            batch["light"] = batch["light"].float()
        batch["directions"] = self.directions.to(device).expand(len(at), -1, -1)
        return batch

    def draw(self, count: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Batch:
        """A batch of training samples, drawn with replacement."""
        at = self.train[torch.randint(len(self.train), (count,), generator=generator)]
        return self.batch(at, torch.randint(self.lightings, (count,), generator=generator), device)


def open_shards(folder: Path, task: str, validation_shards: int = 1) -> Shards:
    """The shards of a folder; the last ones are kept for validation. Raises NarrateError."""
    paths = sorted(folder.glob("shard_*.safetensors"))
    if len(paths) <= validation_shards:
        raise NarrateError(
            f"{folder} holds {len(paths)} shards; training needs more than the {validation_shards} for validation"
        )
    files = tuple(_mapped(path, KEYS[task]) for path in paths)
    rows = [torch.tensor([(i, row) for row in range(len(f["matte"]))]) for i, f in enumerate(files)]
    held = len(paths) - validation_shards
    none = torch.zeros((0, 2), dtype=torch.int64)
    lightings = files[0]["image"].shape[1] if "image" in files[0] else 1
    return Shards(files, _directions(folder), torch.cat(rows[:held]), torch.cat([none, *rows[held:]]), lightings)


def _mapped(path: Path, keys: tuple[str, ...]) -> dict[str, Tensor]:
    try:
        with safe_open(str(path), "pt") as file:
            return {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        raise NarrateError(f"{path} is not a shard of the light stage, or it is damaged ({error})") from error


def _directions(folder: Path) -> Tensor:
    path = folder / "lights.npy"
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
    except (OSError, ValueError) as error:
        raise NarrateError(f"{path} cannot be read: it holds the directions of the stage's lights") from error
