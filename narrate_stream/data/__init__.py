"""Statistics and network weights that ship with the package; all are our own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def weights_path(task: str) -> Path:
    """Where the weights of a network lie: `normals`, `albedo` or `relight`. They need not be there."""
    return Path(str(resources.files(__name__))) / "weights" / f"{task}.safetensors"
