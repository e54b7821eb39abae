"""`narrate retarget`: pose and light of another portrait on a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from narrate_stream.cli.console import open_model, say
from narrate_stream.cli.options import PATH, model_argument

if TYPE_CHECKING:
    from narrate_stream.ops.lighting import Lighting

SHORT_OF = 1.0  # degrees by which a turn must be held back to be worth a word
EVEN = 0.1  # directedness below which light comes from all sides


@click.command(short_help="Take pose and light from another portrait.")
@model_argument
@click.option(
    "--to", "target", metavar="TARGET.jpg", type=PATH, required=True, help="The portrait to take pose and light from."
)
@click.option("--pose/--no-pose", default=True, help="Turn the head as the target's is turned.", show_default=True)
@click.option("--light/--no-light", default=True, help="Light it as the target is lit.", show_default=True)
@click.option(
    "--expression/--no-expression", default=False, help="Let the face do what the target's does.", show_default=True
)
@click.option("-o", "--output", metavar="OUT.png", type=PATH, required=True, help="The picture to write.")
def retarget(model: Path, target: Path, output: Path, **wanted: bool) -> None:
    """Take the pose of the head and the light from another portrait, framing kept.

    Turns that the model cannot believably show are eased toward its limits; what was taken is said on stdout.
    """
    from narrate_stream.files import check_output, write_png

    if not any(wanted.values()):
        raise click.UsageError("with --no-pose and --no-light there is nothing to take (--expression?)")
    check_output(output, (".png",))
    from offline.likeness import retargeted
    from offline.target import read_target

    found = read_target(target)
    made = retargeted(open_model(model), found, **wanted)
    write_png(output, made.image)
    if wanted["pose"]:
        click.echo(pose_taken(made))
    if wanted["light"]:
        click.echo(light_taken(made.lighting))
    say(str(output))


def pose_taken(made: Any) -> str:
    """How far the head is turned, and how far it should be where that is more than the model can show."""
    text = f"pose: {angles(made.shown)} from the portrait"
    if abs(made.shown - made.asked).max() < SHORT_OF:
        return text
    return f"{text}; the target asks for {angles(made.asked)}, more than one portrait can believably show"


def angles(degrees: Any) -> str:
    """(3,) yaw, pitch, roll as words."""
    return ", ".join(f"{name} {angle:+.0f}" for name, angle in zip(("yaw", "pitch", "roll"), degrees, strict=True))


def light_taken(light: Lighting) -> str:
    """What the target is lit with."""
    from narrate_stream.ops.lighting import directedness, dominant

    if directedness(light) < EVEN:
        return "light: soft, from all sides"
    az, el = dominant(light)
    kind = "a lamp in a room" if len(light.directions) else "soft"
    return f"light: {kind}, most of it from azimuth {az:+.0f}, elevation {el:+.0f}"
