"""The data folders that `narrate eval normals` and `relight` know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from narrate_stream.errors import NarrateError
from offline.evaluate import heldout, yale
from offline.evaluate.samples import Sample


def read_samples(folder: Path, limit: int | None = None) -> Iterator[Sample]:
    """The subjects of a data folder: Extended Yale B, or the light stage's shards (the last one, which training leaves
    out). Raises NarrateError when the folder is neither."""
    if not folder.exists():
        raise NarrateError(f"{folder}: there is no such folder")
    if not folder.is_dir():
        raise NarrateError(f"{folder} is a file, not a folder with a data set")
    if subjects := yale.subject_folders(folder):
        return (yale.read_subject(path) for path in subjects[:limit])
    if shards := heldout.shard_files(folder):
        return heldout.read_heldout(shards[-1], folder / "lights.npy", limit)
    raise NarrateError(
        f"{folder}: no subjects here (wanted folders of Extended Yale B photographs, or shard_*.safetensors)"
    )
