"""`narrate maps`, `view`, `relight` and `grid`: pictures of a model that stand still."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import click

from narrate_stream.cli.console import open_light, open_model, say
from narrate_stream.cli.options import (
    PATH,
    PITCH,
    YAW,
    background_option,
    grade_options,
    light_option,
    model_argument,
    view_options,
)
from narrate_stream.errors import LightError

_NAME = re.compile(r"[^/\\\0]{1,100}")


@click.command(short_help="Write normal, albedo, matte, face and depth maps.")
@model_argument
@click.option("-o", "--output", metavar="DIR", type=PATH, required=True, help="The directory to write into.")
def maps(model: Path, output: Path) -> None:
    """Write the maps of a portrait: normal, albedo, matte, face, depth.

    normal.png holds n = rgb/max*2-1 in camera space; depth.npy is float32, larger is nearer, in input pixels; maps.json
    says the rest. All have the size of the input picture.
    """
    from narrate_stream.files import output_directory
    from offline.stills import write_maps

    opened = open_model(model)
    write_maps(opened, output_directory(output))
    say(f"{output}: normal.png, albedo.png, matte.png, face.png, depth.npy, maps.json")


@click.command(short_help="See the portrait from another side.")
@model_argument
@view_options
@light_option
@grade_options
@background_option
@click.option("-o", "--output", metavar="OUT.png", type=PATH, required=True, help="The picture to write.")
def view(model: Path, yaw: float, pitch: float, light: str, output: Path, **look: Any) -> None:
    """See the portrait from another side, its framing kept."""
    render_still(model, output, light, yaw, pitch, **look)


@click.command(short_help="Light the portrait anew.")
@model_argument
@click.option("--light", metavar="LIGHT", help="The light, see `narrate --help`.")
@click.option(
    "--lights-file",
    metavar="F.json",
    type=PATH,
    help='Many lamps at once: [{"name": ..., "az": ..., "el": ...}, ...]; writes DIR/NAME.png for each.',
)
@view_options
@grade_options
@background_option
@click.option("-o", "--output", metavar="OUT.png|DIR", type=PATH, required=True, help="The picture, or the directory.")
def relight(
    model: Path, light: str | None, lights_file: Path | None, yaw: float, pitch: float, output: Path, **look: Any
) -> None:
    """Light the portrait anew."""
    if (light is None) == (lights_file is None):
        raise click.UsageError("give either --light or --lights-file")
    if lights_file is None:
        render_still(model, output, str(light), yaw, pitch, **look)
        return
    lights = read_lights(lights_file)
    from narrate_stream.files import output_directory
    from narrate_stream.types import View
    from offline.stills import relight_many

    opened = open_model(model)
    relight_many(opened, lights, output_directory(output), View(yaw, pitch), **look)
    say(f"{output}: {len(lights)} pictures")


def render_still(model: Path, output: Path, light: str, yaw: float, pitch: float, **look: Any) -> None:
    """One picture in the input's own pixels; `look`: grade and background."""
    from narrate_stream.files import check_output, write_png
    from narrate_stream.types import View

    check_output(output, (".png",))
    from offline.stills import render_view

    lighting = open_light(light)
    write_png(output, render_view(open_model(model), light=lighting, view=View(yaw, pitch), **look))
    say(str(output))


def read_lights(path: Path) -> dict[str, str]:
    """The lights of a `--lights-file` by name, as LIGHTs. Raises LightError naming the entry that is wrong."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LightError(f"{path} cannot be read: {str(error.strerror).lower()}") from error
    except (ValueError, RecursionError) as error:
        raise LightError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise LightError(f'{path} must hold a list of lights such as [{{"name": "left", "az": -40, "el": 10}}]')
    lights: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        name, light = _read_light(f"{path}, light {number}", entry)
        if name in lights:
            raise LightError(f"{path}, light {number}: the name {name!r} is there twice")
        lights[name] = light
    return lights


def _read_light(where: str, entry: Any) -> tuple[str, str]:
    if not isinstance(entry, dict):
        raise LightError(f"{where}: not an object with name, az and el")
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith("."):
        raise LightError(f"{where}: the name must be a file name without a directory, not {name!r}")
    az, el = (_angle(where, entry, key, limit) for key, limit in (("az", 180), ("el", 90)))
    return name, f"sun:{az:g},{el:g}"


def _angle(where: str, entry: dict[str, Any], key: str, limit: float) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise LightError(f"{where}: {key} must be a number of degrees, not {value!r}")
    if abs(value) > limit:
        raise LightError(f"{where}: {key} is {value:g}, outside -{limit:g} to {limit:g}")
    return float(value)


class ListCommand(click.Command):
    """Lets --poses and --lights take many values in a row, as a shell user writes them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each further value."""
        spread: list[str] = []
        current = ""
        for arg in args:
            if re.match(r"-[^\d.]", arg):
                current = arg if arg in ("--poses", "--lights") else ""
                spread.append(arg)
            else:
                spread += [current, arg] if current and spread[-1] != current else [arg]
        return super().parse_args(ctx, spread)


@click.command(cls=ListCommand, short_help="Write a sheet of poses x lights.")
@model_argument
@click.option(
    "--poses",
    metavar="YAW,PITCH ...",
    multiple=True,
    default=("-25,0", "0,0", "25,0"),
    show_default=True,
    help="The rows.",
)
@click.option(
    "--lights",
    metavar="LIGHT ...",
    multiple=True,
    default=("original", "rembrandt", "split", "rim"),
    show_default=True,
    help="The columns.",
)
@grade_options
@background_option
@click.option("--size", type=click.IntRange(64, 1024), default=256, show_default=True, help="Side of a cell, pixels.")
@click.option("-o", "--output", metavar="OUT.png", type=PATH, required=True, help="The sheet to write.")
def grid(model: Path, poses: tuple[str, ...], lights: tuple[str, ...], size: int, output: Path, **look: Any) -> None:
    """Write a sheet of poses x lights.

    For example: narrate grid M.narrate --poses 0,0 25,0 --lights loop rim sun:40,20 -o GRID.png
    """
    from narrate_stream.files import check_output, write_png
    from narrate_stream.types import View

    views = [View(*_pose(text)) for part in poses for text in part.split()]
    check_output(output, (".png",))
    from offline.stills import pose_light_grid

    chosen = [open_light(name) for part in lights for name in part.split(";")]
    write_png(output, pose_light_grid(open_model(model), views, chosen, size, **look))
    say(str(output))


def _pose(text: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise click.BadParameter(f"{text!r} is not YAW,PITCH", param_hint="--poses")
    return YAW.convert(parts[0], None, None), PITCH.convert(parts[1], None, None)
