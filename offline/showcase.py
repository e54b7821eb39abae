"""The showcase clip: the avatar speaks while the light changes, the view swings and a sun goes round.

Nothing drives it but a script: it needs no camera and nobody's rights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from narrate_stream.bundle import HybridModel
from narrate_stream.drivers.script import ScriptDriver, ScriptSource, talking_script
from narrate_stream.files import check_output
from narrate_stream.media import VIDEO_SUFFIXES, FileSink
from narrate_stream.pipeline import Pipeline
from narrate_stream.types import Frame, Image, View

Progress = Callable[[str, float], None]
SIZE, FPS, SEED = 512, 30, 11
FADE = 0.4  # seconds from one scene into the next
EDGE = 0.5  # seconds of black fading in and out
CAPTION = "Segoe UI, Helvetica, Arial"


@dataclass(frozen=True)
class Scene:
    """seconds long; light: a LIGHT, or `sun` for one that goes round; title and note: what the caption says; swing:
    degrees the view goes to each side; nod: degrees up and down."""

    seconds: float
    light: str
    title: str
    note: str
    swing: float = 0.0
    nod: float = 0.0


SCENES = (
    Scene(2.2, "original", "One photograph", "as it was taken, now speaking"),
    Scene(2.2, "original", "Free view", "25 degrees to each side", swing=25.0, nod=5.0),
    Scene(1.5, "rembrandt", "Rembrandt", "relit"),
    Scene(1.5, "sunset", "Sunset", "relit", swing=12.0),
    Scene(1.5, "neon", "Neon", "relit", swing=-14.0),
    Scene(2.4, "sun", "Moving sun", ""),
    Scene(1.5, "clamshell", "Clamshell", "narrate-stream"),
)


def render_showcase(model: HybridModel, out: Path, progress: Progress | None = None, *, size: int = SIZE,
                    scenes: tuple[Scene, ...] = SCENES) -> None:  # fmt: skip
    """Writes the clip to `out` (.mp4, size x size, 30 fps). `progress` hears ("showcase", share done) now and then.

    Raises NarrateError when the file cannot be written.
    """
    check_output(out, VIDEO_SUFFIXES)
    show = Show(model, size, scenes)
    try:
        with FileSink(out, show.size, Fraction(FPS)) as sink:
            for i, frame in enumerate(show.frames()):
                sink.write(frame)
                if progress and (i + 1 == show.count or i % FPS == FPS - 1):
                    progress("showcase", (i + 1) / show.count)
    finally:
        show.close()
