"""Options that several commands share, and their types."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from narrate_stream.errors import NarrateError

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
DRIVERS = click.Choice(["mesh", "first-order", "fomm"])
DEVICES = click.Choice(["cpu", "cuda"])


class Commands(click.Group):
    """A group that keeps its commands in the order of a person's first day, each with --debug."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were added."""
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command and give it --debug; `main` looks for the flag itself."""
        cmd.params.append(
            click.Option(["--debug"], is_flag=True, expose_value=False, help="Show the traceback of a failure.")
        )
        super().add_command(cmd, name)


class Within(click.ParamType[float]):
    """A finite number within a limit to both sides of 0."""

    def __init__(self, limit: float, name: str = "degrees", noun: str = "an angle") -> None:
        self.limit, self.name, self.noun = limit, name, noun

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Text to a number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not abs(number) <= self.limit:
            self.fail(f"{value!r} is not {self.noun} between -{self.limit:g} and {self.limit:g}", param, ctx)
        return number


class EvenSize(click.ParamType[int]):
    """A side in pixels that a video encoder accepts."""

    name = "pixels"

    def __init__(self, low: int = 64, high: int = 4096) -> None:
        self.low, self.high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Text to a number."""
        try:
            size = int(value)
        except ValueError:
            size = 0
        if not self.low <= size <= self.high or size % 2:
            self.fail(f"{value!r} is not an even number between {self.low} and {self.high}", param, ctx)
        return size


YAW = Within(90)
PITCH = Within(60)
# as `ops.grading` limits them, which --help shall not have to import
STOPS = Within(4, "stops", "a number of stops")
MIRED = Within(125, "mired", "a number of mired")


def view_options(function: F) -> F:
    """--yaw and --pitch."""
    function = click.option("--pitch", type=PITCH, default=0.0, help="Look up (> 0) or down, degrees.")(function)
    return click.option("--yaw", type=YAW, default=0.0, help="Turn toward the image's right (> 0) or left, degrees.")(
        function
    )


def driver_option(function: F) -> F:
    """--driver."""
    text = "What carries the face's motion over: its whole mesh, or ten keypoints and their jacobians."
    option = click.option("--driver", type=DRIVERS, default="mesh", show_default=True, callback=_runs, help=text)
    return option(function)


def _runs(ctx: click.Context, param: click.Parameter, kind: str) -> str:
    if kind == "fomm":
        raise NarrateError("--driver fomm: this release has no weights for FOMM's networks; first-order needs none")
    return kind


def device_option(function: F) -> F:
    """--device."""
    text = "Where the kernels run; nothing falls back silently."
    return click.option("--device", type=DEVICES, default="cpu", show_default=True, help=text)(function)


def idle_option(function: F) -> F:
    """--idle / --no-idle."""
    text = "Breathe, blink and sway a little while no face is seen."
    return click.option("--idle/--no-idle", default=True, show_default=True, help=text)(function)


def light_option(function: F) -> F:
    """--light."""
    text = "The light, see `narrate --help`."
    return click.option("--light", metavar="LIGHT", default="original", show_default=True, help=text)(function)


def grade_options(function: F) -> F:
    """--exposure, --warmth and --turn; the command gets them together as `grade`, an `ops.grading.Grade`."""

    @functools.wraps(function)
    def with_grade(*args: Any, exposure: float, warmth: float, turn: float, **rest: Any) -> Any:
        from narrate_stream.ops.grading import Grade

        return function(*args, grade=Grade(exposure, warmth, turn), **rest)

    option = functools.partial(click.option, default=0.0, show_default=False)
    command = option("--turn", type=Within(360), help="Turn the light, degrees; > 0 to the right.")(with_grade)
    command = option("--warmth", type=MIRED, help="Warm (> 0) or cool the light, mired; 100 is strong.")(command)
    command = option("--exposure", type=STOPS, help="Brighten (> 0) or dim the light, stops.")(command)
    return cast("F", command)


def background_option(function: F) -> F:
    """--background."""
    text = "The background, see `narrate --help`."
    option = click.option("--background", metavar="BACKGROUND", default="relit", show_default=True, help=text)
    return option(function)


def model_argument(function: F) -> F:
    """A model file, or a portrait that is built on the way."""
    return click.argument("model", metavar="PORTRAIT|MODEL", type=PATH)(function)
