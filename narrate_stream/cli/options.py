"""Options that several commands share, and their types."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
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


class Degrees(click.ParamType[float]):
    """A finite angle within a limit."""

    name = "degrees"

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Text to a number."""
        try:
            angle = float(value)
        except ValueError:
            angle = math.nan
        if not abs(angle) <= self.limit:
            self.fail(f"{value!r} is not an angle between -{self.limit:g} and {self.limit:g}", param, ctx)
        return angle


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


YAW = Degrees(90)
PITCH = Degrees(60)


def view_options(function: F) -> F:
    """--yaw and --pitch."""
    function = click.option("--pitch", type=PITCH, default=0.0, help="Look up (> 0) or down, degrees.")(function)
    return click.option("--yaw", type=YAW, default=0.0, help="Turn toward the image's right (> 0) or left, degrees.")(
        function
    )


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


def model_argument(function: F) -> F:
    """A model file, or a portrait that is built on the way."""
    return click.argument("model", metavar="PORTRAIT|MODEL", type=PATH)(function)
