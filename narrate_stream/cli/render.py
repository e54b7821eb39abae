"""`narrate render`: a clip or a script drives the model, offline and in several passes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from narrate_stream.cli.console import open_light, open_model, say, track
from narrate_stream.cli.options import (
    PATH,
    EvenSize,
    background_option,
    device_option,
    driver_option,
    grade_options,
    light_option,
    model_argument,
    view_options,
)
from narrate_stream.errors import MotionError

if TYPE_CHECKING:
    from narrate_stream.protocols import Driver
    from narrate_stream.types import Frame, Motion

ORBIT = 25.0  # degrees to each side


@click.command(short_help="Animate a model from a video or a script.")
@model_argument
@click.option("--drive", metavar="CLIP|SCRIPT.json", type=PATH, required=True, help="What moves the portrait.")
@click.option("-o", "--output", metavar="OUT.mp4", type=PATH, required=True, help="The clip to write.")
@click.option(
    "--motion",
    type=click.Choice(["relative", "absolute"]),
    default="relative",
    show_default=True,
    help="Add the driver's movement to the portrait's own pose, or take the driver's pose as it is.",
)
@click.option(
    "--frame",
    type=click.Choice(["head", "portrait"]),
    default="head",
    show_default=True,
    help="Show a square around the head, or the whole photograph.",
)
@click.option(
    "--size", type=EvenSize(), help="Side of the picture [default: 512; the photograph's own with --frame portrait]."
)
@light_option
@grade_options
@background_option
@view_options
@click.option("--orbit", is_flag=True, help=f"Swing the view {ORBIT:g} degrees to each side over the clip.")
@click.option("--idle", is_flag=True, help="Breathe and blink where the clip shows no face [default: rest].")
@driver_option
@click.option("--style", type=click.Choice(["none"]), default="none", help="Styles come with a later release.")
@device_option
def render(model: Path, drive: Path, output: Path, **options: Any) -> None:
    """Animate a model from a video, or from scripted motion; the sound is kept."""
    from narrate_stream.files import check_output
    from narrate_stream.media import VIDEO_SUFFIXES, FileSink

    check_output(output, VIDEO_SUFFIXES)
    source, driver = open_drive(drive, options["motion"])
    pipeline = make_pipeline(model, driver, options)
    try:
        motions = track_clip(source, driver, drive)
        scripted = drive.suffix.lower() == ".json"
        motions = pipeline.rehearse(Watched(source, "looking again"), motions, float(source.fps))
        sound = None if scripted else drive
        with FileSink(output, pipeline.size, source.fps, audio_from=sound) as sink:
            for frame in play(pipeline, source, motions, options):
                sink.write(frame)
    finally:
        pipeline.close()
    say(f"{output}: {len(motions)} frames, {pipeline.size[0]}x{pipeline.size[1]}")


def open_drive(path: Path, motion: str = "relative") -> tuple[Any, Driver]:
    """The frames that drive, and the driver that understands them. In absolute motion the picture itself corrects one
    look, whose errors are slow; in relative motion several looks are nearer to what other detectors see."""
    if path.suffix.lower() == ".json":
        from narrate_stream.drivers.script import ScriptDriver, ScriptSource

        return ScriptSource(path), ScriptDriver(path)
    from narrate_stream.drivers.mesh import MeshDriver
    from narrate_stream.media import FileSource

    return FileSource(path), MeshDriver(patient=motion == "relative")


def make_pipeline(model: Path, driver: Driver, options: dict[str, Any]) -> Any:
    """The frame path as the options want it."""
    from narrate_stream.pipeline import Pipeline
    from narrate_stream.types import View

    light = open_light(options["light"])
    size = options["size"] or (None if options["frame"] == "portrait" else 512)
    return Pipeline(
        open_model(model),
        size=size,
        framing=options["frame"],
        motion=options["motion"],
        driver=driver,
        transfer=options["driver"],
        light=light,
        grade=options["grade"],
        background=options["background"],
        view=View(options["yaw"], options["pitch"]),
        idle=options["idle"],
        device=options["device"],
    )


class Watched:
    """A clip's frames, as often as they are asked for, with a bar."""

    def __init__(self, source: Any, title: str) -> None:
        self.source, self.title = source, title

    def __iter__(self) -> Iterator[Frame]:
        return track(self.source, self.title, self.source.frames)


def track_clip(source: Any, driver: Driver, path: Path) -> list[Motion | None]:
    """First pass: what the driver sees in every frame. Raises MotionError if there is no face in any."""
    motions = [driver(frame) for frame in track(source, "tracking", source.frames)]
    if not any(motion is not None for motion in motions):
        raise MotionError(f"{path}: no face is found in any frame")
    return motions


def play(pipeline: Any, source: Any, motions: list[Motion | None], options: dict[str, Any]) -> Iterator[Frame]:
    """Last pass: the avatar's frames."""
    from narrate_stream.types import View

    pairs = zip(source, motions, strict=True)
    for i, (frame, motion) in enumerate(track(pairs, "rendering", len(motions))):
        if options["orbit"]:
            swing = ORBIT * math.sin(2 * math.pi * i / len(motions))
            pipeline.set_view(View(options["yaw"] + swing, options["pitch"]))
        yield pipeline.play(frame, motion)
