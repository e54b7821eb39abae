"""The light stage's shards as subjects: the last one, which training leaves out.

Its first lighting is the photograph, the others are what relighting is compared with. A stage light is radiance times
solid angle; a directional light of our renderer is irradiance over pi.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from narrate_stream.errors import NarrateError
from narrate_stream.ops.lighting import Lighting
from offline.evaluate.samples import Sample, Target, enlarged

F64 = NDArray[np.float64]
SKIN = 1  # of the labels
DARK = 0.002  # of the total light: weaker stage lights are left out


def shard_files(folder: Path) -> list[Path]:
    """In order of their numbers."""
    return sorted(folder.glob("shard_*.safetensors"))


def read_heldout(shard: Path, lights: Path, limit: int | None) -> Iterator[Sample]:
    """Samples of one shard whose landmarks were found. Raises NarrateError for a damaged shard or missing lights."""
    from safetensors.numpy import load_file

    try:
        directions = np.load(lights).astype(np.float64)
        data = dict(load_file(shard))
    except Exception as error:  # numpy and safetensors raise their own, unnamed kinds
        raise NarrateError(f"{shard}: this shard or {lights.name} beside it cannot be read ({error})") from error
    missing = {"image", "light", "normal", "label", "found"} - set(data)
    if missing:
        raise NarrateError(f"{shard}: not a shard of the light stage ({', '.join(sorted(missing))} missing)")
    usable = np.flatnonzero(data["found"])[:limit]
    if not len(usable):
        raise NarrateError(f"{shard}: no sample whose face the detector found")
    return (sample(data, int(i), directions, shard) for i in usable)


def sample(data: dict[str, NDArray[np.generic]], i: int, directions: F64, shard: Path) -> Sample:
    """Sample `i`: skin only, first lighting in, the others to compare with."""
    images = np.asarray(data["image"][i], np.uint8)
    normal = np.asarray(data["normal"][i], np.float64) / 127
    skin = np.asarray(data["label"][i]) == SKIN
    grey = images.astype(np.float64).mean(-1) / 255
    lights = np.asarray(data["light"][i], np.float64)
    targets = tuple(
        Target(f"light {k}", stage_lighting(f"light {k}", lights[k], directions), grey[k])
        for k in range(1, len(images))
    )
    name = f"{shard.stem}:{i}"
    picture = enlarged(images[0], shard.with_name(name))
    return Sample(name, picture, grey[0], normal, skin & (np.linalg.norm(normal, axis=-1) > 0.5), skin, targets)


def stage_lighting(name: str, weights: F64, directions: F64) -> Lighting:
    """The stage's lights (L, 3) weighted by colours (L, 3) as directional lights."""
    power = weights.mean(-1)
    shining = power > DARK * power.sum()
    return Lighting(
        name,
        directions=directions[shining].astype(np.float32),
        colours=(weights[shining] / np.pi).astype(np.float32),
        softness=np.full(int(shining.sum()), 0.15, np.float32),
    )
