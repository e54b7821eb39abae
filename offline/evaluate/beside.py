"""Side by side, as a film: the driver, its avatar, and the avatar in another light, seen from the side. For the eye: no
number says what a mouth looks like."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from narrate_stream.media import FileSink
from narrate_stream.pipeline import Pipeline
from narrate_stream.types import Frame, Image, Motion, View
from offline.evaluate.clips import Clip

HEIGHT = 512
LIGHT, VIEW = "rembrandt", View(20, 0)


class Beside:
    """Writes `path` while a rehearsed pipeline plays a clip; a context manager, see `FileSink`."""

    def __init__(self, path: Path, pipeline: Pipeline, clip: Clip) -> None:
        self._aside = Pipeline(
            pipeline.model,
            size=max(pipeline.size),
            framing="portrait" if pipeline.retarget.mode == "absolute" else "head",
            light=LIGHT,
            view=VIEW,
        )
        own = {id(pipeline.model): pipeline.model}  # all but the model: each moves its own filters
        self._aside.retarget, self._aside.calibration = deepcopy(pipeline.retarget, own), None
        sizes = clip.size, pipeline.size, self._aside.size
        self._sink = FileSink(path, (sum(width(s) for s in sizes), HEIGHT), clip.source.fps, audio_from=clip.path)

    def __call__(self, frame: Frame, motion: Motion | None, avatar: Image) -> None:
        """One more moment: the driver's frame, its motion, and what the pipeline made of them."""
        pictures = frame.image, avatar, self._aside.play(frame, motion).image
        self._sink.write(frame.with_image(np.concatenate([fitted(p) for p in pictures], 1)))

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.__exit__(kind, error, trace)


def width(size: tuple[int, int]) -> int:
    """Even, of a picture of this (W, H) that is HEIGHT high."""
    return 2 * round(HEIGHT * size[0] / size[1] / 2)


def fitted(picture: Image) -> Image:
    """(HEIGHT, W, 3)."""
    h, w = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (width((w, h)), HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
