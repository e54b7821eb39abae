"""The plug points: anything with these methods fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from narrate_stream.types import Frame, Motion, View


class Source(Protocol):
    """Where driving frames come from."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order of presentation."""


class Sink(Protocol):
    """Where avatar frames go."""

    def write(self, frame: Frame) -> None:
        """Takes one frame."""

    def close(self) -> None:
        """Finishes what was written."""


class Driver(Protocol):
    """Sees motion in a frame; `None` means that no face was found, which is an outcome and not an error."""

    def __call__(self, frame: Frame) -> Motion | None:
        """The motion in one frame."""

    def close(self) -> None:
        """Frees what the driver holds."""


class Avatar(Protocol):
    """What the live part needs of a pipeline: one frame in, one frame out, and the live controls.

    `step` runs on one worker thread; the setters may be called from any thread and take effect with the next frame.
    """

    size: tuple[int, int]
    """(width, height) of the frames that `step` returns."""

    stage_ms: dict[str, float]
    """Milliseconds of the last frame by stage: track, motion, render, relight, fuse."""

    def step(self, frame: Frame) -> Frame:
        """One driving frame in, the avatar's frame of the same moment out."""

    def set_light(self, light: Any) -> None:
        """Any LIGHT of the grammar, or a `Lighting` made elsewhere. Raises LightError at once for one it cannot use."""

    def set_grade(self, exposure: float | None = None, warmth: float | None = None, turn: float | None = None) -> None:
        """Exposure (stops), warmth (mired) and turn (degrees) of the light; None keeps what it is."""

    def set_view(self, view: View) -> None:
        """The viewer's own turn of the head."""

    def set_background(self, background: str) -> None:
        """Any BACKGROUND but `transparent`. Raises NarrateError for anything else."""

    def set_idle(self, on: bool) -> None:
        """Whether it breathes and blinks by itself while no face is seen."""

    def calibrate(self) -> None:
        """The next frame with a face is the driver's neutral."""

    def state(self) -> dict[str, Any]:
        """Light, view, background, whether a face is tracked: JSON-ready."""

    def close(self) -> None:
        """Frees the driver."""
