"""What a variant of the product says of a picture: the rows of the tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.fusion import fuse, over_backdrop
from narrate_stream.ops.lighting import Lighting
from narrate_stream.types import Image, View
from offline.build import Build, build
from offline.evaluate.samples import Sample
from offline.networks import load_networks
from offline.stills import Studio, framed_normals, photograph_framing

F64 = NDArray[np.float64]
SIZE = 1024  # the working size of `narrate build`
VARIANTS = ("flat", "coarse", "weight-free", "without F_R", "networks")
NORMALS_ONLY = ("flat", "coarse")  # these do not relight
LIGHT_ONLY = ("without F_R",)  # these have others' normals


@dataclass(frozen=True)
class Prediction:
    """normal (H, W, 3) camera space, in the picture's own pixels; model: what renders, None where only normals are."""

    normal: F64
    model: HybridModel | None


def available() -> tuple[str, ...]:
    """VARIANTS that can run here: the networks only with their weights (without, `load_networks` says so)."""
    return VARIANTS if load_networks() else tuple(v for v in VARIANTS if v not in ("networks", *LIGHT_ONLY))


@lru_cache(maxsize=2)
def built(sample: Sample, networks: bool) -> Build:
    """The build of a sample's picture, kept while its variants are asked for. Raises PortraitError."""
    return build(sample.picture, SIZE, networks=networks)


def predict(sample: Sample, variant: str) -> Prediction:
    """One of VARIANTS on one picture. Raises PortraitError when the picture cannot become a model."""
    h, w = sample.picture.image.shape[:2]
    if variant == "flat":
        return Prediction(np.broadcast_to(np.array([0.0, 0.0, 1.0]), (h, w, 3)), None)
    made = built(sample, variant in ("networks", *LIGHT_ONLY))
    if variant == "coarse":
        return Prediction(coarse_normals(made, (w, h)), None)
    model = replace(made.model, residual=None) if variant in LIGHT_ONLY else made.model
    return Prediction(framed_normals(model, photograph_framing(model)), model)


def coarse_normals(made: Build, size: tuple[int, int]) -> F64:
    """(H, W, 3) normals of the coarse geometry alone, from the depth map's pixels to the picture's `size` (W, H)."""
    x0, y0, crop = made.model.crop
    k = made.surface.scale * crop  # depth-map pixels per picture pixel
    x = ((np.arange(size[0]) + 0.5 - x0) * k - 0.5).astype(np.float32)
    y = ((np.arange(size[1]) + 0.5 - y0) * k - 0.5).astype(np.float32)
    grid = np.meshgrid(x, y)
    coarse = made.surface.coarse.astype(np.float32)
    return np.asarray(cv2.remap(coarse, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float64)


class Relit:
    """A model in lights one after the other, in the photograph's own pixels."""

    def __init__(self, model: HybridModel) -> None:
        self.studio = Studio(model, photograph_framing(model))
        self.buffer = self.studio.buffer(View(), albedo=True)
        self.background = over_backdrop(model, self.studio.framing)

    def __call__(self, lighting: Lighting) -> Image:
        """(H, W, 3) sRGB."""
        core, fringe = self.studio.relighter(self.buffer, lighting)
        return fuse(core, fringe, self.buffer, self.background)
