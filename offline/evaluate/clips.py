"""Driving clips for `narrate eval motion`: their frames, and what a detector that knows no past sees in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from narrate_stream.drivers.landmarks import FaceMesh
from narrate_stream.errors import NarrateError
from narrate_stream.media import VIDEO_SUFFIXES, FileSource
from narrate_stream.types import Image
from offline.evaluate.tracks import neutral_scores

F64 = NDArray[np.float64]


class Judge:
    """Looks at every picture afresh. It is of the same family as the tracker that drives: read what it says together
    with PSNR and SSIM, which know no landmarks."""

    def __init__(self) -> None:
        self._mesh = FaceMesh(video=False)

    def __call__(self, image: Image) -> F64:
        """(478, 3) landmarks, nan without a face."""
        found = self._mesh(image)
        return np.full((478, 3), np.nan) if found is None else found

    def track(self, images: Iterable[Image]) -> F64:
        """(N, 478, 3)."""
        return np.array([self(image) for image in images]).reshape(-1, 478, 3)

    def close(self) -> None:
        """Frees the detector."""
        self._mesh.close()


@dataclass(frozen=True)
class Clip:
    """A driving clip: landmarks (N, 478, 3), nan without a face; size (W, H); portrait: its most neutral frame."""

    path: Path
    source: FileSource
    marks: F64
    neutral: int
    portrait: Image

    @property
    def name(self) -> str:
        """For tables."""
        return self.path.stem

    @property
    def size(self) -> tuple[int, int]:
        """(W, H)."""
        return self.source.size

    @property
    def fps(self) -> float:
        """Frames per second."""
        return float(self.source.fps)


def clips_in(folder: Path, limit: int | None = None) -> list[Path]:
    """The first `limit` clips of a folder by name. Raises NarrateError for a folder without any."""
    if not folder.exists():
        raise NarrateError(f"{folder}: there is no such folder")
    if not folder.is_dir():
        raise NarrateError(f"{folder} is a file, not a folder with clips")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise NarrateError(f"{folder} holds no clip ({', '.join(VIDEO_SUFFIXES)})")
    return found[:limit]


def read_clip(path: Path, judge: Judge) -> Clip:
    """Raises NarrateError for a file that is no clip, MotionError or not, and for one without a face."""
    source = FileSource(path)
    marks = judge.track(frame.image for frame in source)
    if np.isnan(marks[:, 0, 0]).all():
        raise NarrateError(f"{path}: no face is found in any frame")
    neutral = int(np.argmin(neutral_scores(marks, source.size)))
    portrait = next(frame.image for i, frame in enumerate(source) if i == neutral)
    return Clip(path, source, marks, neutral, portrait)
